"""Tests of paging through a room's history."""

from __future__ import annotations

from typing import Any

from conduit.service.browse import history
from tests.support.client import User
from tests.support.homeserver import Homeserver

Json = dict[str, Any]


def bodies(page: Json) -> list[str]:
    """Return the bodies of a page's messages."""
    return [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]


async def room_of(alice: User, count: int, **options: Any) -> str:
    """Make a room with messages m0, m1, ..."""
    room = await alice.create_room(preset="public_chat", **options)
    for n in range(count):
        await alice.send(room, f"m{n}")
    return room


async def test_pages_backwards_cover_all_and_end(hs: Homeserver) -> None:
    """Paging back from the end gives every event once, newest first, and no token after the first event."""
    alice = await hs.register("alice")
    room = await room_of(alice, 12)
    seen: list[str] = []
    page = await alice.messages(room, limit=5)
    while True:
        seen += [event["event_id"] for event in page["chunk"]]
        assert all(event["room_id"] == room for event in page["chunk"])
        if "end" not in page:
            break
        page = await alice.messages(room, limit=5, **{"from": page["end"]})
    assert len(seen) == len(set(seen))
    assert page["chunk"][-1]["type"] == "m.room.create"
    page = await alice.messages(room, limit=100)
    assert [event["event_id"] for event in page["chunk"]] == seen


async def test_pages_forwards_go_on_with_what_comes_later(hs: Homeserver) -> None:
    """Paging forwards from a sync token gives what came since, and goes on from where it ended."""
    alice = await hs.register("alice")
    room = await room_of(alice, 2)
    since = (await alice.sync())["next_batch"]
    page = await alice.messages(room, dir="f", **{"from": since})
    assert page["chunk"] == []
    assert "end" not in page
    for n in range(4):
        await alice.send(room, f"new{n}")
    page = await alice.messages(room, dir="f", limit=3, **{"from": since})
    assert bodies(page) == ["new0", "new1", "new2"]
    page = await alice.messages(room, dir="f", limit=3, **{"from": page["end"]})
    assert bodies(page) == ["new3"]
    await alice.send(room, "last")
    assert bodies(await alice.messages(room, dir="f", **{"from": page["end"]})) == ["last"]


async def test_page_between_two_tokens_stops_at_the_second(hs: Homeserver) -> None:
    """`to` bounds a page in both directions."""
    alice = await hs.register("alice")
    room = await room_of(alice, 3)
    early = (await alice.sync())["next_batch"]
    for n in range(3):
        await alice.send(room, f"new{n}")
    late = (await alice.sync())["next_batch"]
    await alice.send(room, "beyond")
    assert bodies(await alice.messages(room, to=early, **{"from": late})) == ["new2", "new1", "new0"]
    assert bodies(await alice.messages(room, dir="f", to=late, **{"from": early})) == ["new0", "new1", "new2"]


async def test_page_from_the_first_event_without_token(hs: Homeserver) -> None:
    """Without `from` a forward page begins at the first event."""
    alice = await hs.register("alice")
    room = await room_of(alice, 1)
    page = await alice.messages(room, dir="f", limit=1)
    assert page["chunk"][0]["type"] == "m.room.create"


async def test_filter_applies_and_limits(hs: Homeserver) -> None:
    """Only what passes the filter is in the chunk."""
    alice = await hs.register("alice")
    room = await room_of(alice, 2)
    await alice.send(room, {"n": 1}, "org.example.other")
    page = await alice.messages(room, filter={"types": ["org.example.*"]})
    assert [event["type"] for event in page["chunk"]] == ["org.example.other"]
    page = await alice.messages(room, filter={"not_types": ["m.room.*"], "limit": 1})
    assert [event["type"] for event in page["chunk"]] == ["org.example.other"]
    page = await alice.messages(room, filter={"rooms": ["!other:localhost"]})
    assert page["chunk"] == []


async def test_page_of_invisible_events_does_not_end_the_pagination(hs: Homeserver, monkeypatch: Any) -> None:
    """However many events in a row may not be seen, there is a token to go on, and what lies beyond is reached."""
    monkeypatch.setattr(history, "MAX_LOOKED_AT", 5)
    monkeypatch.setattr(history, "STEP", 5)
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await room_of(alice, 1)
    await bob.join(room)
    await alice.send(room, "while bob is in")
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    await bob.leave(room)
    for n in range(20):
        await alice.send(room, f"hidden{n}")
    await bob.join(room)
    found: list[str] = []
    page = await bob.messages(room, limit=5)
    for _ in range(20):
        found += bodies(page)
        if "end" not in page:
            break
        page = await bob.messages(room, limit=5, **{"from": page["end"]})
    assert found == ["while bob is in", "m0"]


async def test_left_user_sees_up_to_the_leave(hs: Homeserver) -> None:
    """Who has left still sees what came before, and nothing after; a stranger sees nothing."""
    alice, bob, eve = [await hs.register(name) for name in ("alice", "bob", "eve")]
    room = await room_of(alice, 1)
    await bob.join(room)
    await alice.send(room, "with bob")
    await bob.leave(room)
    await alice.send(room, "without bob")
    assert bodies(await bob.messages(room)) == ["with bob", "m0"]
    token = (await alice.sync())["next_batch"]
    assert bodies(await bob.messages(room, **{"from": token})) == ["with bob", "m0"]
    assert bodies(await bob.messages(room, dir="f", limit=50)) == ["m0", "with bob"]
    await eve.get(f"/rooms/{room}/messages", "M_FORBIDDEN", params={"dir": "b"})
    await eve.get("/rooms/!nowhere:localhost/messages", "M_FORBIDDEN", params={"dir": "b"})


async def test_world_readable_room_is_read_by_strangers(hs: Homeserver) -> None:
    """Strangers read what was sent while anybody could read, and nothing else."""
    alice, eve = await hs.register("alice"), await hs.register("eve")
    room = await room_of(alice, 1)
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    await alice.send(room, "for all")
    assert bodies(await eve.messages(room)) == ["for all"]
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "shared"})
    await eve.get(f"/rooms/{room}/messages", "M_FORBIDDEN", params={"dir": "b"})


async def test_shared_history_from_before_an_invite_needs_the_join(hs: Homeserver) -> None:
    """Somebody who is only invited sees nothing yet of a room with shared history, and all of it after joining."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room()
    await alice.send(room, "early")
    await alice.invite(room, bob)
    await bob.get(f"/rooms/{room}/messages", "M_FORBIDDEN", params={"dir": "b"})
    await bob.join(room)
    assert bodies(await bob.messages(room)) == ["early"]


async def test_invited_history_begins_with_the_invite(hs: Homeserver) -> None:
    """With `invited` a member sees what was sent since the invite."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room()
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "invited"})
    await alice.send(room, "before")
    await alice.invite(room, bob)
    await alice.send(room, "between")
    await bob.join(room)
    assert bodies(await bob.messages(room)) == ["between"]


async def test_lazy_loading_adds_the_senders(hs: Homeserver) -> None:
    """With lazy loading the memberships of the chunk's senders come beside it."""
    alice, bob, carol = [await hs.register(name) for name in ("alice", "bob", "carol")]
    room = await room_of(alice, 1)
    await bob.join(room)
    await carol.join(room)
    await bob.send(room, "x")
    page = await alice.messages(room, limit=1, filter={"lazy_load_members": True})
    assert [event["state_key"] for event in page["state"]] == [bob.user_id]
    assert "state" not in await alice.messages(room, limit=1)


async def test_bad_parameters_are_refused(hs: Homeserver) -> None:
    """Direction, limit, tokens and filter are checked."""
    alice = await hs.register("alice")
    room = await room_of(alice, 1)
    path = f"/rooms/{room}/messages"
    await alice.get(path, "M_MISSING_PARAM")
    await alice.get(path, "M_INVALID_PARAM", params={"dir": "x"})
    await alice.get(path, "M_INVALID_PARAM", params={"dir": "b", "limit": "1_0"})
    for token in ("x", "t", "t-", "t1~", "t99999999999999999999", "t1~1~1"):
        await alice.get(path, "M_INVALID_PARAM", params={"dir": "b", "from": token})
        await alice.get(path, "M_INVALID_PARAM", params={"dir": "b", "to": token})
    await alice.get(path, "M_NOT_JSON", params={"dir": "b", "filter": "{"})
    await alice.get(path, "M_BAD_JSON", params={"dir": "b", "filter": "[]"})
    assert (await alice.messages(room, limit=2**60))["chunk"]


async def test_edits_come_bundled(hs: Homeserver) -> None:
    """An edited message keeps its content and names the edit that stands; others' edits do not count."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await room_of(alice, 0)
    await bob.join(room)
    target = await alice.send(room, "original")

    def edit(text: str) -> Json:
        return {
            "msgtype": "m.text",
            "body": f"* {text}",
            "m.new_content": {"msgtype": "m.text", "body": text},
            "m.relates_to": {"rel_type": "m.replace", "event_id": target},
        }

    await bob.send(room, edit("forged"))
    first = await alice.send(room, edit("better"))
    hs.clock.jump(1)
    second = await alice.send(room, edit("best"))

    async def bundled() -> Any:
        page = await alice.messages(room)
        event = next(event for event in page["chunk"] if event["event_id"] == target)
        assert event["content"].get("body") in ("original", None)
        return event["unsigned"].get("m.relations", {}).get("m.replace", {}).get("event_id")

    assert await bundled() == second
    await alice.redact(room, second)
    assert await bundled() == first
    await alice.redact(room, target)
    assert await bundled() is None


async def test_messages_of_an_erased_user_are_only_for_who_was_there(hs: Homeserver) -> None:
    """When somebody is gone and erased, newcomers get their messages without content, and do not find them."""
    alice, bob, carol, dave = [await hs.register(name) for name in ("alice", "bob", "carol", "dave")]
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    await carol.join(room)
    await bob.send(room, "remember me")
    await dave.join(room)
    assert bodies(await dave.messages(room, limit=2)) == ["remember me"]
    auth = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "bob"}, "password": bob.password}
    await bob.post("/account/deactivate", {"auth": auth, "erase": True})
    assert bodies(await carol.messages(room)) == ["remember me"]
    page = await dave.messages(room)
    assert [event["content"] for event in page["chunk"] if event["type"] == "m.room.message"] == [{}]
    query = {"search_categories": {"room_events": {"search_term": "remember"}}}
    assert (await dave.post("/search", query))["search_categories"]["room_events"]["count"] == 0


async def test_page_of_no_events_stays_where_it_is(hs: Homeserver) -> None:
    """Who asks for none gets none, and a token at the same place."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    event_id = await alice.send(room, "hello")
    page = await alice.messages(room, limit=0)
    assert page["chunk"] == []
    following = await alice.messages(room, limit=1, **{"from": page["end"]})
    assert [event["event_id"] for event in following["chunk"]] == [event_id]
