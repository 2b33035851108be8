"""Invite somebody to a room. Source: client-server API, "Room membership" and "Invite permission"."""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.service import events
from conduit.service.actions import membership
from conduit.service.context import Context
from conduit.service.rooms import members


async def invite(
    ctx: Context,
    sender: UserId,
    room_id: RoomId,
    target: UserId,
    *,
    reason: str | None = None,
    extra: dict[str, Any] | None = None,
) -> EventId:
    """Invite `target` and return the id of the member event; the same invite once more changes nothing.

    Raises `Forbidden` for what the room's rules refuse and for users of other servers, `InviteBlocked` for those who want none.
    """
    if not members.is_joined(ctx.db, room_id, sender):
        raise Forbidden("You are not in this room")
    membership.require_invitable(ctx, target)
    content = membership.content_of(ctx.db, target, "invite", reason=reason, extra=extra)
    event = await events.send(ctx, room_id, sender, "m.room.member", content, state_key=target)
    return event.event_id
