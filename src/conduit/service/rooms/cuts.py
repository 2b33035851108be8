"""Cuts: the places between two events of a timeline, which pagination tokens name.

A cut says which events lie before it. It stays right when events arrive later: history that is filled in at a place before the cut lies before the cut.

    token       everything before it
    t<n>        up to live event n, without what is filled in right after n
    t<n>~<k>    up to event k of what is filled in right after live event n; k = 0 means all of it
    t-<k>       up to event k of the history before all live events; k = 0 means all of it
    s<n>_<p>    a /sync token: up to all that arrived while the counter stood at most at n; p is the count at which the process began.
                With a third number, messages between devices have been given up to that count only
    <n>         a /sync token that Conduit gave: clients go on with it after a migration

Source: client-server API, "Pagination".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from conduit.database.cache import CacheSource
from conduit.database.layouts import PduId
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import EventId, RoomId
from conduit.service.rooms import short_ids, timeline

_MAX: Final = (1 << 64) - 1
_SYNC = re.compile(r"s([0-9]{1,18})_([0-9]{1,18})(?:_([0-9]{1,18}))?", re.ASCII)
_CONDUIT = re.compile(r"[0-9]{1,18}", re.ASCII)
_TOKEN = re.compile(r"t(?:([0-9]{1,20})(?:~([0-9]{1,20}))?|-([0-9]{1,20}))", re.ASCII)


class Cut(NamedTuple):
    """A place between events: those whose `PduId.order()` is at most this pair lie before it. Cuts compare as time."""

    live: int
    sub: int

    def token(self) -> str:
        """Return the text that stands for this cut in answers."""
        if self.live == 0 and self.sub:
            return f"t-{_MAX - self.sub}"
        return f"t{self.live}~{_MAX - self.sub}" if self.sub else f"t{self.live}"

    def has_passed(self, place: PduId) -> bool:
        """Tell whether the event at `place` lies before this cut."""
        return place.order() <= self


class SyncToken(NamedTuple):
    """A position in the stream of /sync. `start` tells which process gave it: what is kept in memory only is gone with that process.

    `devices` is the position in the messages between devices, which lags behind when there are too many for one answer.
    """

    at: int
    start: int
    devices: int

    def token(self) -> str:
        """Return the text that stands for this position in answers."""
        return f"s{self.at}_{self.start}" + ("" if self.devices == self.at else f"_{self.devices}")


START: Final = Cut(0, 0)
"""Before all history."""
END: Final = Cut(_MAX >> 1, _MAX)
"""After everything."""


def at_count(count: int) -> Cut:
    """Return the cut after everything that had arrived when the counter stood at `count`."""
    return Cut(count, _MAX)


def after(place: PduId) -> Cut:
    """Return the cut right after an event."""
    return Cut(*place.order())


def before(place: PduId) -> Cut:
    """Return the cut right before an event."""
    live, sub = place.order()
    return Cut(live, sub - 1) if sub else Cut(live - 1, _MAX)


def parse_sync(token: str) -> SyncToken:
    """Return the position that a /sync token names, or raise `InvalidParam`."""
    match = _SYNC.fullmatch(token)
    if match is None:
        if _CONDUIT.fullmatch(token) is None:
            raise InvalidParam("Not a token of /sync")
        return SyncToken(int(token), 0, int(token))
    at = int(match[1])
    return SyncToken(at, int(match[2]), at if match[3] is None else min(at, int(match[3])))


def parse(token: str) -> Cut:
    """Return the cut that a token of /sync or of a page names, or raise `InvalidParam`."""
    if _SYNC.fullmatch(token):
        return at_count(parse_sync(token).at)
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise InvalidParam("Unknown pagination token")
    live, filled, back = match.groups()
    numbers = [int(number) for number in (live, filled, back) if number is not None]
    if any(number > _MAX >> 1 for number in numbers):
        raise InvalidParam("Unknown pagination token")
    if back is not None:
        return Cut(0, _MAX - int(back))
    return Cut(int(live), 0 if filled is None else _MAX - int(filled))


def positions(
    source: CacheSource, room_id: RoomId, start: Cut, stop: Cut, *, backwards: bool = False
) -> Iterator[PduId]:
    """Return the positions between two cuts, from `start` on: towards newer ones, or towards older ones if `backwards`.

    Lazy: exhaust it or let it go before the next `await`.
    """
    earlier, later = (stop, start) if backwards else (start, stop)
    room = short_ids.short_room(source, room_id)
    if room is None or earlier >= later:
        return iter(())
    return timeline.positions(
        source, room_id, after=_below(room, earlier), before=_above(room, later), reverse=backwards
    )


def entries(
    source: CacheSource, room_id: RoomId, start: Cut, stop: Cut, *, backwards: bool = False
) -> Iterator[tuple[PduId, EventId | None]]:
    """Return what `positions` does, with the ids of the events where these are at hand. The newest events need no look into the database."""
    tail = timeline.newest(source, room_id)
    if tail and (start if backwards else stop) >= tail[0][0].order():
        if backwards:
            for entry in reversed(tail):
                order = entry[0].order()
                if order <= stop:
                    return
                if order <= start:
                    yield entry
            if len(tail) < timeline.TAIL:
                return
            start = before(tail[0][0])
        elif start >= before(tail[0][0]):
            for entry in tail:
                order = entry[0].order()
                if order > stop:
                    return
                if order > start:
                    yield entry
            return
    for place in positions(source, room_id, start, stop, backwards=backwards):
        yield place, None


def upper_bound(source: CacheSource, room_id: RoomId, cut: Cut) -> PduId | None:
    """Return the position below which exactly those of a room's events are that lie before the cut; `None` for an unknown room."""
    room = short_ids.short_room(source, room_id)
    return None if room is None else _above(room, cut)


def _below(room: int, cut: Cut) -> PduId | None:
    """Return the exclusive lower bound of the events after a cut."""
    if cut.sub:
        # Of what is filled in after a live event, number 1 sorts last: nothing lies between it and the next live event.
        return PduId(room, cut.live, max(1, _MAX - cut.sub))
    return PduId(room, cut.live) if cut.live else None


def _above(room: int, cut: Cut) -> PduId:
    """Return the exclusive upper bound of the events before a cut."""
    filled = _MAX - cut.sub
    if filled <= 1:
        return PduId(room, cut.live + 1)
    if cut.sub == 0 and cut.live == 0:
        return PduId(room, 0, _MAX)
    return PduId(room, cut.live, filled if cut.sub == 0 else filled - 1)
