"""Building an event of ours: what it cites, how deep it lies, its hash, signature and id.

Nothing is decided here about whether it may be sent (`authorise`), and nothing is written (`accept`).

Source: server-server API, "PDUs", "Auth events selection"; "Event format" of the room versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conduit.database.cache import CacheSource
from conduit.protocol.canonical_json import MAX_INTEGER
from conduit.protocol.event_auth import auth_types_for
from conduit.protocol.event_format import MAX_PREV_EVENTS
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.protocol.pdu import Event, seal
from conduit.protocol.room_versions import RoomVersion
from conduit.service.context import Context
from conduit.service.rooms import leaves, state, timeline
from conduit.service.rooms.leaves import Leaf
from conduit.utils.tokens import random_text

_EVENT_ID_CHARACTERS = 22
"""Length of the event ids that versions 1 and 2 let us choose."""


def build(
    ctx: Context,
    source: CacheSource,
    room_id: RoomId,
    version: RoomVersion,
    sender: UserId,
    event_type: str,
    content: dict[str, Any],
    *,
    state_key: str | None = None,
    redacts: EventId | None = None,
    origin_server_ts: int | None = None,
) -> Event:
    """Return the signed event that follows the room's leaves and is authorised by its current state.

    `content` has been checked (`event_format.check_new`) and is not copied. Raises `TooLarge` when the whole has more than 65,536 bytes.
    """
    pdu = draft(
        ctx,
        source,
        room_id,
        version,
        sender,
        event_type,
        content,
        state_key=state_key,
        redacts=redacts,
        origin_server_ts=origin_server_ts,
    )
    return finish(ctx, pdu, version)


def draft(
    ctx: Context,
    source: CacheSource,
    room_id: RoomId,
    version: RoomVersion,
    sender: UserId,
    event_type: str,
    content: dict[str, Any],
    *,
    state_key: str | None = None,
    redacts: EventId | None = None,
    origin_server_ts: int | None = None,
) -> dict[str, Any]:
    """Return that event without hash, signature and id: what a template for another server's user is made of."""
    followed = tips(source, room_id)
    auth_types = auth_types_for(event_type, sender, state_key, content, version)
    found = [state.current_id(source, room_id, *pair) for pair in auth_types]
    pdu: dict[str, Any] = {
        "auth_events": _references(source, [event_id for event_id in found if event_id is not None], version),
        "content": content,
        "depth": min(max([leaf.depth for leaf in followed], default=0) + 1, MAX_INTEGER),
        "origin_server_ts": ctx.clock.now_ms() if origin_server_ts is None else origin_server_ts,
        "prev_events": _references(source, [leaf.event_id for leaf in followed], version),
        "room_id": room_id,
        "sender": sender,
        "type": event_type,
    }
    if state_key is not None:
        pdu["state_key"] = state_key
    if redacts is not None and not version.redacts_in_content:
        pdu["redacts"] = redacts
    return pdu


def tips(source: CacheSource, room_id: RoomId) -> Sequence[Leaf]:
    """Return the leaves of the room that the next event follows: all of them, or the newest of too many."""
    found = leaves.of(source, room_id)
    if len(found) > MAX_PREV_EVENTS:
        return sorted(found, key=lambda leaf: (leaf.depth, leaf.short))[-MAX_PREV_EVENTS:]
    return found


def build_create(
    ctx: Context,
    room_id: RoomId | None,
    version: RoomVersion,
    sender: UserId,
    content: dict[str, Any],
    *,
    origin_server_ts: int | None = None,
) -> Event:
    """Return the signed `m.room.create` of a new room. `room_id` is `None` exactly where it follows from the event itself (version 12)."""
    pdu: dict[str, Any] = {
        "auth_events": [],
        "content": content,
        "depth": 1,
        "origin_server_ts": ctx.clock.now_ms() if origin_server_ts is None else origin_server_ts,
        "prev_events": [],
        "sender": sender,
        "state_key": "",
        "type": "m.room.create",
    }
    if room_id is not None:
        pdu["room_id"] = room_id
    return finish(ctx, pdu, version)


def _references(source: CacheSource, event_ids: list[EventId], version: RoomVersion) -> list[Any]:
    if version.event_ids_are_hashes:
        return event_ids
    return [event.reference() for event in timeline.events(source, event_ids)]


def finish(ctx: Context, pdu: dict[str, Any], version: RoomVersion) -> Event:
    """Return the event that a draft becomes: with its id, hash and our signature. `pdu` is changed. Raises `TooLarge`."""
    if not version.event_ids_are_hashes:
        pdu["event_id"] = f"${random_text(_EVENT_ID_CHARACTERS)}:{ctx.server_name}"
        pdu["origin"] = ctx.server_name
    return seal(pdu, version, ctx.server_name, ctx.signing_key)
