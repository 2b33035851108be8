"""The timeline of a room in /sync: the newest events of an interval that the user gets."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.layouts import PduId
from conduit.protocol.filters import DEFAULT_LIMIT
from conduit.protocol.ids import RoomId
from conduit.service.rooms import cuts, members, short_ids
from conduit.service.rooms.client_events import ClientEvent
from conduit.service.rooms.cuts import Cut
from conduit.service.rooms.reading import Reader
from conduit.service.sync.window import Json, Window


class Slice(NamedTuple):
    """A part of a timeline, oldest event first. `limited` says that events between it and the start of the interval are left out."""

    events: list[ClientEvent]
    limited: bool
    prev_batch: Cut

    def first(self, source: CacheSource) -> PduId | None:
        """Return the position of the oldest event, or `None` if there is no event."""
        return self.events[0].place(source).position if self.events else None


def read(window: Window, reader: Reader, start: Cut, end: Cut, *, is_joined: bool) -> Slice:
    """Return the newest events between two cuts that the user gets and wants.

    Somebody in the room also gets the events that make up its present state, even if they were sent while that user was out and could not see: the client
    would be left with a wrong state.
    """
    wanted = window.room_filter.timeline
    if wanted.limit != 0 and not window.wants(wanted, reader.room_id):
        return Slice([], False, end)
    gap = _last_gap(window, reader.room_id, end)
    if gap is not None and gap > start:
        start = gap
    else:
        gap = None
    limit = DEFAULT_LIMIT if wanted.limit is None else wanted.limit
    page = reader.page(end, start, limit + 1, wanted, backwards=True, with_current_state=is_joined)
    events = page.events[:limit]
    limited = len(page.events) > limit or page.more or gap is not None
    if limited and events:
        place = events[-1].place(window.db).position
        begin = page.end if place is None else cuts.before(place)
    elif limited:
        begin = end if limit == 0 else page.end
    elif events:
        place = events[-1].place(window.db).position
        begin = start if place is None else cuts.before(place)
    else:
        # There may be events that the filter has kept back: who goes back from here finds them.
        begin = end
    events.reverse()
    return Slice(events, limited, begin)


def section(reader: Reader, shown: Slice) -> Json:
    """Return the timeline as it stands in the answer. Only where events are left out does the client need aggregations."""
    events = reader.render_all(shown.events, bundled=shown.limited) if shown.events else orjson.Fragment(b"[]")
    return {"timeline": {"events": events, "limited": shown.limited, "prev_batch": shown.prev_batch.token()}}


def _last_gap(window: Window, room_id: RoomId, end: Cut) -> Cut | None:
    """Return the cut before the newest event in front of which others are missing: a timeline must not be shown across it."""
    servers = members.servers(window.db, room_id)
    if servers == [window.ctx.server_name]:
        return None  # whatever happens in the room happens here
    room = short_ids.short_room(window.db, room_id)
    row = None if room is None else trees.room_gap.last(window.db, (room,), before=min(end.live, window.upto) + 1)
    return None if row is None else cuts.before(PduId(row[0][0], row[0][1]))
