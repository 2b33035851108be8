"""Guests leave a room that guests may no longer be in, whoever has decided so: each server sees to its own.

Source: client-server API, "Guest Access".
"""

from __future__ import annotations

import structlog

from conduit.protocol.errors import MatrixError
from conduit.protocol.ids import RoomId
from conduit.service.actions.leave import leave
from conduit.service.context import Context
from conduit.service.events.accept import GUEST_ACCESS
from conduit.service.rooms import members, state
from conduit.service.users import accounts

log = structlog.get_logger(__name__)


async def expel_guests(ctx: Context, room_id: RoomId) -> None:
    """Let the local guests of a room leave it, unless guests may be there."""
    access = state.current(ctx.db, room_id, "m.room.guest_access")
    if access is not None and access.content.get("guest_access") == "can_join":
        return
    for user_id in members.joined_local(ctx.db, room_id, ctx.server_name):
        if not accounts.is_guest(ctx.db, user_id):
            continue
        try:
            await leave(ctx, user_id, room_id)
        except MatrixError as error:
            log.warning("guest_not_expelled", room_id=room_id, user_id=user_id, reason=error.error)


async def run(ctx: Context) -> None:
    """See to the rooms of guests when their guest access changes, and to all at the start. Runs until cancelled."""
    with ctx.db.watch.subscribe(GUEST_ACCESS) as news:
        guests = [user_id for user_id in accounts.with_flag(ctx.db, "kind") if accounts.is_guest(ctx.db, user_id)]
        for room_id in {room_id for user_id in guests for room_id in members.rooms(ctx.db, user_id)}:
            await expel_guests(ctx, room_id)
        while True:
            for _, room_id in await news.take():
                await expel_guests(ctx, room_id)
