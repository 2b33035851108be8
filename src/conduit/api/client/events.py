"""The deprecated event stream. Source: client-server API, "Syncing", "Room Previews"."""

from __future__ import annotations

from conduit.api.history import recipient
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.ids import parse_room_id
from conduit.service.context import Context
from conduit.service.sync import event_stream
from conduit.service.sync.long_poll import MAX_TIMEOUT_MS

routes = Routes()


@routes.get("/_matrix/client/v3/events", auth=Auth.USER, limit=Limit.READ, allow_guests=True, long_poll=True)
async def get_events(ctx: Context, req: Request) -> Json:
    """Wait for events. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events>."""
    query = req.query
    room = query.text("room_id")
    # The limit is no parameter of the specification's; clients of the time sent it.
    limit = query.number("limit", event_stream.MAX_EVENTS, high=event_stream.MAX_EVENTS)
    return await event_stream.events(
        ctx,
        recipient(ctx, req),
        query.text("from") or None,
        timeout_ms=query.number("timeout", 0, high=MAX_TIMEOUT_MS),
        limit=max(1, limit),
        room_id=None if room is None else parse_room_id(room),
    )
