"""Filters: what a client wants of events, account data and presence, and in which form.

A filter is parsed once into frozen objects and then asked about many events, so sets and patterns are made ready here. Keys that the
specification does not know are ignored; a value of the wrong type raises `BadJson`. An absent list lets everything pass, an empty one nothing.

Source: client-server API, "Filtering"; appendices, "Dot-separated property paths".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from conduit.protocol.errors import BadJson
from conduit.protocol.glob import Glob

DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 1000
"""However many events a filter asks for, it gets no more at once."""
MAX_ENTRIES: Final = 2000
"""How many entries a list of a filter may have."""


class Types:
    """A list of event types in which `*` stands for any run of characters; made ready for many questions."""

    __slots__ = ("_exact", "_patterns")

    def __init__(self, patterns: list[str]) -> None:
        self._exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
        # Only the star is special here, so a question mark must not reach the globs.
        self._patterns = [_Starred(pattern) for pattern in patterns if "*" in pattern]

    def __contains__(self, event_type: str) -> bool:
        return event_type in self._exact or any(pattern.matches(event_type) for pattern in self._patterns)

    @property
    def is_empty(self) -> bool:
        """Whether no type at all is in the list."""
        return not self._exact and not self._patterns


class _Starred:
    __slots__ = ("_glob",)

    _MARK: Final = "\ue000"

    def __init__(self, pattern: str) -> None:
        self._glob = Glob(pattern.replace("?", self._MARK), ignore_case=False)

    def matches(self, text: str) -> bool:
        return self._glob.matches(text.replace("?", self._MARK))


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What passes by type and sender. `limit` is `None` where the filter sets none."""

    limit: int | None = None
    types: Types | None = None
    not_types: Types | None = None
    senders: frozenset[str] | None = None
    not_senders: frozenset[str] = frozenset()

    def passes(self, event_type: str, sender: str) -> bool:
        """Tell whether an event of that type by that sender passes."""
        if self.types is not None and event_type not in self.types:
            return False
        if self.not_types is not None and event_type in self.not_types:
            return False
        return sender not in self.not_senders and (self.senders is None or sender in self.senders)

    @property
    def passes_nothing(self) -> bool:
        """Whether the filter shuts everything out, so that there is no need to look."""
        return self.limit == 0 or self.senders == frozenset() or (self.types is not None and self.types.is_empty)


@dataclass(frozen=True, slots=True)
class RoomEventFilter(EventFilter):
    """What passes of a room. `everything` says that nothing is shut out, so that events need not be asked about."""

    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    contains_url: bool | None = None
    related_by_senders: frozenset[str] | None = None
    related_by_rel_types: frozenset[str] | None = None
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    unread_thread_notifications: bool = False
    everything: bool = True

    def passes_room(self, room_id: str) -> bool:
        """Tell whether events of that room can pass."""
        return room_id not in self.not_rooms and (self.rooms is None or room_id in self.rooms)

    def passes_event(self, event_type: str, sender: str, has_url: bool) -> bool:
        """Tell whether an event passes by what it is; its room has been asked about by `passes_room`."""
        if self.contains_url is not None and self.contains_url is not has_url:
            return False
        return self.passes(event_type, sender)

    @property
    def asks_relations(self) -> bool:
        """Whether an event passes only if certain other events relate to it."""
        return self.related_by_senders is not None or self.related_by_rel_types is not None


@dataclass(frozen=True, slots=True)
class RoomFilter:
    """What of which rooms a /sync shows."""

    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    include_leave: bool = False
    timeline: RoomEventFilter = RoomEventFilter()
    state: RoomEventFilter = RoomEventFilter()
    ephemeral: RoomEventFilter = RoomEventFilter()
    account_data: RoomEventFilter = RoomEventFilter()

    def passes_room(self, room_id: str) -> bool:
        """Tell whether the room is shown at all."""
        return room_id not in self.not_rooms and (self.rooms is None or room_id in self.rooms)


@dataclass(frozen=True, slots=True)
class Filter:
    """A whole filter, as it is stored by clients and used in /sync. `event_fields` are paths into an event."""

    room: RoomFilter = RoomFilter()
    presence: EventFilter = EventFilter()
    account_data: EventFilter = EventFilter()
    event_fields: tuple[tuple[str, ...], ...] | None = None
    federation_format: bool = False


EVERYTHING: Final = Filter()
"""The filter of somebody who sends none."""


def parse_filter(value: object) -> Filter:
    """Return the filter that a decoded JSON value means, or raise `BadJson`."""
    body = _object(value, "the filter")
    event_format = body.get("event_format", "client")
    if event_format not in ("client", "federation"):
        raise BadJson("'event_format' must be 'client' or 'federation'")
    event_fields = _strings(body, "event_fields", "")
    return Filter(
        room=_parse_room(_object(body.get("room"), "'room'")),
        presence=EventFilter(**_event_fields(_object(body.get("presence"), "'presence'"))),
        account_data=EventFilter(**_event_fields(_object(body.get("account_data"), "'account_data'"))),
        event_fields=None if event_fields is None else tuple(_path(field) for field in event_fields),
        federation_format=event_format == "federation",
    )


def parse_room_event_filter(value: object) -> RoomEventFilter:
    """Return the filter that a decoded `RoomEventFilter` means, or raise `BadJson`."""
    body = _object(value, "the filter")
    parsed: dict[str, Any] = _event_fields(body)
    parsed["rooms"] = _set(body, "rooms", "!")
    parsed["not_rooms"] = _set(body, "not_rooms", "!") or frozenset()
    parsed["contains_url"] = _flag(body, "contains_url")
    parsed["related_by_senders"] = _set(body, "related_by_senders", "@")
    parsed["related_by_rel_types"] = _set(body, "related_by_rel_types", "")
    for name in ("lazy_load_members", "include_redundant_members", "unread_thread_notifications"):
        parsed[name] = _flag(body, name) or False
    shuts_out = ("types", "not_types", "senders", "contains_url", "related_by_senders", "related_by_rel_types")
    parsed["everything"] = all(parsed[name] is None for name in shuts_out) and not parsed["not_senders"]
    return RoomEventFilter(**parsed)


def select_fields(event: Mapping[str, Any], paths: tuple[tuple[str, ...], ...]) -> dict[str, Any]:
    """Return a copy of a client event that holds only what the paths name."""
    chosen: dict[str, Any] = {}
    for path in paths:
        _copy(event, chosen, path)
    return chosen


def _parse_room(body: Mapping[str, Any]) -> RoomFilter:
    names = ("timeline", "state", "ephemeral", "account_data")
    parts = {name: parse_room_event_filter(_object(body.get(name), f"'{name}'")) for name in names}
    return RoomFilter(
        rooms=_set(body, "rooms", "!"),
        not_rooms=_set(body, "not_rooms", "!") or frozenset(),
        include_leave=_flag(body, "include_leave") or False,
        **parts,
    )


def _event_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    types, not_types = _strings(body, "types", ""), _strings(body, "not_types", "")
    return {
        "limit": _limit(body),
        "types": None if types is None else Types(types),
        "not_types": Types(not_types) if not_types else None,
        "senders": _set(body, "senders", "@"),
        "not_senders": _set(body, "not_senders", "@") or frozenset(),
    }


def _object(value: object, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadJson(f"{name} must be an object")
    return value


def _limit(body: Mapping[str, Any]) -> int | None:
    value = body.get("limit")
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadJson("'limit' must be a non-negative integer")
    return min(value, MAX_LIMIT)


def _flag(body: Mapping[str, Any], name: str) -> bool | None:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadJson(f"'{name}' must be a boolean")
    return value


def _strings(body: Mapping[str, Any], name: str, sigil: str) -> list[str] | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) and item.startswith(sigil) for item in value):
        what = {"": "strings", "!": "room IDs", "@": "user IDs"}[sigil]
        raise BadJson(f"'{name}' must be an array of {what}")
    if len(value) > MAX_ENTRIES:
        raise BadJson(f"'{name}' has more than {MAX_ENTRIES} entries")
    return value


def _set(body: Mapping[str, Any], name: str, sigil: str) -> frozenset[str] | None:
    value = _strings(body, name, sigil)
    return None if value is None else frozenset(value)


def _path(field: str) -> tuple[str, ...]:
    """Return the keys that a dot-separated path names; after a backslash, a dot or a backslash stands for itself."""
    return tuple(_segments(field))


def _segments(field: str) -> Iterator[str]:
    segment: list[str] = []
    at = 0
    while at < len(field):
        char = field[at]
        if char == "\\" and field[at + 1 : at + 2] in (".", "\\"):
            at += 1
            segment.append(field[at])
        elif char == ".":
            yield "".join(segment)
            segment = []
        else:
            segment.append(char)
        at += 1
    yield "".join(segment)


def _copy(source: Mapping[str, Any], target: dict[str, Any], path: tuple[str, ...]) -> None:
    for index, key in enumerate(path):
        if key not in source:
            return
        value = source[key]
        if index == len(path) - 1:
            target[key] = value
            return
        if not isinstance(value, dict):
            return
        below = target.setdefault(key, {})
        if below is value:
            return  # a shorter path has taken all of it
        source, target = value, below
