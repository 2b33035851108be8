"""The end of an account. Source: client-server API, "Account deactivation"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.third_party import id_server_of
from conduit.api.web import Auth, Limit, Routes
from conduit.service.actions import deactivate as act
from conduit.service.context import Context
from conduit.service.users import uiaa

routes = Routes()


@routes.post("/_matrix/client/v3/account/deactivate", auth=Auth.USER, limit=Limit.LOGIN)
async def deactivate(ctx: Context, req: Request) -> Json:
    """End the caller's account for good. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate>."""
    body = req.json(optional=True)
    erase = fields.flag(body, "erase", False)
    id_server = id_server_of(body) if body.get("id_server") is not None else None
    await uiaa.require(ctx, req)
    unbound = await act.deactivate(ctx, req.user_id, erase=erase, id_server=id_server)
    return {"id_server_unbind_result": "success" if unbound else "no-support"}
