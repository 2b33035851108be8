"""Sending an event of a local user into a room: the one way in which clients change rooms."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from conduit.database.database import Batch
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.service.context import Context
from conduit.service.events import policy
from conduit.service.events.room_view import RoomView
from conduit.service.rooms import state

Extra = Callable[[Batch, Event], None] | None

TRIES = 4
"""How often an event is built anew because the room has moved on while its policy server was asked. The last time the room waits for the answer."""


async def send(
    ctx: Context,
    room_id: RoomId,
    sender: UserId,
    event_type: str,
    content: dict[str, Any],
    *,
    state_key: str | None = None,
    redacts: EventId | None = None,
    origin_server_ts: int | None = None,
    transaction: tuple[str, str] | None = None,
    extra: Extra = None,
    check_membership: bool = True,
) -> Event:
    """Build, authorise and accept an event in one batch, and return it.

    A state event that would only repeat the current one of the same sender is not sent: that one is returned. `transaction` is the (device, transaction id) under
    which the sending device will know the event again. `extra` writes what belongs to the deed into the same batch; it is called with the event, new or
    repeated, and what it raises undoes all. Without `check_membership` the auth rules alone decide whether the sender must be in the room.
    If the room has a policy server, that must sign the event first.

    Raises `Forbidden` for what the rules refuse and for an unknown room, `BadJson`, `InvalidParam` or `TooLarge` for bad content, `NotFound` or `BadRequest`
    for a redaction's target, `DuplicateAnnotation` for a repeated reaction, and what a policy server refuses with. `content` is kept by reference: do not change
    it afterwards.
    """

    def prepare(batch: Batch) -> tuple[RoomView, Event, bool]:
        if not state.exists(batch, room_id):
            raise Forbidden("You are not in this room")
        view = RoomView.open(ctx, batch, room_id)
        event, is_new = view.prepare(
            sender,
            event_type,
            content,
            state_key=state_key,
            redacts=redacts,
            origin_server_ts=origin_server_ts,
            check_membership=check_membership,
        )
        return view, event, is_new

    if policy.of_room(ctx.db, room_id) is not None and not policy.is_exempt(event_type, state_key):
        return await _send_approved(ctx, room_id, prepare, transaction, extra)
    async with ctx.locks.room(room_id):
        with ctx.db.batch() as batch:
            view, event, is_new = prepare(batch)
            if is_new:
                view.take(event, transaction=transaction)
            if extra is not None:
                extra(batch, event)
    return event


async def _send_approved(
    ctx: Context,
    room_id: RoomId,
    prepare: Callable[[Batch], tuple[RoomView, Event, bool]],
    transaction: tuple[str, str] | None,
    extra: Extra,
) -> Event:
    """Send an event with the signature of the room's policy server, which is asked while others may send."""
    for attempt in range(TRIES):
        async with AsyncExitStack() as lock:
            await lock.enter_async_context(ctx.locks.room(room_id))
            with ctx.db.batch() as batch:
                _, event, is_new = prepare(batch)
                if not is_new:
                    if extra is not None:
                        extra(batch, event)
                    return event
            if attempt < TRIES - 1:
                await lock.aclose()
            asked = policy.of_room(ctx.db, room_id)
            if asked is not None:
                event = await policy.ask(ctx, asked, event)
            if attempt < TRIES - 1:
                await lock.enter_async_context(ctx.locks.room(room_id))
            with ctx.db.batch() as batch:
                view = RoomView.open(ctx, batch, room_id)
                if not view.is_next(event):
                    continue
                view.take(event, transaction=transaction)
                if extra is not None:
                    extra(batch, event)
            return event
    raise AssertionError("the last time nothing could come between")
