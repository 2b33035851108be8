"""Presence. Source: client-server API, "Presence"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Limit, Routes
from conduit.protocol.errors import BadJson, Forbidden, InvalidParam
from conduit.protocol.ids import parse_user_id
from conduit.service.context import Context
from conduit.service.presence import STATES
from conduit.service.rooms import members

routes = Routes()

MAX_STATUS_LENGTH = 1024


@routes.put("/_matrix/client/v3/presence/{userId}/status", limit=Limit.CHATTY)
async def set_presence(ctx: Context, req: Request) -> Json:
    """Set the caller's presence. PUT /presence/{userId}/status."""
    if parse_user_id(req.params["userId"]) != req.user_id:
        raise Forbidden("You cannot set the presence of others")
    body = req.json()
    presence = fields.text(body, "presence")
    if presence not in STATES:
        raise BadJson("'presence' must be online, offline or unavailable")
    status_msg = fields.text(body, "status_msg", None)
    if status_msg is not None and len(status_msg) > MAX_STATUS_LENGTH:
        raise InvalidParam("'status_msg' is too long")
    ctx.presence.set(req.user_id, presence, status_msg)
    return {}


@routes.get("/_matrix/client/v3/presence/{userId}/status")
async def get_presence(ctx: Context, req: Request) -> Json:
    """Return the presence of a user who shares a room with the caller. GET /presence/{userId}/status."""
    user_id = parse_user_id(req.params["userId"])
    if user_id != req.user_id and not members.share_room(ctx.db, req.user_id, user_id):
        # Whether there is such a user is nothing that strangers are told.
        raise Forbidden("You share no room with this user")
    return ctx.presence.get(user_id) or {"presence": "offline"}
