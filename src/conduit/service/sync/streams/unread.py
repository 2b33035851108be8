"""Unread counts in /sync. They come with every room that has news: whatever changes them is news."""

from __future__ import annotations

from typing import Any

from conduit.protocol.ids import RoomId
from conduit.service.push import counting
from conduit.service.push.counting import Counts
from conduit.service.sync.window import Window


def everything(window: Window, room_id: RoomId) -> dict[str, Any]:
    """Return the counts of a room: of the main timeline and each thread if the client asks for threads, else all in one."""
    unread = counting.unread(window.db, room_id, window.user_id)
    if not window.room_filter.timeline.unread_thread_notifications:
        return {"unread_notifications": _shown(unread.total())}
    shown: dict[str, Any] = {"unread_notifications": _shown(unread.main)}
    if unread.threads:
        shown["unread_thread_notifications"] = {root: _shown(counts) for root, counts in unread.threads.items()}
    return shown


def _shown(counts: Counts) -> dict[str, int]:
    return {"notification_count": counts.notifications, "highlight_count": counts.highlights}
