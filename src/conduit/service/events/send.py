"""Sending an event of a local user into a room: the one way in which clients change rooms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conduit.database.database import Batch
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.service.context import Context
from conduit.service.events.room_view import RoomView
from conduit.service.rooms import state


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
    extra: Callable[[Batch, Event], None] | None = None,
    check_membership: bool = True,
) -> Event:
    """Build, authorise and accept an event in one batch, and return it.

    A state event that would only repeat the current one of the same sender is not sent: that one is returned. `transaction` is the (device, transaction id) under
    which the sending device will know the event again. `extra` writes what belongs to the deed into the same batch; it is called with the event, new or
    repeated, and what it raises undoes all. Without `check_membership` the auth rules alone decide whether the sender must be in the room.

    Raises `Forbidden` for what the rules refuse and for an unknown room, `BadJson`, `InvalidParam` or `TooLarge` for bad content, `NotFound` or `BadRequest`
    for a redaction's target, `DuplicateAnnotation` for a repeated reaction. `content` is kept by reference: do not change it afterwards.
    """
    async with ctx.locks.room(room_id):
        with ctx.db.batch() as batch:
            if not state.exists(batch, room_id):
                raise Forbidden("You are not in this room")
            event = RoomView.open(ctx, batch, room_id).add(
                sender,
                event_type,
                content,
                state_key=state_key,
                redacts=redacts,
                origin_server_ts=origin_server_ts,
                transaction=transaction,
                check_membership=check_membership,
            )
            if extra is not None:
                extra(batch, event)
    return event
