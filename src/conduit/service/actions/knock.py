"""Ask to be let into a room. Source: client-server API, "Knocking on rooms"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conduit.protocol.ids import EventId, RoomId, ServerName, UserId
from conduit.service import events
from conduit.service.actions import membership
from conduit.service.context import Context
from conduit.service.events import remote_membership


async def knock(
    ctx: Context,
    user_id: UserId,
    room_id: RoomId,
    *,
    via: Sequence[ServerName] = (),
    reason: str | None = None,
    extra: dict[str, Any] | None = None,
) -> EventId:
    """Knock on a room and return the id of the member event; knocking again in the same words changes nothing. `via` names servers in the room.

    Raises `NotFound` for a room that nobody is known to be in, `Forbidden` where one cannot knock, or is in, invited or banned already, and what
    other servers say where they are asked.
    """
    membership.require_open(ctx, room_id)
    content = membership.content_of(ctx.db, user_id, "knock", reason=reason, extra=extra)
    if not membership.is_here(ctx, room_id):
        async with ctx.locks.entry(room_id):
            if not membership.is_here(ctx, room_id):
                servers = membership.servers_for(ctx, room_id, user_id, via)
                return (await remote_membership.knock(ctx, user_id, room_id, servers, content)).event_id
    await membership.require_known_member(ctx, room_id, user_id)
    event = await events.send(ctx, room_id, user_id, "m.room.member", content, state_key=user_id)
    return event.event_id
