"""The forms that events without an id have in `/initialSync` and `/events`: flat, so that each says what /sync says by where it stands.

Clients that still use these endpoints read a presence event's user from its content, and the room of a typing notice or receipt from the event.

Source: client-server API, "Presence", "Typing Notifications", "Receipts"; GET /initialSync.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from conduit.protocol.ids import RoomId, UserId
from conduit.service.context import Context
from conduit.service.rooms import receipts

Json = dict[str, Any]


def presence(user_id: UserId, content: Mapping[str, Any]) -> Json:
    """Return the `m.presence` event of a user."""
    return {"type": "m.presence", "sender": user_id, "content": {**content, "user_id": user_id}}


def presence_of(ctx: Context, users: Iterable[UserId]) -> list[Json]:
    """Return the `m.presence` events of those of the users of whom something is known."""
    known = ((user_id, ctx.presence.get(user_id)) for user_id in users)
    return [presence(user_id, content) for user_id, content in known if content is not None]


def receipts_in(ctx: Context, room_id: RoomId, reader: UserId) -> list[Json]:
    """Return the `m.receipt` events with all receipts of a room."""
    contents = receipts.changes(ctx.db, room_id, reader, 0, ctx.db.current_count())
    return [in_room({"type": "m.receipt", "content": content}, room_id) for content in contents]


def in_room(event: Json, room_id: str) -> Json:
    """Return an event that names its room; `""` stands for none."""
    return {**event, "room_id": room_id} if room_id else event


def items(contents: Mapping[str, Any], room_id: str = "") -> list[Json]:
    """Return items of account data, type -> content, as events."""
    return [in_room({"type": event_type, "content": content}, room_id) for event_type, content in contents.items()]
