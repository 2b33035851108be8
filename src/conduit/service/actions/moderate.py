"""Kick, ban and unban. Source: client-server API, "Leaving rooms" and "Banning users in a room"."""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import BadState, Forbidden
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.service import events
from conduit.service.actions import membership
from conduit.service.context import Context
from conduit.service.rooms import members, state

Extra = dict[str, Any] | None


async def kick(
    ctx: Context, sender: UserId, room_id: RoomId, target: UserId, *, reason: str | None = None, extra: Extra = None
) -> EventId:
    """Put `target` out of the room, or take their invite or knock away; return the id of the member event.

    Raises `Forbidden` without the power, and where `target` is not in, invited or knocking.
    """
    _require_joined(ctx, sender, room_id)
    await membership.require_known_member(ctx, room_id, target)
    if state.membership(ctx.db, room_id, target) not in ("join", "invite", "knock"):
        raise Forbidden("The user is not in this room")
    return await _set(ctx, sender, room_id, target, "leave", reason, extra)


async def ban(
    ctx: Context, sender: UserId, room_id: RoomId, target: UserId, *, reason: str | None = None, extra: Extra = None
) -> EventId:
    """Keep `target` out of the room until unbanned; return the id of the member event. Raises `Forbidden` without the power."""
    _require_joined(ctx, sender, room_id)
    await membership.require_known_member(ctx, room_id, target)
    return await _set(ctx, sender, room_id, target, "ban", reason, extra)


async def unban(
    ctx: Context, sender: UserId, room_id: RoomId, target: UserId, *, reason: str | None = None, extra: Extra = None
) -> EventId:
    """Lift a ban; return the id of the member event. Raises `Forbidden` without the power, `BadState` for who is not banned."""
    _require_joined(ctx, sender, room_id)
    await membership.require_known_member(ctx, room_id, target)
    if not is_banned(ctx, room_id, target):
        raise BadState("The user is not banned", status=403)
    return await _set(ctx, sender, room_id, target, "leave", reason, extra)


def is_banned(ctx: Context, room_id: RoomId, target: UserId) -> bool:
    """Tell whether somebody is banned from the room, which they may have forgotten for themselves."""
    return state.membership(ctx.db, room_id, target) == "ban"


def _require_joined(ctx: Context, user_id: UserId, room_id: RoomId) -> None:
    if not members.is_joined(ctx.db, room_id, user_id):
        raise Forbidden("You are not in this room")


async def _set(
    ctx: Context, sender: UserId, room_id: RoomId, target: UserId, value: str, reason: str | None, extra: Extra
) -> EventId:
    content = membership.content_of(ctx.db, target, value, reason=reason, extra=extra)
    event = await events.send(ctx, room_id, sender, "m.room.member", content, state_key=target)
    return event.event_id
