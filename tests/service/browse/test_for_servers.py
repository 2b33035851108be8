"""Tests of what other servers in a room may ask for."""

from __future__ import annotations

import orjson
import pytest

from conduit.protocol.errors import Forbidden, NotFound
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId
from conduit.protocol.pdu import Event
from conduit.service.browse import for_servers
from conduit.service.rooms import short_ids
from tests.support.rooms import ALICE, World

EVE = UserId("@eve:peer.test")
PEER = ServerName("peer.test")
UNKNOWN = EventId("$" + "x" * 43)


def visited(world: World) -> tuple[RoomId, for_servers.Room]:
    """Return a room that the peer is in, and its view of it."""
    room_id = world.create()
    world.join(room_id, EVE)
    return room_id, for_servers.open_room(world.ctx, PEER, room_id)


def bodies(pdus: list[bytes]) -> list[object]:
    """Return what messages say."""
    return [orjson.loads(pdu)["content"].get("body") for pdu in pdus]


def test_advisory_03_room_opens_for_servers_in_it_only() -> None:
    """Strangers are refused, unknown rooms not found, and so are those that nobody here is in."""
    world = World()
    room_id, _ = visited(world)
    with pytest.raises(Forbidden):
        for_servers.open_room(world.ctx, ServerName("stranger.test"), room_id)
    with pytest.raises(NotFound):
        for_servers.open_room(world.ctx, PEER, RoomId("!unknown:peer.test"))
    world.leave(room_id, ALICE)
    with pytest.raises(NotFound):
        for_servers.open_room(world.ctx, PEER, room_id)


def test_who_is_no_longer_in_the_room_learns_what_led_there_and_no_more() -> None:
    """A server whose last user was banned while it was away follows the ban back to what it knows."""
    world = World()
    room_id, _ = visited(world)
    said = world.say(room_id, ALICE, "before")
    ban = world.member(room_id, ALICE, EVE, "ban")
    after = world.say(room_id, ALICE, "after")
    room = for_servers.open_room(world.ctx, PEER, room_id, at=[ban.event_id])
    assert bodies(for_servers.missing_events(room, [ban.event_id], [], 1, 0)) == ["before"]
    assert for_servers.one_event(world.ctx, PEER, said.event_id)
    for at in ([], [after.event_id], [ban.event_id, after.event_id], [UNKNOWN]):
        with pytest.raises(Forbidden):
            for_servers.open_room(world.ctx, PEER, room_id, at=at)
    with pytest.raises(Forbidden):
        for_servers.one_event(world.ctx, PEER, after.event_id)
    with pytest.raises(Forbidden):
        for_servers.open_room(world.ctx, ServerName("stranger.test"), room_id, at=[ban.event_id])


def test_who_left_still_tells_what_led_to_the_leave() -> None:
    """Others may have been away when the last of this server left: they take the leave only with what lies before it."""
    world = World()
    room_id, _ = visited(world)
    world.say(room_id, ALICE, "goodbye")
    leave = world.leave(room_id, ALICE)
    room = for_servers.open_room(world.ctx, PEER, room_id, at=[leave.event_id])
    assert bodies(for_servers.missing_events(room, [leave.event_id], [], 1, 0)) == ["goodbye"]
    with pytest.raises(NotFound):
        for_servers.open_room(world.ctx, ServerName("stranger.test"), room_id, at=[leave.event_id])
    with pytest.raises(NotFound):
        for_servers.open_room(world.ctx, PEER, room_id, at=[UNKNOWN])


def test_advisory_03_events_of_other_rooms_are_not_found() -> None:
    """Under the name of a room that the server is in."""
    world = World()
    room_id, room = visited(world)
    other = world.create()
    secret = world.say(other, ALICE, "secret")
    known = world.say(room_id, ALICE, "known")
    assert room.find(known.event_id) == known
    for event_id in (secret.event_id, UNKNOWN):
        assert room.look_up(event_id) is None
        with pytest.raises(NotFound):
            room.find(event_id)
    assert for_servers.backfill(room, [secret.event_id], 10) == []
    assert for_servers.missing_events(room, [secret.event_id], [], 10, 0) == []
    with pytest.raises(Forbidden):
        for_servers.one_event(world.ctx, PEER, secret.event_id)


def test_backfill_goes_back_by_depth_within_its_limit() -> None:
    """The named events first; several starting points are one walk."""
    world = World()
    room_id, room = visited(world)
    said = [world.say(room_id, ALICE, str(number)) for number in range(5)]
    found = for_servers.backfill(room, [said[2].event_id, said[4].event_id, UNKNOWN], 4)
    assert bodies(found) == ["4", "3", "2", "1"]
    assert for_servers.backfill(room, [said[4].event_id], 0) == []


def test_missing_events_end_at_what_is_known_and_at_the_depth() -> None:
    """Oldest first."""
    world = World()
    room_id, room = visited(world)
    said = [world.say(room_id, ALICE, str(number)) for number in range(5)]
    latest, earliest = [said[4].event_id], [said[0].event_id]
    assert bodies(for_servers.missing_events(room, latest, earliest, 10, 0)) == ["1", "2", "3"]
    assert bodies(for_servers.missing_events(room, latest, earliest, 2, 0)) == ["2", "3"]
    assert bodies(for_servers.missing_events(room, latest, [], 10, said[2].depth)) == ["2", "3"]


async def test_state_is_that_before_the_event_and_its_chain() -> None:
    """Of the create event it is empty."""
    world = World()
    room_id, room = visited(world)
    world.set(room_id, ALICE, "m.room.name", {"name": "one"})
    event = world.set(room_id, ALICE, "m.room.name", {"name": "two"})
    shorts, chain = await for_servers.state_at(room, event.event_id)
    names = short_ids.events_of(world.db, shorts)
    assert event.event_id not in names
    assert len(names) == 6
    assert set(short_ids.events_of(world.db, chain)) <= {*names}
    create = next(iter(for_servers.backfill(room, [event.event_id], 100)[::-1]))
    first = Event.from_pdu(orjson.loads(create), room.version)
    assert first.type == "m.room.create"
    assert await for_servers.state_at(room, first.event_id) == ([], [])
    with pytest.raises(NotFound):
        await for_servers.state_at(room, UNKNOWN)


async def test_lists_are_one_object() -> None:
    """However many they are, and however empty."""
    world = World()
    room_id, room = visited(world)
    event = world.say(room_id, ALICE, "hello")
    short = short_ids.short_event(world.db, event.event_id)
    assert short is not None
    text = b"".join([piece async for piece in for_servers.lists(room, [("a", [short]), ("b", [])])])
    assert orjson.loads(text) == {"a": [event.pdu], "b": []}
    text = b"".join([piece async for piece in for_servers.lists(room, [("a", [short, short])], ids=True)])
    assert orjson.loads(text) == {"a": [event.event_id] * 2}
