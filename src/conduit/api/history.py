"""What endpoints that read history, or name an event, have in common."""

from __future__ import annotations

from conduit.api.request import Request
from conduit.protocol.errors import InvalidParam, NotFound
from conduit.protocol.ids import EventId, is_event_id, parse_room_id
from conduit.service.browse import history
from conduit.service.context import Context
from conduit.service.rooms.client_events import Recipient
from conduit.service.rooms.reading import Reader


def recipient(ctx: Context, req: Request) -> Recipient:
    """Return the caller as the one who gets events."""
    return Recipient(req.user_id, req.device_id, ctx.clock.now_ms())


def open_room(ctx: Context, req: Request) -> Reader:
    """Return the caller's view of the room in the path. Raises `Forbidden` unless the caller is or was in it, or anybody may read it."""
    return history.open_room(ctx, recipient(ctx, req), parse_room_id(req.params["roomId"]))


def event_of(req: Request) -> EventId:
    """Return the event in the path. Raises `NotFound` for what can be none: to clients event IDs are opaque."""
    event_id = req.params["eventId"]
    if not is_event_id(event_id):
        raise NotFound("There is no such event, or you may not see it")
    return EventId(event_id)


def direction(text: str) -> str:
    """Return `b` or `f`, or raise `InvalidParam`."""
    if text not in ("b", "f"):
        raise InvalidParam("'dir' must be 'b' or 'f'")
    return text
