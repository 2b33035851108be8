"""Whose token this is. Source: client-server API, "Current account information"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Routes
from conduit.service.context import Context

routes = Routes()


@routes.get("/_matrix/client/v3/account/whoami", auth=Auth.USER, allow_guests=True)
async def whoami(ctx: Context, req: Request) -> Json:
    """Tell the caller who they are. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami>."""
    assert req.requester is not None
    answer: Json = {"user_id": req.user_id, "is_guest": req.requester.is_guest}
    if req.device_id:
        answer["device_id"] = req.device_id
    return answer
