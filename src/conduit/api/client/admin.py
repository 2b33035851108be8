"""Administration. Source: client-server API, "Server Administration"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import Forbidden, NotFound
from conduit.protocol.ids import UserId, parse_user_id
from conduit.service.actions import moderate_account
from conduit.service.actions.moderate_account import Bar
from conduit.service.context import Context
from conduit.service.users import accounts, devices

routes = Routes()

_LOCK = "/_matrix/client/v1/admin/lock/{userId}"
_SUSPEND = "/_matrix/client/v1/admin/suspend/{userId}"


@routes.get("/_matrix/client/v3/admin/whois/{userId}", auth=Auth.USER, limit=Limit.READ)
async def whois(ctx: Context, req: Request) -> Json:
    """Show when and from where a user was last active. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3adminwhoisuserid>."""
    user_id = parse_user_id(req.params["userId"])
    assert req.requester is not None
    if user_id != req.user_id and not req.requester.is_admin:
        raise Forbidden("Only administrators can ask about others")
    if not accounts.exists(ctx.db, user_id):
        raise NotFound("There is no such user here")
    return {
        "user_id": user_id,
        "devices": {
            device["device_id"]: {"sessions": [{"connections": [_connection(ctx, user_id, device)]}]}
            for device in devices.list_all(ctx.db, user_id)
        },
    }


@routes.get(_LOCK, auth=Auth.ADMIN, limit=Limit.READ)
async def is_locked(ctx: Context, req: Request) -> Json:
    """Tell whether an account is locked. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminlockuserid>."""
    return _show(ctx, req, "locked")


@routes.put(_LOCK, auth=Auth.ADMIN, limit=Limit.CHATTY)
async def lock(ctx: Context, req: Request) -> Json:
    """Lock or unlock an account. <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminlockuserid>."""
    return _set(ctx, req, "locked")


@routes.get(_SUSPEND, auth=Auth.ADMIN, limit=Limit.READ)
async def is_suspended(ctx: Context, req: Request) -> Json:
    """Tell whether an account is suspended. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminsuspenduserid>."""
    return _show(ctx, req, "suspended")


@routes.put(_SUSPEND, auth=Auth.ADMIN, limit=Limit.CHATTY)
async def suspend(ctx: Context, req: Request) -> Json:
    """Suspend an account, or lift that. <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminsuspenduserid>."""
    return _set(ctx, req, "suspended")


def _connection(ctx: Context, user_id: UserId, device: devices.Device) -> Json:
    names = {"last_seen_ip": "ip", "last_seen_ts": "last_seen"}
    connection: Json = {ours: device[name] for name, ours in names.items() if name in device}
    if agent := devices.user_agent(ctx.db, user_id, device["device_id"]):
        connection["user_agent"] = agent
    return connection


def _show(ctx: Context, req: Request, bar: Bar) -> Json:
    user_id = moderate_account.target(ctx, req.params["userId"])
    return {bar: moderate_account.is_barred(ctx, user_id, bar)}


def _set(ctx: Context, req: Request, bar: Bar) -> Json:
    value = fields.flag(req.json(), bar)
    moderate_account.set_bar(ctx, moderate_account.target(ctx, req.params["userId"]), bar, value)
    return {bar: value}
