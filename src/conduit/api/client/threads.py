"""The threads of a room. Source: client-server API, "Querying threads in a room"."""

from __future__ import annotations

from typing import Final

from conduit.api.history import open_room
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import InvalidParam
from conduit.service.browse import related
from conduit.service.context import Context

routes = Routes()

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100


@routes.get("/_matrix/client/v1/rooms/{roomId}/threads", auth=Auth.USER, limit=Limit.READ)
async def get_threads(ctx: Context, req: Request) -> Json:
    """Show the roots of threads. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads>."""
    query = req.query
    include = query.text("include", "all")
    if include not in ("all", "participated"):
        raise InvalidParam("'include' must be 'all' or 'participated'")
    limit = query.number("limit", DEFAULT_LIMIT, low=1, high=MAX_LIMIT)
    start = query.text("from") or None
    return related.room_threads(open_room(ctx, req), start, limit, only_participated=include == "participated")
