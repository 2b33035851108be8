"""Change of password. Source: client-server API, "Password management"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.service.actions.change_password import change_password
from conduit.service.context import Context
from conduit.service.users import passwords, uiaa

routes = Routes()


@routes.post("/_matrix/client/v3/account/password", auth=Auth.USER, limit=Limit.LOGIN)
async def set_password(ctx: Context, req: Request) -> Json:
    """Change the caller's password. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword>."""
    body = req.json()
    # Without a token one would have to prove oneself by mail, which this server cannot: hence `Auth.USER`.
    password = passwords.check_new(fields.text(body, "new_password"))
    end_others = fields.flag(body, "logout_devices", True)
    await uiaa.require(ctx, req)
    await change_password(ctx, req.user_id, password, keep_device=req.device_id, end_others=end_others)
    return {}
