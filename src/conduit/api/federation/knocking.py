"""Knocks of other servers' users on rooms that this server is in. Source: server-server API, "Knocking upon a room"."""

from __future__ import annotations

import orjson

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Routes
from conduit.protocol.errors import MissingParam
from conduit.protocol.ids import EventId, parse_room_id, parse_user_id
from conduit.service.actions import resident
from conduit.service.context import Context
from conduit.service.rooms import stripped_state

routes = Routes()


@routes.get("/_matrix/federation/v1/make_knock/{roomId}/{userId}", auth=Auth.SERVER)
async def make_knock(ctx: Context, req: Request) -> Json:
    """Give a template for a knock. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid>."""
    room_id, user_id = parse_room_id(req.params["roomId"]), parse_user_id(req.params["userId"])
    spoken = req.query.all("ver")
    if not spoken:
        raise MissingParam("Missing query parameter 'ver'")
    return resident.template(ctx, req.origin, room_id, user_id, "knock", spoken)


@routes.put("/_matrix/federation/v1/send_knock/{roomId}/{eventId}", auth=Auth.SERVER, holds_events=True)
async def send_knock(ctx: Context, req: Request) -> Json:
    """Take a knock into the room. <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid>."""
    room_id, event_id = parse_room_id(req.params["roomId"]), EventId(req.params["eventId"])
    await resident.accept(ctx, req.origin, room_id, event_id, req.json(), "knock")
    told = stripped_state.events_of_room(ctx.db, room_id)
    return {"knock_room_state": [orjson.Fragment(event.federation()) for event in told]}
