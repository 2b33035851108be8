"""What relates to an event. Source: client-server API, "Relationships API"."""

from __future__ import annotations

from typing import Final

from conduit.api.history import direction, event_of, open_room
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import Forbidden, NotFound
from conduit.service.browse import related
from conduit.service.context import Context

routes = Routes()

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 500
_PATH: Final = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}"
_UNSTABLE: Final = "/_matrix/client/unstable/rooms/{roomId}/relations/{eventId}"
"""From before relations were specified; clients still call it."""


@routes.get(
    _PATH,
    _PATH + "/{relType}",
    _PATH + "/{relType}/{eventType}",
    _UNSTABLE,
    _UNSTABLE + "/{relType}",
    _UNSTABLE + "/{relType}/{eventType}",
    auth=Auth.USER,
    limit=Limit.READ,
)
async def get_relations(ctx: Context, req: Request) -> Json:
    """Show the events that relate to one. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid>."""
    event_id = event_of(req)
    query = req.query
    backwards = direction(query.text("dir", "b")) == "b"
    limit = query.number("limit", DEFAULT_LIMIT, high=MAX_LIMIT)
    try:
        reader = open_room(ctx, req)
    except Forbidden as error:
        raise NotFound("There is no such event, or you may not see it") from error
    return related.children(
        reader,
        event_id,
        rel_type=req.params.get("relType") or None,
        event_type=req.params.get("eventType") or None,
        start=query.text("from") or None,
        stop=query.text("to") or None,
        limit=max(limit, 1),
        backwards=backwards,
        recurse=query.flag("recurse"),
    )
