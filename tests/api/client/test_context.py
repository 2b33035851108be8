"""Tests of what stands around an event."""

from __future__ import annotations

from tests.support.client import segment
from tests.support.homeserver import Homeserver


async def test_context_has_both_sides_and_tokens_that_lead_on(hs: Homeserver) -> None:
    """The limit is shared by both sides, and the tokens go on where they end."""
    alice = await hs.register("alice")
    room = await alice.create_room(name="r")
    ids = [await alice.send(room, f"m{n}") for n in range(7)]
    path = f"/rooms/{room}/context/{segment(ids[3])}"
    body = await alice.get(path, params={"limit": 4})
    assert body["event"]["event_id"] == ids[3]
    assert [event["event_id"] for event in body["events_before"]] == [ids[2], ids[1]]
    assert [event["event_id"] for event in body["events_after"]] == [ids[4], ids[5]]
    assert ("m.room.name", "") in {(event["type"], event["state_key"]) for event in body["state"]}
    page = await alice.messages(room, limit=1, **{"from": body["start"]})
    assert page["chunk"][0]["event_id"] == ids[0]
    page = await alice.messages(room, limit=1, dir="f", **{"from": body["end"]})
    assert page["chunk"][0]["event_id"] == ids[6]
    body = await alice.get(path, params={"limit": 0})
    assert body["events_before"] == body["events_after"] == []
    page = await alice.messages(room, limit=1, **{"from": body["start"]})
    assert page["chunk"][0]["event_id"] == ids[2]


async def test_context_state_is_that_at_the_last_event(hs: Homeserver) -> None:
    """The state is the one that held at the last event returned."""
    alice = await hs.register("alice")
    room = await alice.create_room(name="then")
    target = await alice.send(room, "x")
    await alice.set_state(room, "m.room.name", {"name": "later"})
    body = await alice.get(f"/rooms/{room}/context/{segment(target)}", params={"limit": 0})
    names = [event["content"]["name"] for event in body["state"] if event["type"] == "m.room.name"]
    assert names == ["then"]


async def test_context_lazy_loading_has_only_senders(hs: Homeserver) -> None:
    """With lazy loading only those who sent something shown are in the state."""
    alice, bob, carol = [await hs.register(name) for name in ("alice", "bob", "carol")]
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    await carol.join(room)
    target = await bob.send(room, "x")
    body = await alice.get(
        f"/rooms/{room}/context/{segment(target)}", params={"limit": 0, "filter": {"lazy_load_members": True}}
    )
    assert [event["state_key"] for event in body["state"] if event["type"] == "m.room.member"] == [bob.user_id]


async def test_context_of_what_may_not_be_seen_is_refused(hs: Homeserver) -> None:
    """A stranger is refused; a member who may not see the event does not find it."""
    alice, bob, eve = [await hs.register(name) for name in ("alice", "bob", "eve")]
    room, other = await alice.create_room(preset="public_chat"), await alice.create_room()
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    hidden = await alice.send(room, "hidden")
    elsewhere = await alice.send(other, "elsewhere")
    await bob.join(room)
    await bob.get(f"/rooms/{room}/context/{segment(hidden)}", "M_NOT_FOUND")
    await alice.get(f"/rooms/{room}/context/{segment(elsewhere)}", "M_NOT_FOUND")
    await eve.get(f"/rooms/{room}/context/{segment(hidden)}", "M_FORBIDDEN")
    await alice.get(f"/rooms/{room}/context/nonsense", "M_NOT_FOUND")
