"""Typing notices. Source: client-server API, "Typing Notifications"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Limit, Routes
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import parse_room_id
from conduit.service.actions import set_typing as action
from conduit.service.context import Context

routes = Routes()

DEFAULT_TIMEOUT_MS = 30_000


@routes.put("/_matrix/client/v3/rooms/{roomId}/typing/{userId}", limit=Limit.CHATTY)
async def set_typing(ctx: Context, req: Request) -> Json:
    """Start or stop the caller's typing notice. PUT /rooms/{roomId}/typing/{userId}."""
    if req.params["userId"] != req.user_id:
        raise Forbidden("You cannot type for others")
    body = req.json()
    await action.set_typing(
        ctx,
        req.user_id,
        parse_room_id(req.params["roomId"]),
        typing=fields.flag(body, "typing"),
        timeout_ms=fields.number(body, "timeout", DEFAULT_TIMEOUT_MS),
    )
    return {}
