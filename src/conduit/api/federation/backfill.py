"""History. Source: server-server API, "Backfilling and retrieving missing events"."""

from __future__ import annotations

import orjson

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Routes
from conduit.protocol.errors import InvalidParam, MissingParam
from conduit.protocol.ids import EventId, parse_event_id, parse_room_id
from conduit.service.browse import for_servers
from conduit.service.context import Context

routes = Routes()

DEFAULT_MISSING = 10
MAX_NAMED = 100
"""How many events a request may name."""


@routes.get("/_matrix/federation/v1/backfill/{roomId}", auth=Auth.SERVER)
async def get_backfill(ctx: Context, req: Request) -> Json:
    """Give events and those before them. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid>."""
    named = req.query.all("v")
    limit = req.query.number("limit", high=for_servers.MAX_BACKFILL)
    if not named or limit is None:
        raise MissingParam("Missing query parameter 'v' or 'limit'")
    event_ids = _event_ids(named)
    room = for_servers.open_room(ctx, req.origin, parse_room_id(req.params["roomId"]))
    return {
        "origin": ctx.server_name,
        "origin_server_ts": ctx.clock.now_ms(),
        "pdus": [orjson.Fragment(event) for event in for_servers.backfill(room, event_ids, limit)],
    }


@routes.post("/_matrix/federation/v1/get_missing_events/{roomId}", auth=Auth.SERVER)
async def get_missing_events(ctx: Context, req: Request) -> Json:
    """Give the events between some and others. <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid>."""
    room_id = parse_room_id(req.params["roomId"])
    body = req.json()
    latest = _event_ids(fields.array(body, "latest_events", [], of=str))
    earliest = _event_ids(fields.array(body, "earliest_events", [], of=str))
    limit = fields.number(body, "limit", DEFAULT_MISSING)
    min_depth = fields.number(body, "min_depth", 0, low=-(2**53) + 1)
    room = for_servers.open_room(ctx, req.origin, room_id, at=latest)
    found = for_servers.missing_events(room, latest, earliest, limit, min_depth)
    return {"events": [orjson.Fragment(event) for event in found]}


def _event_ids(texts: list[str]) -> list[EventId]:
    if len(texts) > MAX_NAMED:
        raise InvalidParam(f"At most {MAX_NAMED} events can be named")
    return [parse_event_id(text) for text in texts]
