"""Tests of events by id and by position."""

from __future__ import annotations

import pytest

from conduit.database import trees
from conduit.database.errors import Corrupt
from conduit.database.layouts import ACCEPTED, OUTLIER, REJECTED, SOFT_FAILED, EventMeta, PduId
from conduit.protocol.ids import EventId, RoomId
from conduit.protocol.pdu import Event
from conduit.service.events.build import build
from conduit.service.rooms import short_ids, state, timeline
from tests.support.rooms import ALICE, BOB, World


def place_at(world: World, room_id: RoomId, live: int, back: int) -> tuple[PduId, Event]:
    """Put a fresh event at a position of a room's timeline without making it current, as backfilling does."""
    with world.db.batch() as batch:
        body = {"msgtype": "m.text", "body": f"{live}~{back}"}
        version = state.version_of(batch, room_id)
        event = build(world.ctx, batch, room_id, version, ALICE, "m.room.message", body)
        place = PduId(short_ids.ensure_room(batch, room_id), live, back)
        short = short_ids.ensure_event(batch, event.event_id)
        timeline.append(batch, event, short, EventMeta(ACCEPTED, place.room, event.depth, ()), place)
    return place, event


def keep_outlier(world: World, room_id: RoomId, status: int) -> Event:
    """Keep a fresh event outside of the timeline."""
    with world.db.batch() as batch:
        version = state.version_of(batch, room_id)
        event = build(world.ctx, batch, room_id, version, ALICE, "m.room.message", {"body": "aside"})
        short = short_ids.ensure_event(batch, event.event_id)
        room = short_ids.ensure_room(batch, room_id)
        timeline.put_outlier(batch, event, short, EventMeta(status, room, event.depth, ()))
    return event


def test_scan_returns_all_three_kinds_of_positions_in_time_order() -> None:
    """History before and within the live events lies where it belongs, in both directions, cached or not."""
    world = World()
    room_id = world.create()
    live = [place for place, _ in timeline.scan(world.db, room_id)]
    gap = [place_at(world, room_id, live[1].live, back)[0] for back in (2, 1, 7)]
    old = [place_at(world, room_id, 0, back)[0] for back in (5, 9)]
    expected = [old[1], old[0], live[0], live[1], gap[2], gap[0], gap[1], *live[2:]]
    for _ in range(2):
        assert [place for place, _ in timeline.scan(world.db, room_id)] == expected
        assert [place for place, _ in timeline.scan(world.db, room_id, reverse=True)] == expected[::-1]
        assert list(timeline.positions(world.db, room_id, reverse=True)) == expected[::-1]
        for place, event in timeline.scan(world.db, room_id):
            assert timeline.position(world.db, event.event_id) == place
            assert timeline.event_at(world.db, place) == event
        assert timeline.first_position(world.db, room_id) == expected[0]
        assert timeline.last_position(world.db, room_id) == live[-1]
        world.db.cache_pool.clear()


def test_scan_bounds_are_exclusive_for_every_kind_of_position() -> None:
    """Between any two positions lie exactly those that the order puts there."""
    world = World()
    room_id = world.create()
    live = next(timeline.positions(world.db, room_id))
    for back in (1, 2):
        place_at(world, room_id, live.live, back)
        place_at(world, room_id, 0, back)
    places = list(timeline.positions(world.db, room_id))
    for low, after in enumerate(places):
        assert list(timeline.positions(world.db, room_id, after=after)) == places[low + 1 :]
        assert list(timeline.positions(world.db, room_id, before=after)) == places[:low]
        for high, before in enumerate(places):
            between = places[low + 1 : high]
            assert [p for p, _ in timeline.scan(world.db, room_id, after=after, before=before)] == between
            found = timeline.scan(world.db, room_id, after=after, before=before, reverse=True)
            assert [p for p, _ in found] == between[::-1]


def test_rooms_do_not_mix() -> None:
    """A scan shows the events of its own room only, and those of an unknown room are none."""
    world = World()
    one, other = world.create(), world.create()
    world.say(one, ALICE, "here")
    assert {event.room_id for _, event in timeline.scan(world.db, one)} == {one}
    assert {event.room_id for _, event in timeline.scan(world.db, other)} == {other}
    unknown = RoomId("!unknown:localhost")
    assert list(timeline.scan(world.db, unknown)) == []
    assert timeline.last_position(world.db, unknown) is None
    assert timeline.first_position(world.db, unknown) is None


def test_last_position_follows_each_append() -> None:
    """The newest position is right after every event, whether or not it had been asked for before."""
    world = World()
    room_id = world.create()
    for number in range(5):
        event = world.say(room_id, ALICE, str(number))
        if number % 2:
            assert timeline.last_position(world.db, room_id) == timeline.position(world.db, event.event_id)
    assert timeline.last_position(world.db, room_id) == timeline.position(world.db, event.event_id)


def test_batch_sees_its_own_event_and_a_dropped_one_leaves_nothing() -> None:
    """An event is read through its batch at once, and is nowhere after the batch failed."""
    world = World()
    room_id = world.create()
    before = timeline.last_position(world.db, room_id)
    sent: list[EventId] = []

    def fail() -> None:
        from conduit.service.events import RoomView

        with world.db.batch() as batch:
            event = RoomView.open(world.ctx, batch, room_id).add(ALICE, "m.room.message", {"body": "lost"})
            assert timeline.event(batch, event.event_id) == event
            assert timeline.last_position(batch, room_id) == timeline.position(batch, event.event_id)
            sent.append(event.event_id)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert timeline.event(world.db, sent[0]) is None
    assert timeline.position(world.db, sent[0]) is None
    assert timeline.last_position(world.db, room_id) == before


def test_outliers_are_read_and_rejected_events_are_not() -> None:
    """An event without a position is known by its id, unless it was rejected."""
    world = World()
    room_id = world.create()
    outlier = keep_outlier(world, room_id, OUTLIER)
    rejected = keep_outlier(world, room_id, REJECTED)
    for _ in range(2):
        assert timeline.event(world.db, outlier.event_id) == outlier
        assert timeline.position(world.db, outlier.event_id) is None
        assert timeline.event(world.db, rejected.event_id) is None
        assert timeline.events(world.db, [rejected.event_id, outlier.event_id]) == [outlier]
        known = timeline.meta(world.db, rejected.event_id)
        assert known is not None
        assert known.status == REJECTED
        world.db.cache_pool.clear()


def test_events_are_returned_in_the_order_asked_for() -> None:
    """Many events are read in one go, known ones only, from the cache and from the disk alike."""
    world = World()
    room_id = world.create()
    sent = [world.say(room_id, ALICE, str(number)) for number in range(6)]
    sent[3:3] = [keep_outlier(world, room_id, status) for status in (OUTLIER, SOFT_FAILED)]
    rejected = keep_outlier(world, room_id, REJECTED).event_id
    wanted = [event.event_id for event in reversed(sent)]
    world.db.cache_pool.clear()
    timeline.event(world.db, wanted[2])
    others = [rejected, EventId("$none:localhost")]
    assert [event.event_id for event in timeline.events(world.db, [*others, *wanted, *others])] == wanted


@pytest.mark.parametrize("version", ["1", "6", "11", "12"])
def test_stored_events_read_back_as_they_were_sent(version: str) -> None:
    """What comes from the disk is what was signed, in every format of events."""
    world = World()
    room_id = world.create(version=version)
    world.join(room_id, BOB)
    kept = {event.event_id: event.pdu for _, event in timeline.scan(world.db, room_id)}
    world.db.cache_pool.clear()
    again = {event.event_id: event.pdu for _, event in timeline.scan(world.db, room_id)}
    assert again == kept
    assert all(event.room_id == room_id for _, event in timeline.scan(world.db, room_id))


def test_transaction_is_remembered_for_the_sending_device() -> None:
    """An event tells under which transaction of which device it was sent."""
    world = World()
    room_id = world.create()
    with_id = world.send(room_id, ALICE, "m.room.message", {"body": "x"}, transaction=("PHONE", "txn1"))
    without = world.say(room_id, ALICE, "y")
    assert timeline.transaction_of(world.db, with_id.event_id) == (ALICE, "PHONE", "txn1")
    assert timeline.transaction_of(world.db, without.event_id) is None
    assert timeline.transaction_of(world.db, EventId("$none:localhost")) is None


def test_unredacted_returns_what_was_sent() -> None:
    """The original of a redacted event is still there for those who may see it."""
    world = World()
    room_id = world.create()
    event = world.say(room_id, ALICE, "secret")
    world.redact(room_id, ALICE, event.event_id)
    original = timeline.unredacted(world.db, event.event_id)
    assert original is not None
    assert original.content["body"] == "secret"
    other = world.say(room_id, ALICE, "plain")
    assert timeline.unredacted(world.db, other.event_id) == other


def test_damaged_rows_are_named_as_corrupt() -> None:
    """A stored event that is none, or is not where its id says, is reported with its tree."""
    world = World()
    room_id = world.create()
    event, other = world.say(room_id, ALICE, "x"), world.say(room_id, ALICE, "y")
    place, missing = timeline.position(world.db, event.event_id), timeline.position(world.db, other.event_id)
    assert place is not None
    assert missing is not None
    world.db.cache_pool.clear()
    with world.db.batch() as batch:
        trees.pduid_pdu.put(batch, place, b'{"event_id": 3}')
        trees.pduid_pdu.delete(batch, missing)
    for event_id in (event.event_id, other.event_id):
        with pytest.raises(Corrupt):
            timeline.event(world.db, event_id)
