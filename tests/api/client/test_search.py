"""Tests of searching messages."""

from __future__ import annotations

from typing import Any

from tests.support.client import User, segment
from tests.support.homeserver import Homeserver

Json = dict[str, Any]


async def find(user: User, term: str, batch: str | None = None, **criteria: Any) -> Json:
    """Return the results of a search."""
    body = {"search_categories": {"room_events": {"search_term": term, **criteria}}}
    params = {} if batch is None else {"next_batch": batch}
    answer = await user.post("/search", body, params=params)
    found: Json = answer["search_categories"]["room_events"]
    return found


def bodies(found: Json) -> list[str]:
    """Return the texts of the results."""
    return [hit["result"]["content"]["body"] for hit in found["results"]]


async def test_search_finds_all_words_by_rank_or_newest_first(hs: Homeserver) -> None:
    """Results hold every word, whatever its case; closer ones come first, or newer ones."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    for text in ("Martians and men", "many men met many more martians here", "only men"):
        await alice.send(room, text)
    found = await find(alice, "MEN martians")
    assert bodies(found) == ["Martians and men", "many men met many more martians here"]
    assert found["count"] == 2
    assert found["highlights"] == ["martians", "men"]
    assert bodies(await find(alice, "men", order_by="recent"))[0] == "only men"
    assert (await find(alice, "nothing"))["results"] == []
    assert (await find(alice, "!?"))["results"] == []


async def test_search_is_bound_to_what_the_user_may_see(hs: Homeserver) -> None:
    """Rooms of others, and what was said before or after one's time, are not found; left rooms are."""
    alice, bob, eve = [await hs.register(name) for name in ("alice", "bob", "eve")]
    room = await alice.create_room(preset="public_chat")
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    await alice.send(room, "cheese one")
    await bob.join(room)
    await alice.send(room, "cheese two")
    await bob.leave(room)
    await alice.send(room, "cheese three")
    assert bodies(await find(bob, "cheese")) == ["cheese two"]
    assert bodies(await find(eve, "cheese")) == []
    assert len(bodies(await find(alice, "cheese"))) == 3


async def test_redacted_text_is_not_found(hs: Homeserver) -> None:
    """What was redacted cannot be found any more."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    event_id = await alice.send(room, "secret cheese")
    await alice.redact(room, event_id)
    assert bodies(await find(alice, "cheese")) == []


async def test_search_pages_and_groups(hs: Homeserver) -> None:
    """Results come in pages; groups name their results and have pages of their own."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room, other = await alice.create_room(preset="public_chat"), await alice.create_room()
    await bob.join(room)
    for n in range(3):
        await alice.send(room, f"cheese {n}")
    await bob.send(room, "cheese bob")
    await alice.send(other, "cheese other")
    wanted: Json = {"order_by": "recent", "filter": {"limit": 2}}
    grouping: Json = {"groupings": {"group_by": [{"key": "room_id"}, {"key": "sender"}]}}
    first = await find(alice, "cheese", **wanted, **grouping)
    assert bodies(first) == ["cheese other", "cheese bob"]
    assert first["count"] == 5
    assert set(first["groups"]["room_id"]) == {room, other}
    assert "next_batch" not in first["groups"]["room_id"][other]
    group = await find(alice, "cheese", first["groups"]["room_id"][room]["next_batch"], **wanted)
    assert bodies(group) == ["cheese 2", "cheese 1"]
    second = await find(alice, "cheese", first["next_batch"], **wanted)
    assert bodies(second) == ["cheese 2", "cheese 1"]
    third = await find(alice, "cheese", second["next_batch"], **wanted)
    assert bodies(third) == ["cheese 0"]
    assert "next_batch" not in third


async def test_search_context_profiles_and_state(hs: Homeserver) -> None:
    """Each result can come with what stands around it, who said it, and the room's state."""
    alice = await hs.register("alice")
    room = await alice.create_room(name="cellar")
    for text in ("before", "the cheese", "after"):
        await alice.send(room, text)
    found = await find(
        alice,
        "cheese",
        keys=["content.body"],
        include_state=True,
        event_context={"before_limit": 1, "after_limit": 1, "include_profile": True},
    )
    context = found["results"][0]["context"]
    assert [event["content"]["body"] for event in context["events_before"]] == ["before"]
    assert [event["content"]["body"] for event in context["events_after"]] == ["after"]
    assert alice.user_id in context["profile_info"]
    assert "m.room.name" in {event["type"] for event in found["state"][room]}
    found = await find(alice, "cellar", keys=["content.name"])
    assert found["results"][0]["result"]["content"] == {"name": "cellar"}


async def test_malformed_searches_are_refused(hs: Homeserver) -> None:
    """Whatever is missing or of the wrong type gets its error."""
    alice = await hs.register("alice")
    await alice.post("/search", {}, "M_MISSING_PARAM")
    await alice.post("/search", {"search_categories": []}, "M_BAD_JSON")
    await alice.post("/search", {"search_categories": {"room_events": {}}}, "M_MISSING_PARAM")
    criteria = {"search_term": "a " * 251}
    await alice.post("/search", {"search_categories": {"room_events": criteria}}, "M_INVALID_PARAM")
    for criteria in (
        {"search_term": 1},
        {"search_term": "x", "order_by": "size"},
        {"search_term": "x", "keys": ["content.secret"]},
        {"search_term": "x", "event_context": {"before_limit": -1}},
        {"search_term": "x", "groupings": {"group_by": [{"key": "moon"}]}},
        {"search_term": "x", "filter": {"limit": "many"}},
        {"search_term": "x", "include_state": 1},
    ):
        await alice.post("/search", {"search_categories": {"room_events": criteria}}, "M_BAD_JSON")
    empty = await alice.post("/search", {"search_categories": {}})
    assert empty == {"search_categories": {}}
    body = {"search_categories": {"room_events": {"search_term": "x"}}}
    await alice.post("/search", body, "M_INVALID_PARAM", params={"next_batch": segment("zz")})
