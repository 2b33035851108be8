"""The event closest to a time.

Events lie in the order in which they arrived, which is nearly that of their times. So the place is found by bisection, and the neighbourhood is then
searched for the event that is really the closest.

Source: client-server API, GET /timestamp_to_event.
"""

from __future__ import annotations

from itertools import islice
from typing import Final, Protocol

from conduit.database.cache import CacheSource
from conduit.protocol.errors import NotFound
from conduit.protocol.ids import RoomId
from conduit.service.rooms import client_events, cuts, timeline
from conduit.service.rooms.client_events import ClientEvent
from conduit.service.rooms.cuts import Cut

NEIGHBOURHOOD: Final = 300
"""How many events to each side are compared: clocks of servers differ, and events arrive late."""
_BITS: Final = 64
MAX_LOOKED_AT: Final = 3000
"""How far on one that may be seen is looked for, if there is none nearby."""


class View(Protocol):
    """Somebody looking at a room: a user (`rooms.reading.Reader`) or another server (`for_servers.Room`)."""

    source: CacheSource
    room_id: RoomId

    def newest(self) -> Cut:
        """Return where the timeline ends for them."""
        ...

    def shows(self, event: ClientEvent) -> bool:
        """Tell whether they may see an event."""
        ...


def closest(reader: View, ts: int, *, backwards: bool) -> ClientEvent:
    """Return the event at or after the time `ts` in ms, or with `backwards` at or before it, closest to it; raises `NotFound` if there is none."""
    middle = _bisect(reader, ts)
    newest = reader.newest()
    here = _candidates(reader, min(middle, newest), cuts.START, NEIGHBOURHOOD, backwards=True)
    here += _candidates(reader, min(middle, newest), newest, NEIGHBOURHOOD, backwards=False)
    found = _best(reader, here, ts, backwards=backwards)
    if found is None:
        far = cuts.START if backwards else newest
        there = _candidates(reader, min(middle, newest), far, MAX_LOOKED_AT, backwards=backwards)
        found = _best(reader, there, ts, backwards=backwards)
    if found is None:
        raise NotFound("There is no event on that side of the time")
    return found


def _bisect(reader: View, ts: int) -> Cut:
    """Return about the cut before which events are older than `ts`."""
    last = timeline.last_position(reader.source, reader.room_id)
    # The two parts of a cut as one number: what was filled in from elsewhere has no live count of its own.
    low, high = 0, 0 if last is None else _number(last.order())
    while low < high:
        middle = (low + high) // 2
        event = _first_after(reader, _cut(middle))
        if event is None or event.ts >= ts:
            high = middle
        else:
            position = event.place(reader.source).position
            low = max(middle + 1, 0 if position is None else _number(position.order()))
    return _cut(low)


def _number(order: tuple[int, int]) -> int:
    return order[0] << _BITS | order[1]


def _cut(number: int) -> Cut:
    return Cut(number >> _BITS, number & ((1 << _BITS) - 1))


def _first_after(reader: View, cut: Cut) -> ClientEvent | None:
    place = next(cuts.positions(reader.source, reader.room_id, cut, cuts.END), None)
    return None if place is None else client_events.at(reader.source, place)


def _candidates(reader: View, start: Cut, stop: Cut, count: int, *, backwards: bool) -> list[ClientEvent]:
    places = list(islice(cuts.positions(reader.source, reader.room_id, start, stop, backwards=backwards), count))
    events = [client_events.at(reader.source, place) for place in places]
    return [event for event in events if event is not None]


def _best(reader: View, events: list[ClientEvent], ts: int, *, backwards: bool) -> ClientEvent | None:
    """Return the event closest to `ts` on the side asked for that may be seen; of several of the same time the first, backwards the last."""
    side = [event for event in events if (event.ts <= ts if backwards else event.ts >= ts)]
    side.sort(key=lambda event: (abs(event.ts - ts), _order(reader, event, backwards=backwards)))
    return next((event for event in side if reader.shows(event)), None)


def _order(reader: View, event: ClientEvent, *, backwards: bool) -> tuple[int, int]:
    position = event.place(reader.source).position
    live, sub = (0, 0) if position is None else position.order()
    return (-live, -sub) if backwards else (live, sub)
