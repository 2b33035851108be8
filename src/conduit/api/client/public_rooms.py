"""The published room directory. Source: client-server API, "Published room directory"."""

from __future__ import annotations

from conduit.api import fields, room_list
from conduit.api.request import Json, Request
from conduit.api.suspension import require_unsuspended
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import Forbidden, InvalidParam, MissingToken, NotFound
from conduit.protocol.ids import parse_opaque, parse_room_id, parse_server_name
from conduit.service.actions.publish_room import publish_on_network, publish_room
from conduit.service.browse import remote_rooms
from conduit.service.browse.public_rooms import Query, search
from conduit.service.context import Context
from conduit.service.rooms import directory, state

routes = Routes()

_VISIBILITIES = {"public": True, "private": False}


@routes.get("/_matrix/client/v3/publicRooms", auth=Auth.OPTIONAL, limit=Limit.SEARCH)
async def get_public_rooms(ctx: Context, req: Request) -> Json:
    """List the published rooms. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms>."""
    return await _search(ctx, req, room_list.from_url(req))


@routes.post("/_matrix/client/v3/publicRooms", auth=Auth.USER, limit=Limit.SEARCH)
async def post_public_rooms(ctx: Context, req: Request) -> Json:
    """Search the published rooms. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms>."""
    return await _search(ctx, req, room_list.from_body(req.json(optional=True)))


async def _search(ctx: Context, req: Request, query: Query) -> Json:
    name = req.query.text("server")
    server = parse_server_name(name) if name else ctx.server_name
    if server == ctx.server_name:
        return await search(ctx.db, query)
    if not ctx.outbound.policy.enabled:
        raise Forbidden("Directories of other servers cannot be asked: this server does not federate")
    if req.requester is None:
        raise MissingToken("Only users of this server may search the directories of others")
    return await remote_rooms.search(ctx, server, query)


@routes.get("/_matrix/client/v3/directory/list/room/{roomId}", auth=Auth.NONE, limit=Limit.READ)
async def get_visibility(ctx: Context, req: Request) -> Json:
    """Tell whether a room is published. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directorylistroomroomid>."""
    room_id = parse_room_id(req.params["roomId"])
    if not state.exists(ctx.db, room_id):
        raise NotFound("Room not found")
    return {"visibility": "public" if directory.is_public(ctx.db, room_id) else "private"}


@routes.put("/_matrix/client/v3/directory/list/room/{roomId}", auth=Auth.USER, limit=Limit.MESSAGE)
async def put_visibility(ctx: Context, req: Request) -> Json:
    """Publish a room, or take it out. <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid>."""
    require_unsuspended(req)
    public = _visibility(fields.text(req.json(optional=True), "visibility", "public"))
    publish_room(ctx, req.user_id, parse_room_id(req.params["roomId"]), public=public)
    return {}


@routes.put("/_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}", auth=Auth.APPSERVICE)
async def put_network_visibility(ctx: Context, req: Request) -> Json:
    """Publish a room on a network. <https://spec.matrix.org/v1.19/application-service-api/#put_matrixclientv3directorylistappservicenetworkidroomid>."""
    public = _visibility(fields.text(req.json(), "visibility"))
    network, room_id = parse_opaque(req.params["networkId"], "networkId"), parse_room_id(req.params["roomId"])
    assert req.requester is not None
    assert req.requester.appservice_id is not None
    publish_on_network(ctx, req.requester.appservice_id, network, room_id, public=public)
    return {}


def _visibility(value: str) -> bool:
    if value not in _VISIBILITIES:
        raise InvalidParam("'visibility' must be 'public' or 'private'")
    return _VISIBILITIES[value]
