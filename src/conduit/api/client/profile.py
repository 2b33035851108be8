"""Profiles. Source: client-server API, "Profiles"."""

from __future__ import annotations

from typing import Any

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import Forbidden, GuestAccessForbidden, MissingParam, NotFound, UserSuspended
from conduit.protocol.ids import UserId, parse_user_id, server_name_of
from conduit.service.actions.change_profile import change_profile
from conduit.service.browse.remote_profiles import profile_of
from conduit.service.context import Context
from conduit.service.users import accounts, profiles

routes = Routes()

_FIELD = "/_matrix/client/v3/profile/{userId}/{keyName}"


@routes.get("/_matrix/client/v3/profile/{userId}", auth=Auth.NONE, limit=Limit.READ)
async def get_profile(ctx: Context, req: Request) -> Json:
    """Show a profile. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid>."""
    return await _profile_of(ctx, req)


@routes.get(_FIELD, auth=Auth.NONE, limit=Limit.READ)
async def get_field(ctx: Context, req: Request) -> Json:
    """Show one field of a profile. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuseridkeyname>."""
    name = req.params["keyName"]
    profile = await _profile_of(ctx, req, name)
    if name not in profile:
        raise NotFound("The profile has no such field")
    return {name: profile[name]}


@routes.put(_FIELD, auth=Auth.USER, limit=Limit.MESSAGE, allow_guests=True)
async def set_field(ctx: Context, req: Request) -> Json:
    """Set one field of the caller's profile. <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname>."""
    user_id, name = _own_field(req)
    body = req.json()
    if name not in body:
        raise MissingParam(f"Missing required field '{name}'")
    value: Any = body[name]
    profiles.check_value(name, value)
    await change_profile(ctx, user_id, {name: value})
    return {}


@routes.delete(_FIELD, auth=Auth.USER, limit=Limit.MESSAGE, allow_guests=True)
async def delete_field(ctx: Context, req: Request) -> Json:
    """Remove one field of the caller's profile. <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3profileuseridkeyname>."""
    user_id, name = _own_field(req)
    await change_profile(ctx, user_id, {name: profiles.REMOVED})
    return {}


async def _profile_of(ctx: Context, req: Request, name: str | None = None) -> dict[str, Any]:
    """Return the profile; of a remote user only the field `name`, if one is wanted."""
    user_id = parse_user_id(req.params["userId"])
    if server_name_of(user_id) != ctx.server_name:
        if not ctx.outbound.policy.enabled:
            raise NotFound("There is no such user here")
        return await profile_of(ctx, user_id, name)
    if not accounts.is_active(ctx.db, user_id):
        raise NotFound("There is no such user here")
    return profiles.get(ctx.db, user_id)


def _own_field(req: Request) -> tuple[UserId, str]:
    if parse_user_id(req.params["userId"]) != req.user_id:
        raise Forbidden("You can change your own profile only")
    assert req.requester is not None
    if req.requester.suspended:
        raise UserSuspended("You cannot change your profile while suspended")
    name = req.params["keyName"]
    if req.requester.is_guest and name != profiles.DISPLAYNAME:
        raise GuestAccessForbidden("Guests can change their display name only")
    profiles.check_field_name(name)
    return req.user_id, name
