"""Pushers. Source: client-server API, "Push Notifications"."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import orjson

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import InvalidParam
from conduit.service.context import Context
from conduit.service.push import pushers

routes = Routes()

MAX_PUSHKEY_BYTES: Final = 512
MAX_APP_ID: Final = 64
MAX_TEXT: Final = 1000
MAX_DATA_BYTES: Final = 8 * 1024

_PATH: Final = "/_matrix/push/v1/notify"


@routes.get("/_matrix/client/v3/pushers", auth=Auth.USER, limit=Limit.READ)
async def get_pushers(ctx: Context, req: Request) -> Json:
    """List the caller's pushers. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers>."""
    return {"pushers": pushers.list_all(ctx.db, req.user_id)}


@routes.post("/_matrix/client/v3/pushers/set", auth=Auth.USER, limit=Limit.CHATTY)
async def set_pusher(ctx: Context, req: Request) -> Json:
    """Add, change or remove a pusher. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset>."""
    body = req.json()
    app_id = fields.text(body, "app_id", max_length=MAX_APP_ID)
    pushkey = _pushkey(body)
    if "kind" in body and body["kind"] is None:
        with ctx.db.batch() as batch:
            pushers.remove(batch, req.user_id, app_id, pushkey)
        return {}
    pusher = _pusher(body, app_id, pushkey)
    append = fields.flag(body, "append", False)
    with ctx.db.batch() as batch:
        pushers.put(batch, req.user_id, req.device_id, pusher)
        if not append:
            pushers.remove_others(batch, req.user_id, app_id, pushkey)
    return {}


def _pushkey(body: Json) -> str:
    pushkey = fields.text(body, "pushkey")
    if not pushkey or "\0" in pushkey or len(pushkey.encode()) > MAX_PUSHKEY_BYTES:
        raise InvalidParam(f"'pushkey' must have 1 to {MAX_PUSHKEY_BYTES} bytes, without NUL")
    return pushkey


def _pusher(body: Json, app_id: str, pushkey: str) -> pushers.Pusher:
    pusher: pushers.Pusher = {
        "kind": fields.text(body, "kind"),
        "app_id": app_id,
        "pushkey": pushkey,
        "app_display_name": fields.text(body, "app_display_name", max_length=MAX_TEXT),
        "device_display_name": fields.text(body, "device_display_name", max_length=MAX_TEXT),
        "lang": fields.text(body, "lang", max_length=MAX_TEXT),
        "data": fields.obj(body, "data"),
    }
    if pusher["kind"] != "http":
        raise InvalidParam("This server has pushers of the kind 'http' only")
    if len(orjson.dumps(pusher["data"])) > MAX_DATA_BYTES:
        raise InvalidParam(f"'data' may have at most {MAX_DATA_BYTES} bytes")
    _check_url(fields.text(pusher["data"], "url"))
    tag = fields.text(body, "profile_tag", None, max_length=MAX_TEXT)
    if tag is not None:
        pusher["profile_tag"] = tag
    return pusher


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" and bool(parts.hostname) and parts.path == _PATH and parts.port != 0
    except ValueError:  # a port that is none, brackets without an address
        good = False
    if not good:
        raise InvalidParam(f"'url' must be an https URL with the path {_PATH}")
