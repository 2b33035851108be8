"""Login and login tokens. Source: client-server API, "Legacy API: Login"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import BadRequest
from conduit.protocol.ids import UserId
from conduit.service.actions import log_in
from conduit.service.actions.log_in import Client, Session
from conduit.service.context import Context
from conduit.service.users import identifiers, short_lived, uiaa

routes = Routes()

_PASSWORD = "m.login.password"
_TOKEN = "m.login.token"


@routes.get("/_matrix/client/v3/login", auth=Auth.NONE)
async def get_flows(ctx: Context, req: Request) -> Json:
    """Tell the ways to log in. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login>."""
    return {"flows": [{"type": _PASSWORD}, {"type": _TOKEN, "get_login_token": True}]}


@routes.post("/_matrix/client/v3/login", auth=Auth.NONE, limit=Limit.LOGIN)
async def log_in_(ctx: Context, req: Request) -> Json:
    """Open a session. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login>."""
    body = req.json()
    client = client_of(req, body)
    session = log_in.log_in(ctx, await _identify(ctx, body), client)
    answer = session_answer(session)
    if ctx.config.well_known.client:
        answer["well_known"] = {"m.homeserver": {"base_url": ctx.config.well_known_client}}
    return answer


@routes.post("/_matrix/client/v1/login/get_token", auth=Auth.USER, limit=Limit.LOGIN)
async def get_token(ctx: Context, req: Request) -> Json:
    """Give out a token for one more login. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token>."""
    await uiaa.require(ctx, req)
    token = log_in.issue_login_token(ctx, req.user_id)
    return {"login_token": token, "expires_in_ms": short_lived.LOGIN_LIFETIME_MS}


def client_of(req: Request, params: Json) -> Client:
    """Return what a login or a registration says of the client."""
    return Client(
        device_id=fields.text(params, "device_id", None) or None,
        device_name=fields.text(params, "initial_device_display_name", None),
        can_refresh=fields.flag(params, "refresh_token", False),
        ip=req.remote,
        user_agent=req.headers.get("User-Agent", ""),
    )


def session_answer(session: Session) -> Json:
    """Return what a client is told of its new session, after a login or a registration."""
    answer: Json = {
        "user_id": session.user_id,
        "access_token": session.tokens.access_token,
        "device_id": session.device_id,
    }
    if session.tokens.refresh_token is not None:
        answer["refresh_token"] = session.tokens.refresh_token
        answer["expires_in_ms"] = session.tokens.lifetime_ms
    return answer


async def _identify(ctx: Context, body: Json) -> UserId:
    kind = fields.text(body, "type")
    if kind == _TOKEN:
        return log_in.redeem_login_token(ctx, fields.text(body, "token"))
    if kind != _PASSWORD:
        raise BadRequest("Unknown login type")
    password = fields.text(body, "password")
    user_id = identifiers.resolve(ctx.db, ctx.server_name, body)
    return await log_in.check_login_password(ctx, user_id, password)
