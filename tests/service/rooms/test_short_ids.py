"""Tests of the numbers that stand for rooms, events and state keys."""

from __future__ import annotations

import pytest

from conduit.database.errors import Corrupt
from conduit.protocol.ids import EventId, RoomId
from conduit.service.rooms import short_ids
from tests.support.rooms import World

ROOM = RoomId("!room:localhost")
EVENT = EventId("$" + "a" * 43)


def test_ensured_ids_are_found_in_both_directions() -> None:
    """A number is given once, and leads back to what it stands for, also when read from the disk."""
    db = World().db
    with db.batch() as batch:
        room = short_ids.ensure_room(batch, ROOM)
        event = short_ids.ensure_event(batch, EVENT)
        key = short_ids.ensure_statekey(batch, "m.room.member", "@alice:localhost")
        assert short_ids.ensure_room(batch, ROOM) == room
        assert short_ids.ensure_event(batch, EVENT) == event
        assert short_ids.ensure_statekey(batch, "m.room.member", "@alice:localhost") == key
    assert len({room, event, key, 0}) == 4
    for _ in range(2):
        assert short_ids.short_room(db, ROOM) == room
        assert short_ids.room_of(db, room) == ROOM
        assert short_ids.short_event(db, EVENT) == event
        assert short_ids.event_of(db, event) == EVENT
        assert short_ids.short_statekey(db, "m.room.member", "@alice:localhost") == key
        assert short_ids.statekey_of(db, key) == ("m.room.member", "@alice:localhost")
        assert short_ids.events_of(db, [event, event]) == [EVENT, EVENT]
        assert short_ids.short_events(db, [EventId("$other:localhost"), EVENT]) == [None, event]
        assert short_ids.statekeys_of(db, [key]) == [("m.room.member", "@alice:localhost")]
        db.cache_pool.clear()


def test_ids_of_a_dropped_batch_are_forgotten() -> None:
    """What a failed deed has numbered is unknown afterwards, and its numbers go to others."""
    db = World().db

    def fail() -> None:
        with db.batch() as batch:
            short_ids.ensure_room(batch, ROOM)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert short_ids.short_room(db, ROOM) is None
    with db.batch() as batch:
        first = short_ids.ensure_event(batch, EVENT)
    assert short_ids.event_of(db, first) == EVENT


def test_unknown_ids_are_none_and_dangling_numbers_are_corruption() -> None:
    """Absence is no error, but a number which stands for nothing is."""
    db = World().db
    assert short_ids.short_room(db, ROOM) is None
    assert short_ids.short_event(db, EVENT) is None
    assert short_ids.short_statekey(db, "m.room.name", "") is None
    for look in (short_ids.room_of, short_ids.event_of, short_ids.statekey_of):
        with pytest.raises(Corrupt):
            look(db, 99)
    with pytest.raises(Corrupt):
        short_ids.events_of(db, [99])
    with pytest.raises(Corrupt):
        short_ids.statekeys_of(db, [99])
