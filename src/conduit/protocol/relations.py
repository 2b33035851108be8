"""What an event says about other events and about users: relations, replies, threads, edits, mentions.

Everything reads content of any shape; what does not follow the schema is no relation.

Source: client-server API, "Forming relationships between events", "Rich replies", "Threading", "Event replacements",
"User and room mentions".
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeGuard

from conduit.protocol.ids import EventId
from conduit.protocol.pdu import Event

ANNOTATION: Final = "m.annotation"
REFERENCE: Final = "m.reference"
REPLACE: Final = "m.replace"
THREAD: Final = "m.thread"

_MAX_BYTES: Final = 255


class Relation(NamedTuple):
    """A relation to a parent event; `key` is the annotation where it has one."""

    rel_type: str
    event_id: EventId
    key: str | None


class Mentions(NamedTuple):
    """Whom an event mentions; `room` for everybody in the room."""

    user_ids: frozenset[str]
    room: bool


def relation_of(content: dict[str, Any]) -> Relation | None:
    """Return the relation that an event's content declares, if any."""
    relates_to = content.get("m.relates_to")
    if not isinstance(relates_to, dict):
        return None
    rel_type, event_id, key = relates_to.get("rel_type"), relates_to.get("event_id"), relates_to.get("key")
    if not _is_short(rel_type) or not _is_short(event_id):
        return None
    return Relation(rel_type, EventId(event_id), key if isinstance(key, str) else None)


def reply_to(content: dict[str, Any]) -> EventId | None:
    """Return the event that this one answers, the fallback of a thread included."""
    relates_to = content.get("m.relates_to")
    in_reply_to = relates_to.get("m.in_reply_to") if isinstance(relates_to, dict) else None
    event_id = in_reply_to.get("event_id") if isinstance(in_reply_to, dict) else None
    return EventId(event_id) if _is_short(event_id) else None


def thread_root(content: dict[str, Any]) -> EventId | None:
    """Return the root of the thread that an event declares itself part of."""
    relation = relation_of(content)
    return relation.event_id if relation is not None and relation.rel_type == THREAD else None


def mentions(content: dict[str, Any]) -> Mentions | None:
    """Return whom the event mentions, or None when it has no `m.mentions`."""
    value = content.get("m.mentions")
    if not isinstance(value, dict):
        return None
    users = value.get("user_ids")
    listed = users if isinstance(users, list) else []
    return Mentions(frozenset(user for user in listed if isinstance(user, str)), value.get("room") is True)


def is_valid_edit(original: Event, edit: Event) -> bool:
    """Tell whether `edit` replaces `original`. Of an encrypted edit the new content cannot be seen, and is supposed."""
    relation = relation_of(edit.content)
    if relation is None or relation.rel_type != REPLACE or relation.event_id != original.event_id:
        return False
    if (edit.room_id, edit.sender, edit.type) != (original.room_id, original.sender, original.type):
        return False
    if edit.is_state or original.is_state:
        return False
    earlier = relation_of(original.content)
    if earlier is not None and earlier.rel_type == REPLACE:
        return False
    return edit.type == "m.room.encrypted" or isinstance(edit.content.get("m.new_content"), dict)


def _is_short(value: Any) -> TypeGuard[str]:
    if not isinstance(value, str) or not value or len(value) > _MAX_BYTES:
        return False
    return value.isascii() or len(value.encode()) <= _MAX_BYTES
