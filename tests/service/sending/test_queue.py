"""Tests of the outgoing queues."""

from __future__ import annotations

from conduit.database import layouts, trees
from conduit.database.layouts import PduId
from conduit.protocol.ids import ServerName
from conduit.service.sending import queue
from tests.support.rooms import World

ONE, OTHER = ServerName("one.example"), ServerName("other.example")


def test_events_wait_in_the_order_of_time_over_all_rooms() -> None:
    """Each destination has its own rows, oldest first whatever the room."""
    db = World().db
    places = [PduId(7, 20), PduId(3, 21), PduId(7, 22)]
    with db.batch() as batch:
        for place in places:
            queue.enqueue_event(batch, place, [ONE, OTHER])
    for server in (ONE, OTHER):
        rows = [layouts.PDU_ID.decode(value) for _, value in trees.destination_queue.scan(db, (server,))]
        assert rows == places
    assert list(queue.destinations(db)) == [ONE, OTHER]
    assert queue.lengths(db, ONE) == (3, 0)


def test_server_that_is_behind_has_the_newest_event_of_each_room() -> None:
    """In place of a queue, until it is up to date again; EDUs are queued all the same."""
    db = World().db
    places = [PduId(7, 20), PduId(3, 21), PduId(7, 22)]
    with db.batch() as batch:
        queue.set_behind(batch, ONE, 1000)
        for place in places:
            queue.enqueue_event(batch, place, [ONE])
        queue.enqueue_edu(batch, ONE, {"edu_type": "a", "content": {}})
    assert trees.destination_room.get(db, (ONE, 7)) == places[2]
    assert trees.destination_room.get(db, (ONE, 3)) == places[1]
    assert queue.lengths(db, ONE) == (2, 1)
    assert list(queue.destinations(db)) == [ONE]
    with db.batch() as batch:
        queue.set_up_to_date(batch, ONE)
        queue.enqueue_event(batch, PduId(7, 23), [ONE])
    assert not queue.is_behind(db, ONE)
    assert queue.lengths(db, ONE) == (1, 1)


def test_edus_wait_in_the_order_in_which_they_were_queued() -> None:
    """As the bytes that are sent."""
    db = World().db
    with db.batch() as batch:
        for number in (2, 1):
            queue.enqueue_edu(batch, ONE, {"edu_type": "m.test", "content": {"number": number}})
    rows = [value for _, value in trees.destination_queue.scan(db, (ONE, queue.EDU))]
    assert rows == [b'{"content":{"number":%d},"edu_type":"m.test"}' % number for number in (2, 1)]


def test_oldest_is_what_was_queued_first_of_both_kinds() -> None:
    """An event or an EDU of that server, or nothing."""
    db = World().db
    with db.batch() as batch:
        assert queue.oldest(batch, ONE) is None
        queue.enqueue_edu(batch, ONE, {"edu_type": "m.test", "content": {}})
        first = batch.next_count() - 1
        queue.enqueue_event(batch, PduId(7, first + 10), [ONE, OTHER])
    assert queue.oldest(db, ONE) == first
    assert queue.oldest(db, OTHER) == first + 10


async def test_sender_of_a_destination_is_woken() -> None:
    """Who waits on a destination's queue is woken once the row is durable."""
    db = World().db
    with db.watch.register([("destination", ONE)]) as waiter, db.watch.register([("destination", OTHER)]) as other:
        with db.batch() as batch:
            queue.enqueue_event(batch, PduId(1, 2), [ONE])
        await db.durable()
        assert await waiter.wait(0.01)
        assert not await other.wait(0.001)
