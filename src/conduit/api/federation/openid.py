"""Whose OpenID token a third party holds. Source: server-server API, "OpenID"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import MissingToken, UnknownToken
from conduit.service.context import Context
from conduit.service.users import short_lived

routes = Routes()


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
