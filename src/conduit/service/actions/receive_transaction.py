"""Taking in a transaction of another server: its events are staged, its ephemeral data takes effect, once however often it is sent.

Source: server-server API, "Transactions".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conduit.protocol.errors import InvalidParam, LimitExceeded
from conduit.protocol.ids import ServerName
from conduit.service.actions import receive_edus, receive_invite
from conduit.service.context import Context
from conduit.service.events import staging

MAX_ID = 255
MAX_AT_A_TIME = 8
"""How many transactions of a server with more than events in them may be under way. It should send one at a time."""
RETRY_MS = 1_000


async def receive(
    ctx: Context, origin: ServerName, txn_id: str, pdus: Sequence[Any], edus: Sequence[Any]
) -> staging.Answer:
    """Return what to answer for each event. The same transaction again gets the same answer and has no effect.

    Raises `LimitExceeded` if too much of the server's is waiting or under way already, `InvalidParam` for an oversized transaction id.
    """
    if len(txn_id.encode()) > MAX_ID:
        raise InvalidParam("The transaction ID is too long")
    answer = staging.answered(ctx.db, origin, txn_id)
    if answer is not None:
        return answer
    if not edus:
        return await _take_events(ctx, origin, txn_id, pdus, is_all=True)
    if ctx.locks.transactions.users(origin) >= MAX_AT_A_TIME:
        raise LimitExceeded("Too many of your transactions are under way", retry_after_ms=RETRY_MS)
    # Else who sends many at a time would have as many turns where another has one.
    async with ctx.locks.transactions(origin):
        answer = staging.answered(ctx.db, origin, txn_id)
        if answer is not None:
            return answer
        answer = await _take_events(ctx, origin, txn_id, pdus, is_all=False)
        # Only then is it over: who gets no answer sends all of it again, and what had its effect has none twice.
        await receive_edus.receive(ctx, origin, list(edus))
        with ctx.db.batch() as batch:
            staging.remember(batch, origin, txn_id, answer)
        return answer


async def _take_events(
    ctx: Context, origin: ServerName, txn_id: str, pdus: Sequence[Any], *, is_all: bool
) -> staging.Answer:
    # Of a room that this server is not in, one thing is of interest: that an invite to it has come to nothing.
    ended = [await receive_invite.rescind(ctx, origin, pdu) for pdu in pdus]
    offers = await staging.examine(ctx, origin, pdus)
    with ctx.db.batch() as batch:
        answer = staging.take_in(ctx, batch, origin, offers)
        answer.update({event_id: {} for event_id in ended if event_id is not None})
        if is_all:
            staging.remember(batch, origin, txn_id, answer)
    return answer
