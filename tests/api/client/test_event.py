"""Tests of reading one event."""

from __future__ import annotations

from tests.support.client import segment
from tests.support.homeserver import Homeserver


async def test_event_is_shown_to_members_and_not_found_by_others(hs: Homeserver) -> None:
    """Members get the event; for everybody else there is none, in whichever room it is looked for."""
    alice, eve = await hs.register("alice"), await hs.register("eve")
    room, other = await alice.create_room(), await alice.create_room()
    event_id = await alice.send(room, "hello")
    event = await alice.get(f"/rooms/{room}/event/{segment(event_id)}")
    assert event["content"]["body"] == "hello"
    assert event["room_id"] == room
    assert (await alice.get(f"/events/{segment(event_id)}"))["event_id"] == event_id
    await eve.get(f"/rooms/{room}/event/{segment(event_id)}", "M_NOT_FOUND")
    await eve.get(f"/events/{segment(event_id)}", "M_NOT_FOUND")
    await alice.get(f"/rooms/{other}/event/{segment(event_id)}", "M_NOT_FOUND")
    for unknown in ("$unknown:localhost", "$unknown", "unknown"):
        for path in ("event", "context"):
            await alice.get(f"/rooms/{room}/{path}/{unknown}", "M_NOT_FOUND")
        await alice.get(f"/_matrix/client/v1/rooms/{room}/relations/{unknown}", "M_NOT_FOUND")
        await alice.get(f"/events/{unknown}", "M_NOT_FOUND")
        await alice.post(f"/rooms/{room}/report/{unknown}", {}, "M_NOT_FOUND")


async def test_event_from_before_the_join_is_not_found(hs: Homeserver) -> None:
    """Where only those who were there may see, a newcomer does not find earlier events."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room()
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    await alice.invite(room, bob)
    before = await alice.send(room, "before")
    await bob.join(room)
    after = await alice.send(room, "after")
    await bob.get(f"/rooms/{room}/event/{segment(before)}", "M_NOT_FOUND")
    await bob.get(f"/rooms/{room}/event/{segment(after)}")


async def test_own_membership_and_visibility_changes_are_seen_from_either_side(hs: Homeserver) -> None:
    """A user sees the own leave, and a change of visibility that either side of would let them see."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    await bob.join(room)
    await bob.leave(room)
    events = (await bob.messages(room, limit=1))["chunk"]
    assert events[0]["content"]["membership"] == "leave"
    opened = await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    closed = await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    for event_id in (opened, closed):
        await bob.get(f"/rooms/{room}/event/{segment(event_id)}")


async def test_redaction_names_the_room_where_the_event_does(hs: Homeserver) -> None:
    """Outside of /sync both do, of messages and of state, in every list."""
    alice = await hs.register("alice")
    room = await alice.create_room(topic="bad")
    topic = (await alice.get(f"/rooms/{room}/state/m.room.topic", params={"format": "event"}))["event_id"]
    for event_id in (await alice.send(room, "bad"), topic):
        await alice.redact(room, event_id)
        events = [
            await alice.get(f"/rooms/{room}/event/{segment(event_id)}"),
            *(await alice.messages(room, limit=50))["chunk"],
            *await alice.get(f"/rooms/{room}/state"),
        ]
        shown = [event["unsigned"]["redacted_because"] for event in events if event["event_id"] == event_id]
        assert len(shown) >= 2
        assert {redaction["room_id"] for redaction in shown} == {room}
    [section] = (await alice.sync())["rooms"]["join"].values()
    in_sync = [event for event in section["timeline"]["events"] if event["event_id"] == topic]
    assert "room_id" not in in_sync[0]["unsigned"]["redacted_because"]
