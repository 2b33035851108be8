"""The rooms of a space. Source: client-server API, "Discovering rooms within spaces"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.ids import parse_room_id
from conduit.service.browse import spaces
from conduit.service.context import Context

routes = Routes()


@routes.get("/_matrix/client/v1/rooms/{roomId}/hierarchy", auth=Auth.USER, limit=Limit.READ)
async def get_hierarchy(ctx: Context, req: Request) -> Json:
    """Show a part of a space's tree. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy>."""
    query = req.query
    walk = spaces.Walk(
        suggested_only=query.flag("suggested_only"),
        max_depth=query.number("max_depth", high=999_999_999),
        limit=query.number("limit", spaces.DEFAULT_LIMIT, low=1, high=spaces.MAX_LIMIT),
    )
    return await spaces.hierarchy(ctx, req.user_id, parse_room_id(req.params["roomId"]), walk, query.text("from"))
