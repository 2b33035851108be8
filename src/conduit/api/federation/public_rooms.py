"""The published room directory for other servers. Source: server-server API, "Published Room Directory"."""

from __future__ import annotations

from conduit.api import room_list
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.service.browse.public_rooms import search
from conduit.service.context import Context

routes = Routes()


@routes.get("/_matrix/federation/v1/publicRooms", auth=Auth.SERVER, limit=Limit.FEDERATION)
async def get_public_rooms(ctx: Context, req: Request) -> Json:
    """List the published rooms. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1publicrooms>."""
    return await search(ctx.db, room_list.from_url(req)._replace(for_servers=True))


@routes.post("/_matrix/federation/v1/publicRooms", auth=Auth.SERVER, limit=Limit.FEDERATION)
async def post_public_rooms(ctx: Context, req: Request) -> Json:
    """Search the published rooms. <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms>."""
    return await search(ctx.db, room_list.from_body(req.json(optional=True))._replace(for_servers=True))
