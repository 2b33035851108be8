"""Tests of the outgoing queues."""

from __future__ import annotations

from conduit.database import layouts, trees
from conduit.database.layouts import PduId
from conduit.protocol.ids import ServerName
from conduit.service.sending import queue
from tests.support.rooms import World

ONE, OTHER = ServerName("one.example"), ServerName("other.example")


def test_events_wait_in_the_order_of_time_over_all_rooms() -> None:
    """Each destination has its own rows, oldest first whatever the room, and the newest of each room."""
    db = World().db
    places = [PduId(7, 20), PduId(3, 21), PduId(7, 22)]
    with db.batch() as batch:
        for place in places:
            queue.enqueue_event(batch, place, [ONE, OTHER])
    for server in (ONE, OTHER):
        rows = [layouts.PDU_ID.decode(value) for _, value in trees.destination_queue.scan(db, (server,))]
        assert rows == places
        assert trees.destination_room.get(db, (server, 7)) == places[2]
        assert trees.destination_room.get(db, (server, 3)) == places[1]


async def test_sender_of_a_destination_is_woken() -> None:
    """Who waits on a destination's queue is woken once the row is durable."""
    db = World().db
    with db.watch.register([("destination", ONE)]) as waiter, db.watch.register([("destination", OTHER)]) as other:
        with db.batch() as batch:
            queue.enqueue_event(batch, PduId(1, 2), [ONE])
        await db.durable()
        assert await waiter.wait(0.01)
        assert not await other.wait(0.001)
