"""Syncing. Source: client-server API, "Syncing"."""

from __future__ import annotations

from functools import lru_cache

import orjson

from conduit.api.request import Json, Query, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import InvalidParam, NotJson
from conduit.protocol.filters import EVERYTHING, Filter, parse_filter
from conduit.protocol.ids import DeviceId
from conduit.service.context import Context
from conduit.service.presence import STATES
from conduit.service.rooms import cuts
from conduit.service.sync.long_poll import MAX_TIMEOUT_MS, nothing_new, sync
from conduit.service.sync.window import StateName, SyncRequest
from conduit.service.users import filters

routes = Routes()


def sync_at_once(ctx: Context, req: Request) -> Json | None:
    """Return the answer for somebody who does not wait and has missed nothing, else `None`."""
    if req.query.text("timeout", "0") != "0" or "since" not in req.query:
        return None
    return nothing_new(ctx, _parse_request(ctx, req))


@routes.get(
    "/_matrix/client/v3/sync",
    auth=Auth.USER,
    limit=Limit.READ,
    allow_guests=True,
    long_poll=True,
    at_once=sync_at_once,
)
async def get_sync(ctx: Context, req: Request) -> Json:
    """Tell what is new. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync>."""
    return await sync(ctx, _parse_request(ctx, req))


def _parse_request(ctx: Context, req: Request) -> SyncRequest:
    query = req.query
    since = query.text("since")
    set_presence = query.text("set_presence", "online")
    if set_presence not in STATES:
        raise InvalidParam(f"'set_presence' must be one of {', '.join(STATES)}")
    return SyncRequest(
        user_id=req.user_id,
        device_id=DeviceId(req.device_id),
        since=cuts.parse_sync(since) if since else None,
        filter=_filter(ctx, req, query.text("filter")),
        full_state=query.flag("full_state"),
        state_name=_state_name(req.query),
        timeout_ms=query.number("timeout", 0, high=MAX_TIMEOUT_MS),
        set_presence=set_presence,
    )


def _state_name(query: Query) -> StateName:
    # The second spelling is from before it was in the specification (MSC4222); matrix-js-sdk knows no other.
    if query.flag("use_state_after"):
        return "state_after"
    return "org.matrix.msc4222.state_after" if query.flag("org.matrix.msc4222.use_state_after") else "state"


def _filter(ctx: Context, req: Request, text: str | None) -> Filter:
    if not text:
        return EVERYTHING
    if text.startswith("{"):
        return _parse(text)
    found = filters.parsed(ctx.db, req.user_id, text)
    if found is None:
        raise InvalidParam("There is no such filter")
    return found


@lru_cache(maxsize=256)
def _parse(text: str) -> Filter:
    try:
        value = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        raise NotJson("'filter' is not valid JSON") from error
    return parse_filter(value)
