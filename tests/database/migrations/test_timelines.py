"""What is derived from events, and from rooms as a whole."""

from __future__ import annotations

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.layouts import ACCEPTED, OUTLIER, SOFT_FAILED, EventMeta
from conduit.protocol.pdu import Event
from tests.database.migrations.conftest import World


def facts(db: Database, event: Event) -> EventMeta | None:
    """Return what is known of an event."""
    short = trees.eventid_shorteventid.get(db, event.event_id)
    return None if short is None else trees.shorteventid_meta.get(db, short)


def test_events_have_their_facts(world: World, db: Database) -> None:
    """Status, room, depth and auth events of those in a timeline, of soft-failed ones and of outliers."""
    for room in (world.room, world.hashed, world.old):
        for event in room.events:
            known = facts(db, event)
            assert known is not None
            assert (known.status, known.room, known.depth) == (ACCEPTED, room.short, event.depth)
            assert tuple(trees.shorteventid_eventid.get(db, short) for short in known.auth) == event.auth_events
            assert trees.room_events.has(db, (room.short, trees.eventid_shorteventid.get(db, event.event_id) or 0))
    for name, status in (("older", ACCEPTED), ("failed", SOFT_FAILED), ("outlier", OUTLIER)):
        known = facts(db, world.named[name])
        assert known is not None
        assert known.status == status
        assert known.room == world.room.short


def test_rooms_are_found_by_their_short_ids(world: World, db: Database) -> None:
    """Also the room of version 12, which its create event does not name."""
    for room in (world.room, world.hashed, world.old):
        assert trees.shortroomid_roomid.get(db, room.short) == room.room_id


def test_room_without_leaves_gets_its_newest_event(world: World, db: Database) -> None:
    """So that the next message has something to cite; others keep theirs."""
    leaves = [event_id for _, event_id in trees.roomid_pduleaves.keys(db, (world.old.room_id,))]
    assert leaves == [world.old.events[-1].event_id]
    leaves = [event_id for _, event_id in trees.roomid_pduleaves.keys(db, (world.room.room_id,))]
    assert leaves == world.room.leaves
