"""Invites and knocks in /sync, with the stripped state of rooms that the user cannot see otherwise.

Source: client-server API, GET /sync, "Invited rooms", "Knocked rooms"; "Ignoring Users"; "Invite permission".
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from conduit.database.cache import CacheSource
from conduit.protocol.ids import RoomId, UserId
from conduit.service import account_data
from conduit.service.rooms import members
from conduit.service.sync.window import Window

Stripped = list[dict[str, Any]]


def invite(window: Window, room_id: RoomId) -> dict[str, Any] | None:
    """Return the section of an invite, or `None` if it is not to be shown (`is_shown`)."""
    if not is_shown(window.db, room_id, window.user_id, window.ignored):
        return None
    return {"invite_state": {"events": members.invite_state(window.db, room_id, window.user_id)}}


def is_shown(source: CacheSource, room_id: RoomId, user_id: UserId, ignored: Collection[str]) -> bool:
    """Tell whether a user is shown an invite: not if they ignore its sender, or block invites."""
    content = account_data.get(source, user_id, "", "m.invite_permission_config")
    if content is not None and content.get("default_action") == "block":
        return False
    events = members.invite_state(source, room_id, user_id)
    own = (event for event in events if event["type"] == "m.room.member" and event["state_key"] == user_id)
    return all(event["sender"] not in ignored for event in own)


def knock(window: Window, room_id: RoomId) -> dict[str, Any]:
    """Return the section of a knock."""
    return {"knock_state": {"events": members.knock_state(window.db, room_id, window.user_id)}}
