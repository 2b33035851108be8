"""Send an event at most once for a transaction id, however often the client asks and however the requests overlap."""

from __future__ import annotations

from typing import Any, NamedTuple

from conduit.database.database import Batch
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.service import events, transactions
from conduit.service.context import Context


class Transaction(NamedTuple):
    """A request that the client may repeat: whose it is, the key of its endpoint and path, and the client's id for it."""

    user_id: UserId
    device_id: str
    key: bytes
    txn_id: str


class _Repeated(Exception):
    """Another request with the same transaction id was faster."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


def answer_of(ctx: Context, transaction: Transaction | None) -> EventId | None:
    """Return the event that this request has sent before, or `None`."""
    if transaction is None:
        return None
    answer = transactions.find(ctx.db, transaction.user_id, transaction.device_id, transaction.key)
    return None if answer is None else EventId(answer.decode())


async def send(
    ctx: Context,
    room_id: RoomId,
    sender: UserId,
    event_type: str,
    content: dict[str, Any],
    *,
    transaction: Transaction | None,
    redacts: EventId | None = None,
    origin_server_ts: int | None = None,
) -> EventId:
    """Send a message event and return its id, or the id of the event that this transaction has already sent.

    The transaction's row is part of the event's batch. Two equal requests at the same time both pass the first look-up; the second finds
    the row once it holds the room's lock, and drops its batch.
    """
    known = answer_of(ctx, transaction)
    if known is not None:
        return known

    def remember(batch: Batch, event: Event) -> None:
        if transaction is None:
            return
        earlier = transactions.find(batch, transaction.user_id, transaction.device_id, transaction.key)
        if earlier is not None:
            raise _Repeated(earlier)
        transactions.remember(
            batch,
            transaction.user_id,
            transaction.device_id,
            transaction.key,
            event.event_id.encode(),
            ctx.clock.now_ms(),
        )

    try:
        event = await events.send(
            ctx,
            room_id,
            sender,
            event_type,
            content,
            redacts=redacts,
            origin_server_ts=origin_server_ts,
            transaction=None if transaction is None else (transaction.device_id, transaction.txn_id),
            extra=remember,
        )
    except _Repeated as repeated:
        return EventId(repeated.answer.decode())
    return event.event_id
