"""The summary of one room, wherever it is known.

Source: client-server API, GET /room_summary/{roomIdOrAlias}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conduit.protocol.ids import RoomId, UserId
from conduit.service.browse import remote_rooms, summaries
from conduit.service.context import Context

Json = dict[str, Any]


async def find(ctx: Context, room_id: RoomId, user_id: UserId | None, servers: Sequence[str]) -> Json | None:
    """Return the summary of a room if the user may have it, else `None`.

    Of a room in which nobody of this server is, `servers` are asked, and those that are known to be near it.
    """
    if not summaries.is_here(ctx, room_id) and servers_may_be_asked(ctx, user_id):
        told = await remote_rooms.tell(ctx, room_id, [*servers, *summaries.servers_near(ctx, room_id, user_id)])
        if told is not None:
            return dict(told.room) if summaries.may_know_told(ctx.db, told.room, user_id) else None
    return summaries.summary(ctx.db, room_id) if summaries.may_know(ctx.db, room_id, user_id) else None


def servers_may_be_asked(ctx: Context, user_id: UserId | None) -> bool:
    """Tell whether other servers are asked: not on behalf of somebody unknown."""
    return user_id is not None and ctx.outbound.policy.enabled
