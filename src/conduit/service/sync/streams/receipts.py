"""Read receipts in /sync: those of everybody, and the user's own private ones."""

from __future__ import annotations

from typing import Any

from conduit.protocol.ids import RoomId
from conduit.service.rooms import receipts
from conduit.service.sync.window import Window

TYPE = "m.receipt"


def everything(window: Window, room_id: RoomId) -> list[dict[str, Any]]:
    """Return the `m.receipt` events with all receipts of a room."""
    return _events(receipts.changes(window.db, room_id, window.user_id, 0, window.upto))


def changes(window: Window, room_id: RoomId) -> list[dict[str, Any]]:
    """Return the `m.receipt` events with what moved in the interval."""
    if not receipts.changed_since(window.db, room_id, window.since):
        return []
    return _events(receipts.changes(window.db, room_id, window.user_id, window.since, window.upto))


def _events(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": TYPE, "content": content} for content in contents]
