"""Redact an event. Source: client-server API, "Redactions"."""

from __future__ import annotations

from typing import Any

from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.service.actions import once
from conduit.service.actions.once import Transaction
from conduit.service.context import Context


async def redact(
    ctx: Context,
    sender: UserId,
    room_id: RoomId,
    target: EventId,
    *,
    reason: str | None = None,
    transaction: Transaction | None = None,
) -> EventId:
    """Redact the event `target` and return the id of the redaction; the same transaction does it once only.

    Raises `Forbidden` without the power, `NotFound` for an unknown event, `BadRequest` for one of another room.
    """
    content: dict[str, Any] = {} if reason is None else {"reason": reason}
    return await once.send(ctx, room_id, sender, "m.room.redaction", content, transaction=transaction, redacts=target)
