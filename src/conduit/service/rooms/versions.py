"""The version of a room: what every event of it is decoded and judged by."""

from __future__ import annotations

import orjson

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.protocol.errors import NotFound
from conduit.protocol.ids import EventId, RoomId
from conduit.protocol.room_versions import RoomVersion, version_of_create
from conduit.service.rooms import short_ids


def stored_event(source: CacheSource, event_id: EventId) -> bytes | None:
    """Return an event's stored bytes, from its timeline or from the outliers."""
    position = trees.eventid_pduid.get(source, event_id)
    if position is not None:
        return trees.pduid_pdu.get(source, position)
    return trees.eventid_outlierpdu.get(source, event_id)


def _load(source: CacheSource, room_id: RoomId) -> RoomVersion | None:
    room = short_ids.short_room(source, room_id)
    key = short_ids.short_statekey(source, "m.room.create", "")
    create = None if room is None or key is None else trees.roomstate.get(source, (room, key))
    if create is None:
        return None
    data = stored_event(source, short_ids.event_of(source, create))
    return None if data is None else version_of_create(orjson.loads(data)["content"])


_VERSION: Cached[RoomId, RoomVersion | None] = Cached("room_version", load=_load, weigh=lambda version: 100)


def find(source: CacheSource, room_id: RoomId) -> RoomVersion | None:
    """Return the version of a room, or `None` if this server has no state of the room."""
    return _VERSION.get(source, room_id)


def version_of(source: CacheSource, room_id: RoomId) -> RoomVersion:
    """Return the version of a room; raises `NotFound` for one that this server has no state of."""
    version = _VERSION.get(source, room_id)
    if version is None:
        raise NotFound("This server does not know the room")
    return version


def remember(batch: Batch, room_id: RoomId, version: RoomVersion) -> None:
    """Let a room have `version`: its create event is about to become its state."""
    _VERSION.set(batch, room_id, version)
