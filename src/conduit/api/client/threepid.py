"""Mail addresses and phone numbers: none can be bound to an account here, and the answers say so.

Source: client-server API, "Adding Account Administrative Contact Information".
"""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import ThreepidDenied
from conduit.service.context import Context

routes = Routes()

_ACCOUNT = "/_matrix/client/v3/account"


@routes.get(f"{_ACCOUNT}/3pid", auth=Auth.USER, limit=Limit.READ)
async def get_all(ctx: Context, req: Request) -> Json:
    """List the caller's third-party identifiers: there are none. GET /account/3pid."""
    return {"threepids": []}


@routes.post(f"{_ACCOUNT}/3pid", f"{_ACCOUNT}/3pid/add", f"{_ACCOUNT}/3pid/bind", auth=Auth.USER)
async def add(ctx: Context, req: Request) -> Json:
    """Refuse to add or bind an identifier. POST /account/3pid, /account/3pid/add, /account/3pid/bind."""
    raise ThreepidDenied("This server takes no mail addresses or phone numbers")


@routes.post(f"{_ACCOUNT}/3pid/delete", f"{_ACCOUNT}/3pid/unbind", auth=Auth.USER)
async def remove(ctx: Context, req: Request) -> Json:
    """Say that the identifier is not bound anywhere that this server knows. POST /account/3pid/delete, /account/3pid/unbind."""
    body = req.json()
    fields.text(body, "medium")
    fields.text(body, "address")
    return {"id_server_unbind_result": "no-support"}


@routes.post(
    f"{_ACCOUNT}/3pid/email/requestToken",
    f"{_ACCOUNT}/3pid/msisdn/requestToken",
    f"{_ACCOUNT}/password/email/requestToken",
    f"{_ACCOUNT}/password/msisdn/requestToken",
    "/_matrix/client/v3/register/email/requestToken",
    "/_matrix/client/v3/register/msisdn/requestToken",
    auth=Auth.NONE,
    limit=Limit.LOGIN,
)
async def request_token(ctx: Context, req: Request) -> Json:
    """Refuse to send a validation token. POST .../email/requestToken, .../msisdn/requestToken."""
    raise ThreepidDenied("This server sends no mail and no text messages")
