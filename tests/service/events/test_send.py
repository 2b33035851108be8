"""Tests of sending one event."""

from __future__ import annotations

import asyncio

import pytest

from conduit.database import trees
from conduit.database.database import Batch
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import RoomId
from conduit.protocol.pdu import Event
from conduit.service import events
from conduit.service.rooms import leaves, timeline
from tests.support import invariants
from tests.support.rooms import ALICE, BOB, World

UNKNOWN = RoomId("!unknown:localhost")


async def test_sent_event_is_returned_and_read() -> None:
    """The event that `send` returns is the one in the room."""
    world = World()
    room_id = world.create()
    event = await events.send(world.ctx, room_id, ALICE, "m.room.message", {"body": "x"}, transaction=("PHONE", "1"))
    assert timeline.event(world.db, event.event_id) == event
    assert timeline.transaction_of(world.db, event.event_id) == (ALICE, "PHONE", "1")


async def test_extra_writes_into_the_same_batch() -> None:
    """What belongs to the deed is written with the event, also when the event only repeats the state."""
    world = World()
    room_id = world.create()
    seen: list[Event] = []

    def extra(batch: Batch, event: Event) -> None:
        seen.append(event)
        assert timeline.event(batch, event.event_id) == event
        trees.userid_displayname.put(batch, event.event_id, "noted")

    first = await events.send(world.ctx, room_id, ALICE, "m.room.name", {"name": "x"}, state_key="", extra=extra)
    again = await events.send(world.ctx, room_id, ALICE, "m.room.name", {"name": "x"}, state_key="", extra=extra)
    assert seen == [first, first] == [again, again]
    assert trees.userid_displayname.get(world.db, first.event_id) == "noted"


async def test_failing_extra_undoes_the_event() -> None:
    """If what belongs to the deed cannot be written, nothing is sent."""
    world = World()
    room_id = world.create()
    last = timeline.last_position(world.db, room_id)

    def extra(batch: Batch, event: Event) -> None:
        raise Forbidden("no")

    with pytest.raises(Forbidden):
        await events.send(world.ctx, room_id, ALICE, "m.room.message", {"body": "x"}, extra=extra)
    assert timeline.last_position(world.db, room_id) == last


async def test_unknown_room_is_refused_like_one_that_the_sender_is_not_in() -> None:
    """Nobody finds out by sending whether a room exists."""
    world = World()
    room_id = world.create()
    told = []
    for target in (UNKNOWN, room_id):
        with pytest.raises(Forbidden) as refused:
            await events.send(world.ctx, target, BOB, "m.room.message", {"body": "x"})
        told.append(refused.value.body())
    assert told[0] == told[1]


async def test_concurrent_sends_make_one_line() -> None:
    """Events sent at once into one room follow each other: no fork, each sender's in order."""
    world = World()
    room_id = world.create()
    world.join(room_id, BOB)
    sent = await asyncio.gather(
        *(
            events.send(world.ctx, room_id, (ALICE, BOB)[number % 2], "m.room.message", {"body": str(number)})
            for number in range(40)
        )
    )
    assert [event.prev_events for event in sent[1:]] == [(event.event_id,) for event in sent[:-1]]
    assert len(leaves.of(world.db, room_id)) == 1
    invariants.check_all(world.db)


async def test_room_is_judged_anew_after_waiting_for_its_lock() -> None:
    """What was allowed when the request came is refused if the room has changed while it waited."""
    world = World()
    room_id = world.create()
    world.join(room_id, BOB)
    async with world.ctx.locks.room(room_id):
        waiting = asyncio.create_task(events.send(world.ctx, room_id, BOB, "m.room.message", {"body": "x"}))
        await asyncio.sleep(0)
        world.member(room_id, ALICE, BOB, "ban")
    with pytest.raises(Forbidden):
        await waiting
