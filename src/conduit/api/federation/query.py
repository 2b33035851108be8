"""What other servers may look up: profiles and aliases. Source: server-server API, "Querying for information"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import InvalidParam, NotFound
from conduit.protocol.ids import parse_room_alias, parse_user_id, server_name_of
from conduit.service.actions.aliases import resolve, servers_of
from conduit.service.context import Context
from conduit.service.rooms import aliases
from conduit.service.users import accounts, profiles

routes = Routes()


@routes.get("/_matrix/federation/v1/query/profile", auth=Auth.SERVER, limit=Limit.FEDERATION)
async def query_profile(ctx: Context, req: Request) -> Json:
    """Show a local user's profile, or one field of it. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile>."""
    user_id = parse_user_id(req.query.required("user_id"))
    name = req.query.text("field")
    if server_name_of(user_id) != ctx.server_name:
        raise InvalidParam("The user belongs to another server")
    if not accounts.is_active(ctx.db, user_id):
        raise NotFound("There is no such user here")
    profile = profiles.get(ctx.db, user_id)
    return profile if name is None else {field: value for field, value in profile.items() if field == name}


@routes.get("/_matrix/federation/v1/query/directory", auth=Auth.SERVER, limit=Limit.FEDERATION)
async def query_directory(ctx: Context, req: Request) -> Json:
    """Resolve a local alias. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory>."""
    alias = parse_room_alias(req.query.required("room_alias"))
    if not aliases.is_local(alias, ctx.server_name):
        raise InvalidParam("The alias belongs to another server")
    room_id = resolve(ctx, alias)
    return {"room_id": room_id, "servers": servers_of(ctx, room_id)}
