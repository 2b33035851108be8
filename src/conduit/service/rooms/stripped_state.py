"""Stripped state: the few facts about a room that somebody who is invited, or knocks, may know before joining.

Whatever goes in here is shown to people outside of the room and may come from other servers, so an event is reduced to four fields and
anything oversized or of the wrong shape is left out.

Source: client-server API, "Stripped state".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from conduit.database.cache import CacheSource
from conduit.protocol.ids import RoomId, UserId, is_user_id
from conduit.protocol.pdu import Event
from conduit.service.rooms import state

TYPES = (
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
)
"""The types that the specification lists, in its order; all have an empty state key."""

MAX_EVENTS = 64
"""How many events a list from elsewhere may hold."""

Stripped = dict[str, Any]


def strip(event: Event) -> Stripped:
    """Return the four fields of a state event that stripped state may have."""
    return {"type": event.type, "state_key": event.state_key, "sender": event.sender, "content": event.content}


def shown(event: Event) -> Stripped:
    """Return a member event as clients see it, for rooms of which it is all that there is to show."""
    return {**strip(event), "event_id": event.event_id, "origin_server_ts": event.origin_server_ts}


def named(event: Event) -> Stripped:
    """Return an invite or a knock to be kept with its place in the room (`members.WaitsBy`), which `members` hides from clients."""
    return {**strip(event), "event_id": event.event_id, "depth": event.depth, "room_version": event.version.id}


def of_room(source: CacheSource, room_id: RoomId) -> list[Stripped]:
    """Return the stripped current state of a room, the create event first."""
    return [strip(event) for event in events_of_room(source, room_id)]


def events_of_room(source: CacheSource, room_id: RoomId) -> list[Event]:
    """Return the events of the current state that stripped state is made of: for other servers, who get them whole."""
    found = (state.current(source, room_id, event_type) for event_type in TYPES)
    return [event for event in found if event is not None]


def for_member(source: CacheSource, event: Event) -> list[Stripped]:
    """Return what the target of an invite, or somebody who knocks, learns of the room.

    That is the room's stripped state, who invites (the sender's membership), and the member event itself, last.
    """
    stripped = of_room(source, event.room_id)
    if event.sender != event.state_key:
        sender = state.current(source, event.room_id, "m.room.member", event.sender)
        if sender is not None:
            stripped.append(strip(sender))
    stripped.append(strip(event))
    return stripped


def prune(events: object, *, max_bytes: int = 65_536) -> list[Stripped]:
    """Return the usable part of stripped state that another server sent: well-formed events reduced to the four fields.

    Events beyond `MAX_EVENTS`, or whose text exceeds `max_bytes` in sum, are dropped.
    """
    pruned: list[Stripped] = []
    if not isinstance(events, Iterable) or isinstance(events, str | bytes | Mapping):
        return pruned
    room_left = max_bytes
    for item in events:
        if len(pruned) == MAX_EVENTS:
            break
        stripped = _well_formed(item)
        if stripped is None:
            continue
        room_left -= len(repr(stripped["content"])) + len(stripped["type"]) + len(stripped["state_key"])
        if room_left < 0:
            break
        pruned.append(stripped)
    return pruned


def _well_formed(item: object) -> Stripped | None:
    if not isinstance(item, Mapping):
        return None
    event_type, state_key, sender, content = (item.get(name) for name in ("type", "state_key", "sender", "content"))
    if not isinstance(event_type, str) or not isinstance(state_key, str) or not isinstance(content, dict):
        return None
    if not is_user_id(sender) or len(event_type) > 255 or len(state_key) > 255:
        return None
    return {"type": event_type, "state_key": state_key, "sender": UserId(str(sender)), "content": content}
