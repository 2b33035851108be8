"""Mail addresses and phone numbers: identity servers bind them to users; the account itself has none, as this server sends no mail, and the answers say so.

Source: client-server API, "Adding Account Administrative Contact Information".
"""

from __future__ import annotations

from conduit.api import fields, third_party
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import ThreepidDenied, ThreepidMediumNotSupported
from conduit.service.actions import bind_threepid as action
from conduit.service.context import Context
from conduit.service.outbound.identity_server import IdentityServer

routes = Routes()

_ACCOUNT = "/_matrix/client/v3/account"
# Where clients look for these if they take the server for an old one.
_UNSTABLE = "/_matrix/client/unstable/account"


@routes.get(f"{_ACCOUNT}/3pid", auth=Auth.USER, limit=Limit.READ)
async def get_all(ctx: Context, req: Request) -> Json:
    """List the caller's third-party identifiers: there are none. GET /account/3pid."""
    return {"threepids": []}


@routes.post(f"{_ACCOUNT}/3pid/add", auth=Auth.USER)
async def add(ctx: Context, req: Request) -> Json:
    """Refuse to add an identifier, as none was ever validated here. POST /account/3pid/add."""
    raise ThreepidDenied("This server takes no mail addresses or phone numbers")


@routes.post(f"{_ACCOUNT}/3pid/bind", f"{_UNSTABLE}/3pid/bind", auth=Auth.USER, limit=Limit.INVITE)
async def bind(ctx: Context, req: Request) -> Json:
    """Have an identity server bind an identifier to the caller. POST /account/3pid/bind."""
    return await _bind(ctx, req, req.json())


@routes.post(f"{_ACCOUNT}/3pid", auth=Auth.USER, limit=Limit.INVITE)
async def bind_by_old_form(ctx: Context, req: Request) -> Json:
    """Have an identity server bind an identifier to the caller. POST /account/3pid, deprecated."""
    return await _bind(ctx, req, fields.obj(req.json(), "three_pid_creds"))


async def _bind(ctx: Context, req: Request, body: Json) -> Json:
    server = IdentityServer(ctx.outbound.http, third_party.id_server_of(body), fields.text(body, "id_access_token"))
    sid, client_secret = fields.text(body, "sid"), fields.text(body, "client_secret")
    await action.bind(ctx, req.user_id, server, sid=sid, client_secret=client_secret)
    return {}


@routes.post(
    f"{_ACCOUNT}/3pid/delete",
    f"{_ACCOUNT}/3pid/unbind",
    f"{_UNSTABLE}/3pid/delete",
    f"{_UNSTABLE}/3pid/unbind",
    auth=Auth.USER,
    limit=Limit.INVITE,
)
async def unbind(ctx: Context, req: Request) -> Json:
    """Have an identifier of the caller unbound. POST /account/3pid/delete, /account/3pid/unbind: as the account has none, these are the same."""
    body = req.json()
    threepid = third_party.read_threepid(body)
    id_server = third_party.id_server_of(body) if body.get("id_server") is not None else None
    done = await action.unbind(ctx, req.user_id, threepid, id_server)
    return {"id_server_unbind_result": "success" if done else "no-support"}


@routes.post(
    f"{_ACCOUNT}/3pid/email/requestToken",
    f"{_ACCOUNT}/3pid/msisdn/requestToken",
    auth=Auth.NONE,
    limit=Limit.LOGIN,
)
async def request_token_to_add(ctx: Context, req: Request) -> Json:
    """Refuse to validate an identifier that is to be added. POST /account/3pid/email/requestToken, .../msisdn/requestToken."""
    raise ThreepidMediumNotSupported("This server sends no mail and no text messages")


@routes.post(
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
