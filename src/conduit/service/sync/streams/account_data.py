"""Account data in /sync: global items, and those of rooms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit.protocol.filters import EventFilter
from conduit.protocol.ids import RoomId
from conduit.service import account_data
from conduit.service.push import rules
from conduit.service.sync.window import Window

Items = Mapping[str, Mapping[str, Any]]
"""Room or "" -> type -> content."""


def changes(window: Window) -> Items:
    """Return what was set in the interval, for an initial sync everything, also the push rules of who never changed any: for all rooms in one go."""
    if not window.own_news:
        return {}
    found = account_data.changes(window.db, window.user_id, window.since, window.upto)
    if window.initial:
        found.setdefault("", {})[rules.TYPE] = rules.content(window.db, window.user_id)
    return found


def everything(window: Window, room_id: RoomId) -> Mapping[str, Any]:
    """Return all items for a room that the client knows nothing of."""
    return account_data.all_of(window.db, window.user_id, room_id)


def events(window: Window, items: Mapping[str, Any], wanted: EventFilter) -> list[dict[str, Any]]:
    """Return items as events, filtered."""
    return [
        {"type": event_type, "content": content}
        for event_type, content in items.items()
        if wanted.passes(event_type, window.user_id)
    ]
