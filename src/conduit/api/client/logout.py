"""Logout. Source: client-server API, "Legacy API: Login"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Routes
from conduit.service.actions import log_in
from conduit.service.context import Context

routes = Routes()


@routes.post("/_matrix/client/v3/logout", auth=Auth.USER, allow_guests=True, allow_locked=True)
async def log_out(ctx: Context, req: Request) -> Json:
    """End the caller's session and delete its device. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout>."""
    log_in.log_out(ctx, req.user_id, req.device_id)
    return {}


@routes.post("/_matrix/client/v3/logout/all", auth=Auth.USER, allow_guests=True, allow_locked=True)
async def log_out_everywhere(ctx: Context, req: Request) -> Json:
    """End all sessions of the caller. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall>."""
    log_in.log_out_everywhere(ctx, req.user_id)
    return {}
