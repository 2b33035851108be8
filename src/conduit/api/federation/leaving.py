"""Leaves of other servers' users: rejected invites, knocks taken back. Source: server-server API, "Leaving Rooms (Rejecting Invites)"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Reply, Routes
from conduit.protocol.ids import EventId, parse_room_id, parse_user_id
from conduit.service.actions import resident
from conduit.service.context import Context

routes = Routes()


@routes.get("/_matrix/federation/v1/make_leave/{roomId}/{userId}", auth=Auth.SERVER)
async def make_leave(ctx: Context, req: Request) -> Json:
    """Give a template for a leave. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid>."""
    room_id, user_id = parse_room_id(req.params["roomId"]), parse_user_id(req.params["userId"])
    return resident.template(ctx, req.origin, room_id, user_id, "leave")


@routes.put("/_matrix/federation/v2/send_leave/{roomId}/{eventId}", auth=Auth.SERVER, holds_events=True)
async def send_leave(ctx: Context, req: Request) -> Json:
    """Take a leave into the room. <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid>."""
    room_id, event_id = parse_room_id(req.params["roomId"]), EventId(req.params["eventId"])
    await resident.accept(ctx, req.origin, room_id, event_id, req.json(), "leave")
    return {}


@routes.put("/_matrix/federation/v1/send_leave/{roomId}/{eventId}", auth=Auth.SERVER, holds_events=True)
async def send_leave_v1(ctx: Context, req: Request) -> Reply:
    """Do the same for servers that know the first form of the answer only, which the specification has no longer."""
    return Reply([200, await send_leave(ctx, req)])
