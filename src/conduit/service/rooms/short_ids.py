"""Short ids: 8-byte numbers that stand for rooms, events and state keys in the trees.

A number comes from the one counter, is never 0 and never stands for anything else. `ensure_...` gives one within the batch that needs
it; the others only look. Both directions are cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.codec import U64
from conduit.database.database import Batch
from conduit.database.errors import Corrupt
from conduit.database.tree import Source, Tree
from conduit.protocol.ids import EventId, RoomId

_WEIGHT = 160
"""What a number and an id of usual length hold."""


def _weigh(value: object) -> int:
    return _WEIGHT


def _dangling(tree: Tree[int, Any], short: int) -> Corrupt:
    return Corrupt(tree.name, U64.encode(short), "a short id stands for nothing")


def _load_room(source: Source, short: int) -> RoomId:
    room_id = trees.shortroomid_roomid.get(source, short)
    if room_id is None:
        raise _dangling(trees.shortroomid_roomid, short)
    return RoomId(room_id)


def _load_event(source: Source, short: int) -> EventId:
    event_id = trees.shorteventid_eventid.get(source, short)
    if event_id is None:
        raise _dangling(trees.shorteventid_eventid, short)
    return EventId(event_id)


def _load_events(source: Source, shorts: list[int]) -> list[EventId]:
    found = trees.shorteventid_eventid.get_many(source, shorts)
    for short, event_id in zip(shorts, found, strict=True):
        if event_id is None:
            raise _dangling(trees.shorteventid_eventid, short)
    return cast(list[EventId], found)


def _load_statekey(source: Source, short: int) -> tuple[str, str]:
    pair = trees.shortstatekey_statekey.get(source, short)
    if pair is None:
        raise _dangling(trees.shortstatekey_statekey, short)
    return pair


def _load_statekeys(source: Source, shorts: list[int]) -> list[tuple[str, str]]:
    found = trees.shortstatekey_statekey.get_many(source, shorts)
    for short, pair in zip(shorts, found, strict=True):
        if pair is None:
            raise _dangling(trees.shortstatekey_statekey, short)
    return cast(list[tuple[str, str]], found)


_SHORT_ROOM: Cached[str, int | None] = Cached("short_room", load=trees.roomid_shortroomid.get, weigh=_weigh)
_ROOM: Cached[int, RoomId] = Cached("room_of_short", load=_load_room, weigh=_weigh)
_SHORT_EVENT: Cached[str, int | None] = Cached(
    "short_event", load=trees.eventid_shorteventid.get, weigh=_weigh, load_many=trees.eventid_shorteventid.get_many
)
_EVENT: Cached[int, EventId] = Cached("event_of_short", load=_load_event, weigh=_weigh, load_many=_load_events)
_SHORT_STATEKEY: Cached[tuple[str, str], int | None] = Cached(
    "short_statekey", load=trees.statekey_shortstatekey.get, weigh=_weigh
)
_STATEKEY: Cached[int, tuple[str, str]] = Cached(
    "statekey_of_short", load=_load_statekey, weigh=_weigh, load_many=_load_statekeys
)


def short_room(source: CacheSource, room_id: RoomId) -> int | None:
    """Return the number of a room, or `None` for one that this server does not know."""
    return _SHORT_ROOM.get(source, room_id)


def room_of(source: CacheSource, short: int) -> RoomId:
    """Return the room that a number stands for."""
    return _ROOM.get(source, short)


def ensure_room(batch: Batch, room_id: RoomId) -> int:
    """Return the number of a room, given in this batch if it had none."""
    short = _SHORT_ROOM.get(batch, room_id)
    if short is None:
        short = batch.next_count()
        trees.roomid_shortroomid.put(batch, room_id, short)
        trees.shortroomid_roomid.put(batch, short, room_id)
        _SHORT_ROOM.set(batch, room_id, short)
        _ROOM.set(batch, short, room_id)
    return short


def short_event(source: CacheSource, event_id: EventId) -> int | None:
    """Return the number of an event, or `None`. An event may have a number and not be known yet."""
    return _SHORT_EVENT.get(source, event_id)


def short_events(source: CacheSource, event_ids: Sequence[EventId]) -> list[int | None]:
    """Return the numbers of events in their order."""
    return _SHORT_EVENT.get_many(source, event_ids)


def event_of(source: CacheSource, short: int) -> EventId:
    """Return the event that a number stands for."""
    return _EVENT.get(source, short)


def events_of(source: CacheSource, shorts: Sequence[int]) -> list[EventId]:
    """Return the events that numbers stand for, in their order."""
    return _EVENT.get_many(source, shorts)


def ensure_event(batch: Batch, event_id: EventId) -> int:
    """Return the number of an event, given in this batch if it had none."""
    short = _SHORT_EVENT.get(batch, event_id)
    return give_event(batch, event_id) if short is None else short


def give_event(batch: Batch, event_id: EventId) -> int:
    """Give a number to an event that is known to have none."""
    short = batch.next_count()
    trees.eventid_shorteventid.put(batch, event_id, short)
    trees.shorteventid_eventid.put(batch, short, event_id)
    _SHORT_EVENT.set(batch, event_id, short)
    _EVENT.set(batch, short, event_id)
    return short


def short_statekey(source: CacheSource, event_type: str, state_key: str) -> int | None:
    """Return the number of a state key, or `None` if no room has ever had it."""
    return _SHORT_STATEKEY.get(source, (event_type, state_key))


def statekey_of(source: CacheSource, short: int) -> tuple[str, str]:
    """Return the event type and state key that a number stands for."""
    return _STATEKEY.get(source, short)


def statekeys_of(source: CacheSource, shorts: Sequence[int]) -> list[tuple[str, str]]:
    """Return the event types and state keys that numbers stand for, in their order."""
    return _STATEKEY.get_many(source, shorts)


def ensure_statekey(batch: Batch, event_type: str, state_key: str) -> int:
    """Return the number of a state key, given in this batch if it had none."""
    pair = (event_type, state_key)
    short = _SHORT_STATEKEY.get(batch, pair)
    if short is None:
        short = batch.next_count()
        trees.statekey_shortstatekey.put(batch, pair, short)
        trees.shortstatekey_statekey.put(batch, short, pair)
        _SHORT_STATEKEY.set(batch, pair, short)
        _STATEKEY.set(batch, short, pair)
    return short
