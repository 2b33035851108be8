"""States around events, the present one and the past ones."""

from __future__ import annotations

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.migrations.bulk import Bulk
from conduit.database.migrations.layers import Layers
from conduit.protocol.pdu import Event
from tests.database.migrations.conftest import World


def short_of(db: Database, event: Event) -> int:
    """Return an event's short id."""
    short = trees.eventid_shorteventid.get(db, event.event_id)
    assert short is not None
    return short


def ids(db: Database, state: int | None) -> dict[int, int]:
    """Return a whole state."""
    assert state is not None
    return Layers(Bulk(db, "test")).ids(state)


def test_state_after_is_the_state_before_with_the_event(world: World, db: Database) -> None:
    """For every event of every room, whichever way Conduit has layered the states."""
    for room in (world.room, world.hashed, world.old):
        expected: dict[int, int] = {}
        for event in room.events:
            short = short_of(db, event)
            assert ids(db, trees.shorteventid_shortstatehash.get(db, short)) == expected
            if event.state_key is not None:
                key = trees.statekey_shortstatekey.get(db, (event.type, event.state_key))
                assert key is not None
                expected = {**expected, key: short}
            assert ids(db, trees.shorteventid_stateafter.get(db, short)) == expected
        newest = trees.shorteventid_stateafter.get(db, short_of(db, room.events[-1]))
        assert newest == trees.roomid_shortstatehash.get(db, room.room_id)


def test_soft_failed_event_has_its_state_after(world: World, db: Database) -> None:
    """It may be cited by events that are accepted."""
    failed = world.named["failed"]
    key = trees.statekey_shortstatekey.get(db, ("m.room.topic", ""))
    assert ids(db, trees.shorteventid_stateafter.get(db, short_of(db, failed)))[key or 0] == short_of(db, failed)


def test_present_state_is_there_as_rows(world: World, db: Database) -> None:
    """One row for each entry."""
    for room in (world.room, world.hashed, world.old):
        rows = {key: event for (_, key), event in trees.roomstate.scan(db, (room.short,))}
        assert rows == room.ids


def test_history_is_what_conduit_noted_at_each_sync(world: World, db: Database) -> None:
    """A token that Conduit gave leads to the state of then; the newest row is the present state."""
    rows = [(count, state) for (_, count), state in trees.roomstate_history.scan(db, (world.room.short,))]
    assert world.token in [count for count, _ in rows] or rows[0][0] < world.token
    assert rows[-1][1] == trees.roomid_shortstatehash.get(db, world.room.room_id)
    assert rows[0][1] != rows[-1][1]
    assert len(list(trees.roomstate_history.scan(db, (world.hashed.short,)))) == 1
