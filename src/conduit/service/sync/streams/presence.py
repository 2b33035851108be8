"""Presence in /sync: of the user, and of everybody who shares a room with the user."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from conduit.protocol.ids import UserId
from conduit.service.rooms import members
from conduit.service.sync.window import Window

TYPE = "m.presence"


def changes(window: Window, came: Collection[UserId]) -> list[dict[str, Any]]:
    """Return the `m.presence` events of the interval, and those of users who came into sight in it; initially of everybody in sight."""
    wanted = window.filter.presence
    if wanted.passes_nothing or not (window.sight_news or came):
        return []
    presence = window.ctx.presence
    # Initially, who is not mentioned is offline.
    changed = presence.changes(window.since, window.upto, offline=not window.initial)
    found: dict[UserId, Mapping[str, Any]] = {user_id: changed[user_id] for user_id in _in_sight(window, changed)}
    for user_id in came:
        content = presence.get(user_id) if user_id not in found else None
        if content is not None:
            found[user_id] = content
    return [
        {"type": TYPE, "sender": user_id, "content": content}
        for user_id, content in found.items()
        if wanted.passes(TYPE, user_id)
    ]


def _in_sight(window: Window, users: Collection[UserId]) -> Iterable[UserId]:
    """Return those of `users` who share a room with the user, and the user, if among them."""
    rooms = members.rooms(window.db, window.user_id)
    if len(users) <= len(rooms):
        return [user for user in users if user == window.user_id or members.share_room(window.db, window.user_id, user)]
    wanted = frozenset(users)
    found = wanted & {window.user_id}
    for room_id in rooms:
        found |= wanted & members.joined(window.db, room_id)
    return found
