"""OpenID tokens: proof towards a third party of who one is. Source: client-server API, "OpenID"; server-server API, "OpenID"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import Forbidden, MissingToken, UnknownToken
from conduit.protocol.ids import parse_user_id
from conduit.service.actions import log_in
from conduit.service.context import Context
from conduit.service.users import short_lived

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


@routes.get("/_matrix/federation/v1/openid/userinfo", auth=Auth.NONE, limit=Limit.READ)
async def user_info(ctx: Context, req: Request) -> Json:
    """Tell a third party whose OpenID token it holds. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo>."""
    token = req.query.text("access_token")
    if not token:
        raise MissingToken("Missing access token")
    user_id = short_lived.openid_user(ctx.db, token, ctx.clock.now_ms())
    if user_id is None:
        raise UnknownToken("Access token unknown or expired")
    return {"sub": user_id}
