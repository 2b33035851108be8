"""What stands around an event. Source: client-server API, "Event Context"."""

from __future__ import annotations

from conduit.api.history import event_of, open_room
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.service.browse import history
from conduit.service.context import Context

routes = Routes()


@routes.get("/_matrix/client/v3/rooms/{roomId}/context/{eventId}", auth=Auth.USER, limit=Limit.READ, allow_guests=True)
async def get_context(ctx: Context, req: Request) -> Json:
    """Show an event with its surroundings. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid>."""
    event_id = event_of(req)
    limit = req.query.number("limit", history.DEFAULT_LIMIT, high=history.MAX_CONTEXT)
    wanted = history.parse_filter(req.query.text("filter"))
    return await history.context(open_room(ctx, req), event_id, wanted, limit)
