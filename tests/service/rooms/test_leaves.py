"""Tests of a room's leaves."""

from __future__ import annotations

from conduit.database import trees
from conduit.protocol.ids import RoomId
from conduit.service.rooms import leaves, state
from tests.support.rooms import ALICE, World


def test_each_event_takes_the_place_of_the_one_before() -> None:
    """A room that only we write to has one leaf, the newest event, and each event cites the one before."""
    world = World()
    room_id = world.create()
    for number in range(3):
        (before,) = leaves.of(world.db, room_id)
        event = world.say(room_id, ALICE, str(number))
        (leaf,) = leaves.of(world.db, room_id)
        assert leaf.event_id == event.event_id
        assert event.prev_events == (before.event_id,)
        assert event.depth == leaf.depth == before.depth + 1
        assert leaf.state == state.after(world.db, event.event_id)
        assert leaves.is_cited(world.db, room_id, before.event_id)
        assert not leaves.is_cited(world.db, room_id, event.event_id)


def test_leaves_are_the_same_after_a_restart() -> None:
    """What is read from the disk is what was held in memory."""
    world = World()
    room_id = world.create()
    world.say(room_id, ALICE, "x")
    held = leaves.of(world.db, room_id)
    world.db.cache_pool.clear()
    assert leaves.of(world.db, room_id) == held


def test_imported_room_without_leaves_builds_on_its_newest_event() -> None:
    """If the rows are missing, the newest event of the timeline stands in for them."""
    world = World()
    room_id = world.create()
    newest = world.say(room_id, ALICE, "x")
    with world.db.batch() as batch:
        trees.roomid_pduleaves.delete_prefix(batch, (room_id,))
    world.db.cache_pool.clear()
    event = world.say(room_id, ALICE, "y")
    assert event.prev_events == (newest.event_id,)


def test_all_leaves_are_merged_up_to_the_limit_of_an_event() -> None:
    """The next event cites all leaves, but of a great many only the deepest twenty."""
    world = World()
    room_id = world.create()
    events = [world.say(room_id, ALICE, str(number)) for number in range(25)]
    with world.db.batch() as batch:
        for event in events:
            trees.roomid_pduleaves.put(batch, (room_id, event.event_id), event.event_id)
    world.db.cache_pool.clear()
    merging = world.say(room_id, ALICE, "merge")
    assert set(merging.prev_events) == {event.event_id for event in events[5:]}
    left = {leaf.event_id for leaf in leaves.of(world.db, room_id)}
    assert left == {merging.event_id, *(event.event_id for event in events[:5])}
    last = world.say(room_id, ALICE, "merge the rest")
    assert [leaf.event_id for leaf in leaves.of(world.db, room_id)] == [last.event_id]


def test_unknown_room_has_no_leaves() -> None:
    """Absence is an empty tuple."""
    assert leaves.of(World().db, RoomId("!unknown:localhost")) == ()
