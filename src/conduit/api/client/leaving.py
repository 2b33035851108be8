"""Leaving and forgetting rooms. Source: client-server API, "Leaving rooms"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.ids import parse_room_id
from conduit.service.actions.leave import forget, leave
from conduit.service.context import Context

routes = Routes()


@routes.post("/_matrix/client/v3/rooms/{roomId}/leave", auth=Auth.USER, limit=Limit.MESSAGE, allow_guests=True)
async def post_leave(ctx: Context, req: Request) -> Json:
    """Leave a room, reject an invite, take back a knock. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave>."""
    reason = fields.text(req.json(optional=True), "reason", None)
    await leave(ctx, req.user_id, parse_room_id(req.params["roomId"]), reason=reason)
    return {}


@routes.post("/_matrix/client/v3/rooms/{roomId}/forget", auth=Auth.USER, limit=Limit.MESSAGE)
async def post_forget(ctx: Context, req: Request) -> Json:
    """Forget a room that was left. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget>."""
    forget(ctx, req.user_id, parse_room_id(req.params["roomId"]))
    return {}
