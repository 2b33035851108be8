"""The rooms of a space for other servers. Source: server-server API, "Spaces"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.ids import parse_room_id
from conduit.service.browse import spaces
from conduit.service.context import Context

routes = Routes()


@routes.get("/_matrix/federation/v1/hierarchy/{roomId}", auth=Auth.SERVER, limit=Limit.FEDERATION)
async def get_hierarchy(ctx: Context, req: Request) -> Json:
    """Show a room and the rooms named in it. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid>."""
    suggested_only = req.query.flag("suggested_only")
    return spaces.for_server(ctx, req.origin, parse_room_id(req.params["roomId"]), suggested_only=suggested_only)
