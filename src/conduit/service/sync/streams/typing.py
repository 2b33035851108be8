"""Typing notices in /sync. They are kept in memory: a client that comes with a token of an earlier process is told who types now, if only nobody."""

from __future__ import annotations

from typing import Any

from conduit.protocol.ids import RoomId
from conduit.service.sync.window import Window

TYPE = "m.typing"


def everything(window: Window, room_id: RoomId) -> list[dict[str, Any]]:
    """Return the `m.typing` event of a room for an initial sync, or nothing if nobody has typed there.

    That nobody types any more is said: a client that starts over may still show who did.
    """
    return [_event(window, room_id)] if window.ctx.typing.changed_since(room_id, 0) else []


def changes(window: Window, room_id: RoomId) -> list[dict[str, Any]]:
    """Return the `m.typing` event of a room if who types has changed in the interval, or nothing."""
    changed = window.was_restarted or window.ctx.typing.changed_since(room_id, window.since)
    return [_event(window, room_id)] if changed else []


def _event(window: Window, room_id: RoomId) -> dict[str, Any]:
    users = [user_id for user_id in window.ctx.typing.users(room_id) if user_id not in window.ignored]
    return {"type": TYPE, "content": {"user_ids": users}}
