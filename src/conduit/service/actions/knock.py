"""Ask to be let into a room. Source: client-server API, "Knocking on rooms"."""

from __future__ import annotations

from typing import Any

from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.service import events
from conduit.service.actions import membership
from conduit.service.context import Context


async def knock(
    ctx: Context, user_id: UserId, room_id: RoomId, *, reason: str | None = None, extra: dict[str, Any] | None = None
) -> EventId:
    """Knock on a room and return the id of the member event; knocking again in the same words changes nothing.

    Raises `NotFound` for an unknown room and `Forbidden` where one cannot knock, or is in, invited or banned already.
    """
    membership.require_reachable(ctx, room_id)
    content = membership.content_of(ctx.db, user_id, "knock", reason=reason, extra=extra)
    event = await events.send(ctx, room_id, user_id, "m.room.member", content, state_key=user_id)
    return event.event_id
