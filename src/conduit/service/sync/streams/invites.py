"""Invites and knocks in /sync, with the stripped state of rooms that the user cannot see otherwise.

Source: client-server API, GET /sync, "Invited rooms", "Knocked rooms"; "Ignoring Users"; "Invite permission".
"""

from __future__ import annotations

from typing import Any

from conduit.protocol.ids import RoomId
from conduit.service import account_data
from conduit.service.rooms import members
from conduit.service.sync.window import Window

Stripped = list[dict[str, Any]]


def invite(window: Window, room_id: RoomId) -> dict[str, Any] | None:
    """Return the section of an invite, or `None` if it is not to be shown: its sender is ignored, or the user blocks invites."""
    events = members.invite_state(window.db, room_id, window.user_id)
    sender = next((event["sender"] for event in events if _is_own(window, event)), None)
    if sender in window.ignored or _blocks_invites(window):
        return None
    return {"invite_state": {"events": events}}


def knock(window: Window, room_id: RoomId) -> dict[str, Any]:
    """Return the section of a knock."""
    return {"knock_state": {"events": members.knock_state(window.db, room_id, window.user_id)}}


def _is_own(window: Window, event: dict[str, Any]) -> bool:
    return bool(event["type"] == "m.room.member" and event["state_key"] == window.user_id)


def _blocks_invites(window: Window) -> bool:
    content = account_data.get(window.db, window.user_id, "", "m.invite_permission_config")
    return content is not None and content.get("default_action") == "block"
