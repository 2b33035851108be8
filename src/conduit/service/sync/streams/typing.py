"""Typing notices in /sync. They are kept in memory: a client that comes with a token of an earlier process is told who types now, if only nobody."""

from __future__ import annotations

from typing import Any

from conduit.protocol.ids import RoomId
from conduit.service.sync.window import Window

TYPE = "m.typing"


def everything(window: Window, room_id: RoomId) -> dict[str, Any] | None:
    """Return the `m.typing` event of a room for an initial sync, or `None` if nobody has typed there.

    That nobody types any more is said: a client that starts over may still show who did.
    """
    return _event(_users(window, room_id)) if window.ctx.typing.changed_since(room_id, 0) else None


def changes(window: Window, room_id: RoomId) -> dict[str, Any] | None:
    """Return the `m.typing` event of a room if who types has changed in the interval, or `None`."""
    if window.was_restarted or window.ctx.typing.changed_since(room_id, window.since):
        return _event(_users(window, room_id))
    return None


def _users(window: Window, room_id: RoomId) -> list[str]:
    return [user_id for user_id in window.ctx.typing.users(room_id) if user_id not in window.ignored]


def _event(users: list[str]) -> dict[str, Any]:
    return {"type": TYPE, "content": {"user_ids": users}}
