"""The deprecated event stream. Source: client-server API, "Syncing", "Room Previews"."""

from __future__ import annotations

from conduit.api.history import recipient
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.ids import parse_room_id
from conduit.service.context import Context
from conduit.service.sync import initial_sync
from conduit.service.sync.long_poll import MAX_TIMEOUT_MS

routes = Routes()


@routes.get("/_matrix/client/v3/events", auth=Auth.USER, limit=Limit.READ, allow_guests=True, long_poll=True)
async def get_events(ctx: Context, req: Request) -> Json:
    """Wait for events. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events>."""
    query = req.query
    room = query.text("room_id")
    timeout_ms = query.number("timeout", 0, high=MAX_TIMEOUT_MS)
    room_id = None if room is None else parse_room_id(room)
    return await initial_sync.events(ctx, recipient(ctx, req), query.text("from") or None, timeout_ms, room_id)
