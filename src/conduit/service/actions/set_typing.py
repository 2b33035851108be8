"""Typing notices. Source: client-server API, "Typing Notifications"."""

from __future__ import annotations

from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import RoomId, UserId
from conduit.service.context import Context
from conduit.service.rooms import members


async def set_typing(ctx: Context, user_id: UserId, room_id: RoomId, *, typing: bool, timeout_ms: int) -> None:
    """Start or stop the user's notice in a room; raises `Forbidden` outside of it."""
    if not members.is_joined(ctx.db, room_id, user_id):
        raise Forbidden("You are not in this room")
    if typing:
        ctx.typing.start(room_id, user_id, timeout_ms)
        ctx.presence.active(user_id)
    else:
        ctx.typing.stop(room_id, user_id)
