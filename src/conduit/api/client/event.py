"""One event. Source: client-server API, "Getting events for a room"."""

from __future__ import annotations

from conduit.api.history import event_of, open_room, recipient
from conduit.api.request import Request
from conduit.api.web import Auth, Limit, Reply, Routes
from conduit.protocol.errors import Forbidden, NotFound
from conduit.service.browse import history
from conduit.service.context import Context
from conduit.service.rooms import client_events

routes = Routes()


@routes.get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", auth=Auth.USER, limit=Limit.READ, allow_guests=True)
async def get_event(ctx: Context, req: Request) -> Reply:
    """Show an event. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid>."""
    event_id = event_of(req)
    try:
        reader = open_room(ctx, req)
    except Forbidden as error:
        # Whether there is such an event is nobody's business who may not see it.
        raise NotFound("There is no such event, or you may not see it") from error
    return Reply(reader.render_one(history.find(reader, event_id)))


@routes.get("/_matrix/client/v3/events/{eventId}", auth=Auth.USER, limit=Limit.READ)
async def get_one_event(ctx: Context, req: Request) -> Reply:
    """Show an event of any room. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3eventseventid>."""
    event = client_events.get(ctx.db, event_of(req))
    try:
        if event is None:
            raise NotFound("There is no such event, or you may not see it")
        reader = history.open_room(ctx, recipient(ctx, req), event.room_id)
    except Forbidden as error:
        raise NotFound("There is no such event, or you may not see it") from error
    return Reply(reader.render_one(history.find(reader, event.event_id)))
