"""Room aliases. Source: client-server API, "Room aliases"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.suspension import require_unsuspended
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import parse_room_alias, parse_room_id
from conduit.service.actions.aliases import look_up, make_alias, remove_alias
from conduit.service.context import Context
from conduit.service.rooms import aliases, members, visibility
from conduit.service.users import accounts

routes = Routes()


@routes.get("/_matrix/client/v3/directory/room/{roomAlias}", auth=Auth.NONE, limit=Limit.READ)
async def get_alias(ctx: Context, req: Request) -> Json:
    """Resolve an alias. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directoryroomroomalias>."""
    place = await look_up(ctx, parse_room_alias(req.params["roomAlias"]))
    return {"room_id": place.room_id, "servers": place.servers}


@routes.put("/_matrix/client/v3/directory/room/{roomAlias}", auth=Auth.USER, limit=Limit.CREATE_ROOM)
async def put_alias(ctx: Context, req: Request) -> Json:
    """Make an alias. <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias>."""
    require_unsuspended(req)
    room_id = parse_room_id(fields.text(req.json(), "room_id"))
    make_alias(ctx, req.user_id, parse_room_alias(req.params["roomAlias"]), room_id)
    return {}


@routes.delete("/_matrix/client/v3/directory/room/{roomAlias}", auth=Auth.USER, limit=Limit.MESSAGE)
async def delete_alias(ctx: Context, req: Request) -> Json:
    """Remove an alias. <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3directoryroomroomalias>."""
    require_unsuspended(req)
    await remove_alias(ctx, req.user_id, parse_room_alias(req.params["roomAlias"]))
    return {}


@routes.get("/_matrix/client/v3/rooms/{roomId}/aliases", auth=Auth.USER, limit=Limit.READ)
async def get_aliases(ctx: Context, req: Request) -> Json:
    """List a room's local aliases. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases>."""
    room_id = parse_room_id(req.params["roomId"])
    may_list = members.is_joined(ctx.db, room_id, req.user_id) or visibility.is_world_readable(ctx.db, room_id)
    if not may_list and not accounts.is_admin(ctx.db, req.user_id):
        raise Forbidden("You are not in this room")
    return {"aliases": aliases.of_room(ctx.db, room_id)}
