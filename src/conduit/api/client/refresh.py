"""New tokens for old. Source: client-server API, "Refreshing access tokens"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.service.actions import log_in
from conduit.service.context import Context

routes = Routes()


@routes.post("/_matrix/client/v3/refresh", auth=Auth.NONE, limit=Limit.LOGIN)
async def refresh(ctx: Context, req: Request) -> Json:
    """Exchange a refresh token for a new pair. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh>."""
    issued = log_in.refresh(ctx, fields.text(req.json(), "refresh_token"))
    return {
        "access_token": issued.access_token,
        "refresh_token": issued.refresh_token,
        "expires_in_ms": issued.lifetime_ms,
    }
