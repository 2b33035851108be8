"""Tell the administrators of content, a room or a user. Source: client-server API, "Reporting Content".

A report is kept under a count in the tree `report`; whoever shows them waits for the wake key `WAKE`.
"""

from __future__ import annotations

from typing import Any

from conduit.database import trees
from conduit.protocol.errors import NotFound
from conduit.protocol.ids import EventId, RoomId, UserId, server_name_of
from conduit.service.context import Context
from conduit.service.rooms import members, state, timeline
from conduit.service.users import accounts

WAKE = ("reports", "")
"""Woken when there is a new report."""

MAX_REASON = 10_000
"""Characters of a reason that are kept."""


def report_event(ctx: Context, reporter: UserId, room_id: RoomId, event_id: EventId, reason: str) -> None:
    """Report an event. Raises `NotFound` unless the reporter is in the room and the event is there."""
    event = timeline.event(ctx.db, event_id)
    if not members.is_joined(ctx.db, room_id, reporter) or event is None or event.room_id != room_id:
        raise NotFound("The event was not found or you are not joined to the room")
    _keep(ctx, reporter, reason, room_id=room_id, event_id=event_id, user_id=event.sender)


def report_room(ctx: Context, reporter: UserId, room_id: RoomId, reason: str) -> None:
    """Report a room, in it or not. Raises `NotFound` for one that this server does not know."""
    if not state.exists(ctx.db, room_id):
        raise NotFound("The room was not found")
    _keep(ctx, reporter, reason, room_id=room_id)


def report_user(ctx: Context, reporter: UserId, user_id: UserId, reason: str) -> None:
    """Report a user. Raises `NotFound` for a user of this server who does not exist."""
    if server_name_of(user_id) == ctx.server_name and not accounts.exists(ctx.db, user_id):
        raise NotFound("The user was not found")
    _keep(ctx, reporter, reason, user_id=user_id)


def _keep(ctx: Context, reporter: UserId, reason: str, **about: str) -> None:
    row: dict[str, Any] = {"reporter": reporter, "reason": reason[:MAX_REASON], "ts": ctx.clock.now_ms(), **about}
    with ctx.db.batch() as batch:
        trees.report.put(batch, batch.next_count(), row)
        batch.wake(WAKE)
