"""Events, and the state of rooms. Source: server-server API, "Retrieving events"."""

from __future__ import annotations

import orjson

from conduit.api.federation import large_answers
from conduit.api.history import direction
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Routes, StreamReply
from conduit.protocol.errors import MissingParam
from conduit.protocol.ids import parse_event_id, parse_room_id
from conduit.service.browse import by_time, for_servers
from conduit.service.context import Context

routes = Routes()


@routes.get("/_matrix/federation/v1/event/{eventId}", auth=Auth.SERVER)
async def get_event(ctx: Context, req: Request) -> Json:
    """Give one event. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid>."""
    event = for_servers.one_event(ctx, req.origin, parse_event_id(req.params["eventId"]))
    return {
        "origin": ctx.server_name,
        "origin_server_ts": ctx.clock.now_ms(),
        "pdus": [orjson.Fragment(event)],
    }


@routes.get("/_matrix/federation/v1/state/{roomId}", auth=Auth.SERVER)
async def get_state(ctx: Context, req: Request) -> StreamReply:
    """Give the state before an event. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid>."""
    event_id = parse_event_id(req.query.required("event_id"))
    room_id = parse_room_id(req.params["roomId"])
    room = for_servers.open_room(ctx, req.origin, room_id, at=[event_id])
    large_answers.charge(ctx, req, room_id)
    shorts, chain = await for_servers.state_at(room, event_id)
    return StreamReply(for_servers.lists(room, [("pdus", shorts), ("auth_chain", chain)]), "application/json")


@routes.get("/_matrix/federation/v1/state_ids/{roomId}", auth=Auth.SERVER)
async def get_state_ids(ctx: Context, req: Request) -> StreamReply:
    """Give the ids of the state before an event. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid>."""
    event_id = parse_event_id(req.query.required("event_id"))
    room_id = parse_room_id(req.params["roomId"])
    room = for_servers.open_room(ctx, req.origin, room_id, at=[event_id])
    large_answers.charge(ctx, req, room_id)
    shorts, chain = await for_servers.state_at(room, event_id)
    named = [("pdu_ids", shorts), ("auth_chain_ids", chain)]
    return StreamReply(for_servers.lists(room, named, ids=True), "application/json")


@routes.get("/_matrix/federation/v1/timestamp_to_event/{roomId}", auth=Auth.SERVER)
async def get_event_by_time(ctx: Context, req: Request) -> Json:
    """Find the event closest to a time. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid>."""
    ts = req.query.number("ts")
    if ts is None:
        raise MissingParam("Missing query parameter 'ts'")
    backwards = direction(req.query.required("dir")) == "b"
    room = for_servers.open_room(ctx, req.origin, parse_room_id(req.params["roomId"]))
    event = by_time.closest(room, ts, backwards=backwards)
    return {"event_id": event.event_id, "origin_server_ts": event.ts}
