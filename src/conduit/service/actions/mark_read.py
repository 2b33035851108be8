"""Say how far one has read: receipts and read markers.

Source: client-server API, "Receipts" and "Fully read markers".
"""

from __future__ import annotations

from conduit.protocol.errors import Forbidden, InvalidParam, NotFound
from conduit.protocol.ids import EventId, RoomId, UserId, parse_event_id
from conduit.protocol.pdu import Event
from conduit.service import account_data
from conduit.service.context import Context
from conduit.service.push import counting
from conduit.service.rooms import members, receipts, threads, timeline

FULLY_READ = "m.fully_read"
KINDS = (receipts.READ, receipts.PRIVATE)


def check_thread(ctx: Context, event: Event, thread: str) -> None:
    """Raise `InvalidParam` if the event does not belong to the thread: `main`, or the event id of a root."""
    if not thread:
        raise InvalidParam("thread_id field must be a non-empty string")
    root = threads.root_of(ctx.db, event)
    # A root is part of both: of its thread and of the main timeline.
    belongs = root is None if thread == receipts.MAIN else thread == (root or event.event_id)
    if not belongs:
        raise InvalidParam("event_id is not related to the given thread_id")


def _known_event(ctx: Context, room_id: RoomId, event_id: str) -> tuple[Event, int]:
    event = timeline.event(ctx.db, parse_event_id(event_id))
    position = None if event is None else timeline.position(ctx.db, event.event_id)
    if event is None or event.room_id != room_id or position is None:
        raise NotFound("The event is not in this room's timeline")
    return event, position.live


def _check_joined(ctx: Context, room_id: RoomId, user_id: UserId) -> None:
    if not members.is_joined(ctx.db, room_id, user_id):
        raise Forbidden("You are not in this room")


async def send_receipts(
    ctx: Context, user_id: UserId, room_id: RoomId, marks: dict[str, str], *, thread: str | None = None
) -> None:
    """Move receipts and the fully-read marker: kind (`m.read`, `m.read.private`, `m.fully_read`) -> event id, all in one batch.

    `thread` belongs to the receipts; `None` means the whole room. Raises `Forbidden`, `NotFound`, `InvalidParam`; then nothing has moved.
    """
    _check_joined(ctx, room_id, user_id)
    known = {kind: _known_event(ctx, room_id, event_id) for kind, event_id in marks.items()}
    if thread is not None:
        if FULLY_READ in known:
            raise InvalidParam("m.fully_read has no threads")
        for event, _ in known.values():
            check_thread(ctx, event, thread)
    now = ctx.clock.now_ms()
    with ctx.db.batch() as batch:
        for kind, (event, at) in known.items():
            if kind == FULLY_READ:
                account_data.put(batch, user_id, room_id, FULLY_READ, {"event_id": event.event_id})
            elif receipts.put(batch, room_id, user_id, kind, event.event_id, at, thread or receipts.UNTHREADED, now):
                root = None if thread in (None, receipts.MAIN) else EventId(str(thread))
                counting.forget_read(batch, room_id, user_id, root, at)
    ctx.presence.active(user_id)
