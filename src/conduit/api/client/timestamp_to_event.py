"""The event closest to a time. Source: client-server API, "Getting events for a room"."""

from __future__ import annotations

from conduit.api.history import direction, open_room
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import MissingParam
from conduit.service.browse import by_time_elsewhere
from conduit.service.context import Context

routes = Routes()


@routes.get("/_matrix/client/v1/rooms/{roomId}/timestamp_to_event", auth=Auth.USER, limit=Limit.READ)
async def get_event_by_time(ctx: Context, req: Request) -> Json:
    """Find the event closest to a time. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>."""
    ts = req.query.number("ts")
    if ts is None:
        raise MissingParam("Missing query parameter 'ts'")
    backwards = direction(req.query.required("dir")) == "b"
    event = await by_time_elsewhere.closest(ctx, open_room(ctx, req), ts, backwards=backwards)
    return {"event_id": event.event_id, "origin_server_ts": event.ts}
