"""The state of rooms: now, at any event, and at any count.

The present is an index: `roomstate` gives the event of one state key by a point read, and a cache in front of it makes that a dictionary look-up.
The past is kept as numbered states in layers (`state_layers`): the state before and after each event, and for
each count of the one counter the state that the room then had (`roomstate_history`). A "state" in signatures here is such a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.protocol.power_levels import PowerLevels
from conduit.protocol.room_versions import RoomVersion
from conduit.service.rooms import short_ids, state_layers, timeline, versions
from conduit.service.rooms.layered import LayeredMap

version_of = versions.version_of

StateKey = tuple[str, str]
"""(event type, state key)."""


class Head(NamedTuple):
    """A room's current state, and the count since which it stands."""

    state: int
    since: int


def _load_head(source: CacheSource, room_id: RoomId) -> Head | None:
    room = short_ids.short_room(source, room_id)
    newest = None if room is None else trees.roomstate_history.last(source, (room,))
    return None if newest is None else Head(newest[1], newest[0][1])


_HEAD: Cached[RoomId, Head | None] = Cached("room_state", load=_load_head, weigh=lambda head: 150)


def _load_current(source: CacheSource, slot: tuple[RoomId, str, str]) -> EventId | None:
    room_id, event_type, state_key = slot
    whole = _CURRENT_IDS.peek(source, room_id)
    if whole is not None:
        found: EventId | None = whole.get((event_type, state_key))
        return found
    room = short_ids.short_room(source, room_id)
    key = None if room is None else short_ids.short_statekey(source, event_type, state_key)
    short = None if room is None or key is None else trees.roomstate.get(source, (room, key))
    return None if short is None else short_ids.event_of(source, short)


_CURRENT: Cached[tuple[RoomId, str, str], EventId | None] = Cached(
    "current_state", load=_load_current, weigh=lambda event_id: 250
)


def _load_current_ids(source: CacheSource, room_id: RoomId) -> LayeredMap[StateKey, EventId]:
    room = short_ids.short_room(source, room_id)
    if room is None:
        return LayeredMap({})
    rows = list(trees.roomstate.scan(source, (room,)))
    keys = short_ids.statekeys_of(source, [key for (_, key), _ in rows])
    return LayeredMap(dict(zip(keys, short_ids.events_of(source, [short for _, short in rows]), strict=True)))


_CURRENT_IDS: Cached[RoomId, LayeredMap[StateKey, EventId]] = Cached(
    "current_state_ids", load=_load_current_ids, weigh=lambda ids: 200 + 150 * len(ids)
)


# --- now -----------------------------------------------------------------------------------------------------------


def exists(source: CacheSource, room_id: RoomId) -> bool:
    """Tell whether this server has state of the room."""
    return _HEAD.get(source, room_id) is not None


def head(source: CacheSource, room_id: RoomId) -> Head | None:
    """Return the room's current state with the count since which it stands, or `None` for an unknown room."""
    return _HEAD.get(source, room_id)


def current_id(source: CacheSource, room_id: RoomId, event_type: str, state_key: str = "") -> EventId | None:
    """Return the id of the event that is current for a state key, or `None`."""
    return _CURRENT.get(source, (room_id, event_type, state_key))


def current(source: CacheSource, room_id: RoomId, event_type: str, state_key: str = "") -> Event | None:
    """Return the event that is current for a state key, or `None`."""
    event_id = _CURRENT.get(source, (room_id, event_type, state_key))
    return None if event_id is None else timeline.event(source, event_id)


def membership(source: CacheSource, room_id: RoomId, user_id: UserId) -> str | None:
    """Return the membership that somebody has for the room; `members` leaves out what they have forgotten for themselves."""
    event = current(source, room_id, "m.room.member", user_id)
    return None if event is None else event.membership


def current_ids(source: CacheSource, room_id: RoomId) -> Mapping[StateKey, EventId]:
    """Return the whole current state: (event type, state key) -> event id; empty for an unknown room. Shared: do not change it."""
    return _CURRENT_IDS.get(source, room_id).whole()


def current_of_type(source: CacheSource, room_id: RoomId, event_type: str) -> dict[str, Event]:
    """Return the current events of a type by state key."""
    wanted = [(pair[1], event_id) for pair, event_id in current_ids(source, room_id).items() if pair[0] == event_type]
    found = timeline.events(source, [event_id for _, event_id in wanted])
    return {event.state_key: event for event in found if event.state_key is not None}


def current_all(source: CacheSource, room_id: RoomId) -> list[Event]:
    """Return all events of the current state; empty for an unknown room."""
    return timeline.events(source, list(current_ids(source, room_id).values()))


def _load_power_levels(source: CacheSource, room_id: RoomId) -> PowerLevels:
    create = current(source, room_id, "m.room.create")
    return PowerLevels(create, current(source, room_id, "m.room.power_levels"), version_of(source, room_id))


_POWER_LEVELS: Cached[RoomId, PowerLevels] = Cached("power_levels", load=_load_power_levels, weigh=lambda levels: 500)


def power_levels(source: CacheSource, room_id: RoomId) -> PowerLevels:
    """Return the room's current power levels; raises `NotFound` for an unknown room."""
    return _POWER_LEVELS.get(source, room_id)


# --- then ----------------------------------------------------------------------------------------------------------


def _load_at(source: CacheSource, key: tuple[RoomId, int]) -> int | None:
    room = short_ids.short_room(source, key[0])
    row = None if room is None else trees.roomstate_history.last(source, (room,), before=key[1] + 1)
    return None if row is None else row[1]


_AT: Cached[tuple[RoomId, int], int | None] = Cached("state_at_count", load=_load_at, weigh=lambda state: 60)
"""For counts before the current state began: what the state was then stays so."""


def at_count(source: CacheSource, room_id: RoomId, count: int) -> int | None:
    """Return the current state as it was when the counter stood at `count`; `None` if the room had no state yet."""
    now = _HEAD.get(source, room_id)
    if now is None or count >= now.since:
        return None if now is None else now.state
    return _AT.get(source, (room_id, count))


def before(source: CacheSource, event_id: EventId) -> int | None:
    """Return the state before an event, 0 for the empty one (before a create event); `None` if it is not known."""
    short = short_ids.short_event(source, event_id)
    return None if short is None else trees.shorteventid_shortstatehash.get(source, short)


def after(source: CacheSource, event_id: EventId) -> int | None:
    """Return the state after an event; `None` if it is not known."""
    short = short_ids.short_event(source, event_id)
    return None if short is None else trees.shorteventid_stateafter.get(source, short)


def get_id(source: CacheSource, state: int, event_type: str, state_key: str = "") -> EventId | None:
    """Return the id of the event of a state key in a state, or `None`."""
    key = short_ids.short_statekey(source, event_type, state_key)
    short = None if key is None else state_layers.look_up(source, state, key)
    return None if short is None else short_ids.event_of(source, short)


def get(source: CacheSource, state: int, event_type: str, state_key: str = "") -> Event | None:
    """Return the event of a state key in a state, or `None`."""
    event_id = get_id(source, state, event_type, state_key)
    return None if event_id is None else timeline.event(source, event_id)


def ids(source: CacheSource, state: int) -> Mapping[int, int]:
    """Return a whole state: short state key -> short event. Shared: do not change it."""
    return state_layers.ids(source, state)


def events_at(source: CacheSource, state: int) -> list[Event]:
    """Return all events of a state."""
    return events_of(source, state_layers.ids(source, state).values())


def events_of(source: CacheSource, shorts: Iterable[int]) -> list[Event]:
    """Return the events that short ids stand for, for the values of `ids` and `diff`."""
    return timeline.events(source, short_ids.events_of(source, list(shorts)))


def power_levels_at(source: CacheSource, state: int, version: RoomVersion) -> PowerLevels:
    """Return the power levels of a state."""
    return PowerLevels(get(source, state, "m.room.create"), get(source, state, "m.room.power_levels"), version)


def diff(source: CacheSource, old: int, new: int) -> tuple[dict[int, int], dict[int, int]]:
    """Return (entries that `new` has and `old` has not, entries that `old` has and `new` has not); 0 is the empty state.

    Entries are short state key -> short event. A state key whose event changed is in both.
    """
    return state_layers.diff(source, old, new)


# --- writing -------------------------------------------------------------------------------------------------------


def set_around(batch: Batch, event: int, state_before: int, state_after: int) -> None:
    """Write the states before and after a short event."""
    trees.shorteventid_shortstatehash.put(batch, event, state_before)
    trees.shorteventid_stateafter.put(batch, event, state_after)


def begin(batch: Batch, room_id: RoomId) -> None:
    """Let a room that is being created have no state, which need not be looked for."""
    _CURRENT_IDS.set(batch, room_id, LayeredMap({}))


def forget_power_levels(batch: Batch, room_id: RoomId) -> None:
    """Let the room's power levels be read anew: their event was redacted."""
    _POWER_LEVELS.forget(batch, room_id)


def set_entries(batch: Batch, room_id: RoomId, entries: Iterable[tuple[str, str, int, int]]) -> None:
    """Write entries of the index of current state: (event type, state key, short state key, short event, or 0 to take it out).

    The numbered state is not touched: for who takes over a large state step by step, and lets `set_current` follow.
    """
    room = short_ids.ensure_room(batch, room_id)
    for event_type, state_key, key, event in entries:
        if event:
            trees.roomstate.put(batch, (room, key), event)
        else:
            trees.roomstate.delete(batch, (room, key))
        _CURRENT.forget(batch, (room_id, event_type, state_key))
        if (event_type, state_key) in (("m.room.power_levels", ""), ("m.room.create", "")):
            _POWER_LEVELS.forget(batch, room_id)
    _CURRENT_IDS.forget(batch, room_id)


def know_whole(batch: Batch, room_id: RoomId, entries: dict[StateKey, EventId]) -> None:
    """Keep the whole current state in memory, for who has just written it and knows it anyway; the dictionary is handed over."""
    _CURRENT_IDS.set(batch, room_id, LayeredMap(entries))


def set_current(
    batch: Batch,
    room_id: RoomId,
    state: int,
    count: int,
    changed: Iterable[tuple[Event, int, int]],
    gone: Iterable[tuple[StateKey, int]] = (),
) -> None:
    """Make `state` the room's current state from `count` on.

    `changed` holds (event, short state key, short event) of each entry that is new, `gone` (state key, its number) of each that has none any more.
    """
    room = short_ids.ensure_room(batch, room_id)
    trees.roomid_shortstatehash.put(batch, room_id, state)
    trees.roomstate_history.put(batch, (room, count), state)
    _HEAD.set(batch, room_id, Head(state, count))
    whole = _CURRENT_IDS.peek(batch, room_id)
    for event, key, short in changed:
        pair = (event.type, event.state_key or "")
        trees.roomstate.put(batch, (room, key), short)
        _CURRENT.set(batch, (room_id, *pair), event.event_id)
        if whole is not None:
            whole = whole.having(pair, event.event_id)
        if pair in (("m.room.power_levels", ""), ("m.room.create", "")):
            _POWER_LEVELS.forget(batch, room_id)
        if event.type == "m.room.create":
            versions.remember(batch, room_id, event.version)
    for pair, key in gone:
        trees.roomstate.delete(batch, (room, key))
        _CURRENT.set(batch, (room_id, *pair), None)
        if whole is not None:
            whole = whole.lacking(pair)
        if pair == ("m.room.power_levels", ""):
            _POWER_LEVELS.forget(batch, room_id)
    if whole is None:
        _CURRENT_IDS.forget(batch, room_id)
    else:
        _CURRENT_IDS.set(batch, room_id, whole)
