"""Redact an event. Source: client-server API, "Redactions"."""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import UserSuspended
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.service.actions import once
from conduit.service.actions.once import Transaction
from conduit.service.context import Context
from conduit.service.rooms import timeline


async def redact(
    ctx: Context,
    sender: UserId,
    room_id: RoomId,
    target: EventId,
    *,
    reason: str | None = None,
    transaction: Transaction | None = None,
    own_only: bool = False,
) -> EventId:
    """Redact the event `target` and return the id of the redaction; the same transaction does it once only.

    Raises `Forbidden` without the power, `NotFound` for an unknown event, `BadRequest` for one of another room, and with `own_only`
    `UserSuspended` for an event of somebody else.
    """
    if own_only:
        require_own(ctx, sender, target)
    content: dict[str, Any] = {} if reason is None else {"reason": reason}
    return await once.send(ctx, room_id, sender, "m.room.redaction", content, transaction=transaction, redacts=target)


def require_own(ctx: Context, user_id: UserId, target: object) -> None:
    """Raise `UserSuspended` unless the user has sent the event `target`: nothing else may suspended users redact."""
    event = timeline.event(ctx.db, EventId(target)) if isinstance(target, str) else None
    if event is None or event.sender != user_id:
        raise UserSuspended("You can redact your own events only while suspended")
