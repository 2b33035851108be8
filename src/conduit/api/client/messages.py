"""Pages of a room's history. Source: client-server API, "Getting events for a room"."""

from __future__ import annotations

from conduit.api.history import direction, open_room
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.service.browse import history
from conduit.service.context import Context

routes = Routes()


@routes.get("/_matrix/client/v3/rooms/{roomId}/messages", auth=Auth.USER, limit=Limit.READ, allow_guests=True)
async def get_messages(ctx: Context, req: Request) -> Json:
    """Show a page of history. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>."""
    query = req.query
    backwards = direction(query.required("dir")) == "b"
    wanted = history.parse_filter(query.text("filter"))
    default = history.DEFAULT_LIMIT if wanted.limit is None else wanted.limit
    limit = query.number("limit", default, high=history.MAX_LIMIT)
    return await history.messages(
        ctx,
        open_room(ctx, req),
        query.text("from") or None,
        query.text("to") or None,
        wanted,
        limit=limit,
        backwards=backwards,
    )
