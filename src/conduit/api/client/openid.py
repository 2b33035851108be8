"""OpenID tokens: proof towards a third party of who one is. Source: client-server API, "OpenID"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import parse_user_id
from conduit.service.actions import log_in
from conduit.service.context import Context

routes = Routes()


@routes.post("/_matrix/client/v3/user/{userId}/openid/request_token", auth=Auth.USER, limit=Limit.CHATTY)
async def request_token(ctx: Context, req: Request) -> Json:
    """Give out an OpenID token. POST /user/{userId}/openid/request_token."""
    req.json(optional=True)
    if parse_user_id(req.params["userId"]) != req.user_id:
        raise Forbidden("You can prove your own identity only")
    return {
        "access_token": log_in.issue_openid_token(ctx, req.user_id),
        "token_type": "Bearer",
        "matrix_server_name": ctx.server_name,
        "expires_in": ctx.config.openid_token_ttl,
    }
