"""The deprecated ways of learning what is there. Source: client-server API, "Syncing", "Room Previews"."""

from __future__ import annotations

from conduit.api.history import recipient
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.ids import parse_room_id
from conduit.service.context import Context
from conduit.service.sync import initial_sync

routes = Routes()


@routes.get("/_matrix/client/v3/initialSync", auth=Auth.USER, limit=Limit.READ)
async def get_initial_sync(ctx: Context, req: Request) -> Json:
    """Show all rooms. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync>."""
    limit = req.query.number("limit", initial_sync.DEFAULT_LIMIT, high=initial_sync.MAX_LIMIT)
    return await initial_sync.initial_sync(ctx, recipient(ctx, req), limit, archived=req.query.flag("archived"))


@routes.get("/_matrix/client/v3/rooms/{roomId}/initialSync", auth=Auth.USER, limit=Limit.READ, allow_guests=True)
async def get_room_initial_sync(ctx: Context, req: Request) -> Json:
    """Show one room. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync>."""
    limit = req.query.number("limit", initial_sync.DEFAULT_LIMIT, high=initial_sync.MAX_LIMIT)
    return await initial_sync.room_initial_sync(ctx, recipient(ctx, req), parse_room_id(req.params["roomId"]), limit)
