"""The state section of a room in /sync: what the client needs beside the timeline to know the room's state.

Two questions, by states that the room had at counts, H(count):

    `state_after`   H(end) - H(since)
    `state`         (H(end) - timeline, and H(start) where that is in the timeline) - H(since)

where H(since) is empty if the client knows nothing yet, and start and end are those of the timeline. A difference of two states costs what
differs; only who knows nothing gets a whole state.

Source: client-server API, GET /sync, `state` and `state_after`; "Lazy-loading room members".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

import orjson

from conduit.database.cache import Cached, CacheSource
from conduit.protocol.ids import EventId, UserId
from conduit.service.rooms import client_events, state, state_bodies, whole_states
from conduit.service.rooms.client_events import ClientEvent
from conduit.service.rooms.reading import Reader
from conduit.service.rooms.whole_states import MEMBER
from conduit.service.sync import lazy_members
from conduit.service.sync.timeline import Slice
from conduit.service.sync.window import Window

MAX_REMEMBERED: Final = 1000
"""About so many members of one answer are noted as known to the device; the others are sent again if they come to matter."""


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


async def section(
    window: Window, reader: Reader, shown: Slice, over: Span, heroes: Iterable[ClientEvent] = ()
) -> Section:
    """Return the section, filtered; with lazy loading, of the members only those who matter. A large one is made in steps."""
    wanted = window.room_filter.state
    if not window.wants(wanted, reader.room_id):
        return NOTHING
    if wanted.everything and not wanted.lazy_load_members and reader.is_plain and not over.known:
        body = await _at_first(window, reader, shown, over)
        return Section(orjson.Fragment(body), body == b"[]")
    chosen = _lazy(window, reader, shown, over, heroes) if wanted.lazy_load_members else _all(window, shown, over)
    rendered: list[bytes] = []
    async for events in chosen:
        if not wanted.everything:
            events = [event for event in events if reader.passes(event, wanted)]
        rendered += reader.state_forms(events)
    return Section(orjson.Fragment(b"[" + b",".join(rendered) + b"]"), not rendered)


def _is_state_of_end(window: Window, shown: Slice, over: Span) -> bool:
    """Tell whether what is wanted is simply the whole state at the end of the timeline."""
    return not over.known and (window.state_after or all(event.state_key is None for event in shown.events))


def _in_timeline(source: CacheSource, shown: Slice) -> list[int]:
    return [event.place(source).short for event in shown.events if event.state_key is not None]


async def _at_first(window: Window, reader: Reader, shown: Slice, over: Span) -> bytes:
    """Return the state for who knows nothing yet, which is the same for all who come to the same timeline."""
    source, room_id = window.db, reader.room_id

    def make() -> AsyncIterator[bytes]:
        return whole_states.listed(b"[", _closed(_all(window, shown, over)), b"]")

    lock = window.ctx.locks.body(room_id)
    if not _is_state_of_end(window, shown, over):
        changes = _in_timeline(source, shown)
        return await state_bodies.get(lock, source, room_id, over.end, "sync_start", make, over.start, *changes)
    head = state.head(source, room_id)
    if head is None or head.state != over.end:
        return b"".join([piece async for piece in make()])
    return await state_bodies.get(lock, source, room_id, over.end, "sync", make)


async def _closed(chosen: AsyncIterator[list[ClientEvent]]) -> AsyncIterator[list[bytes]]:
    async for events in chosen:
        yield [event.closed for event in events]


def _all(window: Window, shown: Slice, over: Span) -> AsyncIterator[list[ClientEvent]]:
    """Yield all events of the section, some at a time."""
    return whole_states.forms(window.db, _entries(window, shown, over))


def _entries(window: Window, shown: Slice, over: Span) -> Mapping[int, int]:
    if _is_state_of_end(window, shown, over):
        return state.ids(window.db, over.end)
    if window.state_after:
        return state.diff(window.db, over.known, over.end)[0]
    return _at_start(window, shown, over)


def _at_start(window: Window, shown: Slice, over: Span) -> dict[int, int]:
    source = window.db
    if over.known == over.end == over.start:
        return {}
    in_timeline = set(_in_timeline(source, shown))
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


async def _lazy(
    window: Window,
    reader: Reader,
    shown: Slice,
    over: Span,
    heroes: Iterable[ClientEvent],
) -> AsyncIterator[list[ClientEvent]]:
    """Yield the events of the section but of the members only those who matter, and who of these is missing there.

    Who matters is who sent something in the timeline, the heroes, and of a room that the client knows nothing of the user too. Of a known room every
    change of membership matters: the client cannot learn of it in any other way.
    """
    source, wanted = window.db, window.room_filter.state
    present: set[str | None] = set()
    given: list[ClientEvent] = []
    if over.known:
        async for events in _all(window, shown, over):
            present.update(event.state_key for event in events if event.type == MEMBER)
            if len(given) < MAX_REMEMBERED:
                given += events
            yield events
    else:
        yield client_events.get_many(source, await _without_members(window, shown, over))
    matter = _members_that_matter(window, shown, over, heroes)
    missing = [
        event_id
        for member, event_id in matter.items()
        if member not in present and (not over.known or _is_needed(window, reader, member, event_id))
    ]
    members = client_events.get_many(source, missing)
    yield members
    if not wanted.include_redundant_members:
        # What stands in the timeline is known to the client as well.
        given = [event for event in (*given, *members) if reader.passes(event, wanted)]
        lazy_members.remember(window, reader.room_id, (*shown.events, *given))


async def _without_members(window: Window, shown: Slice, over: Span) -> Sequence[EventId]:
    """Return the events of a whole state but the members, which are the same for whoever comes new to the room."""
    source = window.db
    slot: tuple[int, ...] = (over.end,)
    if not _is_state_of_end(window, shown, over):
        slot = (over.start, over.end, *_in_timeline(source, shown))
    found = _WITHOUT_MEMBERS.peek(source, slot)
    if found is None:
        entries = _entries(window, shown, over)
        steps = whole_states.ids(source, entries, whole_states.is_no_member)
        found = tuple([event_id async for step in steps for event_id in step])
        _WITHOUT_MEMBERS.fill(source, slot, found)
    return found


_WITHOUT_MEMBERS: Cached[tuple[int, ...], tuple[EventId, ...] | None] = Cached(
    "state_without_members", load=lambda source, slot: None, weigh=lambda ids: 200 + 60 * len(ids or ())
)
"""By the state at the end of a timeline; or by those at its start and end, and the state events in it."""


def _members_that_matter(
    window: Window, shown: Slice, over: Span, heroes: Iterable[ClientEvent]
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
