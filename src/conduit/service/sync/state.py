"""The state section of a room in /sync: what the client needs beside the timeline to know the room's state.

Two questions, by states that the room had at counts, H(count):

    `state_after`   H(end) - H(since)
    `state`         (H(end) - timeline, and H(start) where that is in the timeline) - H(since)

where H(since) is empty if the client knows nothing yet, and start and end are those of the timeline. A difference of two states costs what
differs; only who knows nothing gets a whole state.

Source: client-server API, GET /sync, `state` and `state_after`; "Lazy-loading room members".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

import orjson

from conduit.database.cache import Cached, CacheSource
from conduit.protocol.ids import EventId, UserId
from conduit.service.rooms import client_events, short_ids, state, state_bodies
from conduit.service.rooms.client_events import ClientEvent
from conduit.service.rooms.reading import Reader
from conduit.service.sync import lazy_members
from conduit.service.sync.timeline import Slice
from conduit.service.sync.window import Window

MEMBER = "m.room.member"


class Span(NamedTuple):
    """Numbers of the states around a timeline: what the client knows (0 for nothing), its start and its end."""

    known: int
    start: int
    end: int


def span(window: Window, reader: Reader, shown: Slice, *, known: int, end: int) -> Span:
    """Return the states that count for a timeline which ends in the state `end`."""
    place = shown.first(window.db)
    if place is None:
        return Span(known, end, end)
    if place.back:
        start = shown.events[0].place(window.db).before
    else:
        start = state.at_count(window.db, reader.room_id, place.live - 1)
    return Span(known, start or 0, end)


class Section(NamedTuple):
    """The events of the section as a JSON array, and whether there are any."""

    events: orjson.Fragment
    is_empty: bool


NOTHING: Final = Section(orjson.Fragment(b"[]"), True)


def section(window: Window, reader: Reader, shown: Slice, over: Span, heroes: Iterable[ClientEvent] = ()) -> Section:
    """Return the section, filtered; with lazy loading, of the members only those who matter."""
    wanted = window.room_filter.state
    if not window.wants(wanted, reader.room_id):
        return NOTHING
    wants_all = wanted.everything and not wanted.lazy_load_members and reader.is_plain
    if wants_all and _is_state_of_end(window, shown, over):
        return Section(orjson.Fragment(_whole(reader, over.end)), False)
    if wants_all and not over.known:
        # Whoever comes new to the room gets the same, if the same events stand in the timeline.
        changes = [event.place(window.db).short for event in shown.events if event.state_key is not None]

        def make() -> bytes:
            events = _chosen(window, reader, shown, over, heroes)
            return b"[" + b",".join([event.closed for event in events]) + b"]"

        body = state_bodies.get(window.db, reader.room_id, over.end, "sync_start", make, over.start, *changes)
        return Section(orjson.Fragment(body), body == b"[]")
    events = _chosen(window, reader, shown, over, heroes)
    return Section(reader.render_state(events), not events)


def _is_state_of_end(window: Window, shown: Slice, over: Span) -> bool:
    """Tell whether what is wanted is simply the whole state at the end of the timeline."""
    return not over.known and (window.state_after or all(event.state_key is None for event in shown.events))


def _whole(reader: Reader, number: int) -> bytes:
    """Return a whole state, which is the same for everybody."""
    source = reader.source

    def make() -> bytes:
        shorts = list(state.ids(source, number).values())
        events = client_events.get_many(source, short_ids.events_of(source, shorts))
        return b"[" + b",".join([event.closed for event in events]) + b"]"

    head = state.head(source, reader.room_id)
    if head is None or head.state != number:
        return make()
    return state_bodies.get(source, reader.room_id, number, "sync", make)


def _chosen(
    window: Window, reader: Reader, shown: Slice, over: Span, heroes: Iterable[ClientEvent]
) -> list[ClientEvent]:
    wanted = window.room_filter.state
    if wanted.lazy_load_members:
        ids = _lazy(window, reader, shown, over, heroes)
    else:
        ids = short_ids.events_of(window.db, list(_entries(window, shown, over).values()))
    events = client_events.get_many(window.db, ids)
    if not wanted.everything:
        events = [event for event in events if reader.passes(event, wanted)]
    if wanted.lazy_load_members and not wanted.include_redundant_members:
        # What stands in the timeline is known to the client as well.
        lazy_members.remember(window, reader.room_id, (*shown.events, *events))
    return events


def _entries(window: Window, shown: Slice, over: Span) -> dict[int, int]:
    return _after(window, over) if window.state_after else _at_start(window, shown, over)


def _after(window: Window, over: Span) -> dict[int, int]:
    if not over.known:
        return dict(state.ids(window.db, over.end))
    return state.diff(window.db, over.known, over.end)[0]


def _at_start(window: Window, shown: Slice, over: Span) -> dict[int, int]:
    source = window.db
    if over.known == over.end == over.start:
        return {}
    in_timeline = {event.place(source).short for event in shown.events if event.state_key is not None}
    if not over.known:
        return _whole_at_start(source, over.start, over.end, in_timeline)
    added = state.diff(source, over.known, over.end)[0]
    entries = {key: short for key, short in added.items() if short not in in_timeline}
    _add_former(entries, state.diff(source, over.known, over.start)[0], in_timeline)
    return entries


def _whole_at_start(source: CacheSource, start: int, end: int, in_timeline: AbstractSet[int]) -> dict[int, int]:
    entries = {key: short for key, short in state.ids(source, end).items() if short not in in_timeline}
    _add_former(entries, state.diff(source, start, end)[1], in_timeline)
    return entries


def _add_former(entries: dict[int, int], former: Mapping[int, int], in_timeline: AbstractSet[int]) -> None:
    for key, short in former.items():
        if short not in in_timeline:
            entries.setdefault(key, short)


def _lazy(
    window: Window,
    reader: Reader,
    shown: Slice,
    over: Span,
    heroes: Iterable[ClientEvent],
) -> list[EventId]:
    """Return the events of the section but of the members only those who matter, and who of these is missing there.

    Who matters is who sent something in the timeline, the heroes, and of a room that the client knows nothing of the user too. Of a known room every
    change of membership matters: the client cannot learn of it in any other way.
    """
    source = window.db
    present: set[str] = set()
    if _is_state_of_end(window, shown, over):
        ids = list(_WITHOUT_MEMBERS.get(source, over.end))
    elif over.known:
        entries = _entries(window, shown, over)
        present = {key for event_type, key in short_ids.statekeys_of(source, list(entries)) if event_type == MEMBER}
        ids = short_ids.events_of(source, list(entries.values()))
    else:
        changes = [event.place(source).short for event in shown.events if event.state_key is not None]
        ids = list(_START_WITHOUT_MEMBERS.get(source, (over.start, over.end, *changes)))
    for member, event_id in _members_that_matter(window, reader, shown, over, heroes).items():
        if member not in present and (not over.known or _is_needed(window, reader, member, event_id)):
            ids.append(event_id)
    return ids


def _load_start_without_members(source: CacheSource, key: tuple[int, ...]) -> tuple[EventId, ...]:
    start, end, *in_timeline = key
    return tuple(_without_members(source, _whole_at_start(source, start, end, frozenset(in_timeline))))


_START_WITHOUT_MEMBERS: Cached[tuple[int, ...], tuple[EventId, ...]] = Cached(
    "start_without_members", load=_load_start_without_members, weigh=lambda ids: 200 + 60 * len(ids)
)
"""By the states at the start and the end of a timeline, and the state events in it: the same for whoever comes new to the room."""


def _without_members(source: CacheSource, entries: Mapping[int, int]) -> list[EventId]:
    keys = short_ids.statekeys_of(source, list(entries))
    shorts = [short for (event_type, _), short in zip(keys, entries.values(), strict=True) if event_type != MEMBER]
    return short_ids.events_of(source, shorts)


_WITHOUT_MEMBERS: Cached[int, tuple[EventId, ...]] = Cached(
    "state_without_members",
    load=lambda source, number: tuple(_without_members(source, state.ids(source, number))),
    weigh=lambda ids: 100 + 60 * len(ids),
)


def _members_that_matter(
    window: Window, reader: Reader, shown: Slice, over: Span, heroes: Iterable[ClientEvent]
) -> dict[UserId, EventId]:
    source = window.db
    # In the older form, what stands in the timeline is known from there, and what was before it counts.
    in_timeline = set() if window.state_after else {event.event_id for event in shown.events if event.type == MEMBER}
    users = dict.fromkeys(event.sender for event in shown.events)
    if not over.known:
        users[window.user_id] = None
    users.update(dict.fromkeys(UserId(event.state_key) for event in heroes if event.state_key is not None))
    found: dict[UserId, EventId] = {}
    for user_id in users:
        event_id = state.get_id(source, over.end, MEMBER, user_id) if over.end else None
        if event_id in in_timeline:
            event_id = state.get_id(source, over.start, MEMBER, user_id) if over.start else None
        if event_id is not None and event_id not in in_timeline:
            found[user_id] = event_id
    return found


def _is_needed(window: Window, reader: Reader, member: UserId, event_id: EventId) -> bool:
    if window.room_filter.state.include_redundant_members:
        return True
    return not lazy_members.is_known(window, reader.room_id, member, event_id)
