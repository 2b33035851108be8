"""Read receipts in /sync: those of everybody, and the user's own private ones."""

from __future__ import annotations

from typing import Any

from conduit.protocol.ids import RoomId
from conduit.service.rooms import receipts
from conduit.service.sync.window import Window

TYPE = "m.receipt"


def everything(window: Window, room_id: RoomId) -> dict[str, Any] | None:
    """Return the `m.receipt` event with all receipts of a room, or `None` if there are none."""
    return _event(receipts.changes(window.db, room_id, window.user_id, 0, window.upto))


def changes(window: Window, room_id: RoomId) -> dict[str, Any] | None:
    """Return the `m.receipt` event with what moved in the interval, or `None`."""
    if not receipts.changed_since(window.db, room_id, window.since):
        return None
    return _event(receipts.changes(window.db, room_id, window.user_id, window.since, window.upto))


def _event(content: dict[str, Any]) -> dict[str, Any] | None:
    return {"type": TYPE, "content": content} if content else None
