"""One event for one transaction, also across a crash: row and event are one batch."""

from __future__ import annotations

import asyncio

import pytest

from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import EventId, UserId
from conduit.service import transactions
from conduit.service.actions import once
from conduit.service.actions.once import Transaction
from conduit.service.rooms import timeline
from tests.support.rooms import ALICE, World


def transaction(txn_id: str = "x", device_id: str = "DEVICE") -> Transaction:
    """Return a transaction of Alice's."""
    return Transaction(ALICE, device_id, transactions.key("PUT", "send", txn_id), txn_id)


async def test_once_remembers_the_event_and_echoes_the_id() -> None:
    """The answer is kept for the request, and the event knows its transaction."""
    world = World()
    room_id = world.create(ALICE)
    sent = await once.send(world.ctx, room_id, ALICE, "m.room.message", {"body": "a"}, transaction=transaction())
    assert once.answer_of(world.ctx, transaction()) == sent
    assert timeline.transaction_of(world.db, sent) == (ALICE, "DEVICE", "x")
    assert once.answer_of(world.ctx, transaction("y")) is None
    assert once.answer_of(world.ctx, transaction(device_id="OTHER")) is None


async def test_once_refused_event_leaves_no_answer() -> None:
    """What was refused may be tried again with the same id."""
    world = World()
    room_id = world.create(ALICE)
    stranger = Transaction(UserId("@bob:localhost"), "D", transactions.key("PUT", "x"), "x")
    with pytest.raises(Forbidden):
        await once.send(world.ctx, room_id, stranger.user_id, "m.room.message", {}, transaction=stranger)
    assert once.answer_of(world.ctx, stranger) is None


async def test_once_found_under_the_lock_drops_the_second_event() -> None:
    """A request that lost the race writes nothing and answers with the winner's event."""
    world = World()
    room_id = world.create(ALICE)
    winner = EventId("$winner:localhost")
    async with world.ctx.locks.room(room_id):
        task = asyncio.create_task(
            once.send(world.ctx, room_id, ALICE, "m.room.message", {"body": "a"}, transaction=transaction())
        )
        await asyncio.sleep(0)
        last = timeline.last_position(world.db, room_id)
        mine = transaction()
        with world.db.batch() as batch:
            transactions.remember(batch, mine.user_id, mine.device_id, mine.key, winner.encode(), 0)
    assert await task == winner
    assert timeline.last_position(world.db, room_id) == last
