"""Threads: how long each is, which event came last, who took part, and a room's threads by their last reply.

A root may be unknown yet when its first reply comes: the rows are there all the same. A redacted reply counts no longer.

Source: client-server API, "Threading".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from conduit.database import layouts, trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.database.layouts import PduId
from conduit.protocol import relations as rules
from conduit.protocol.ids import EventId, RoomId, UserId, is_event_id
from conduit.protocol.pdu import Event
from conduit.service.rooms import relations, short_ids, timeline

MAX_HOPS = 3
"""How far a relation to a relation is followed to find the thread that an event belongs to."""


class Summary(NamedTuple):
    """A thread in short: the number of its replies, and the last one with its position."""

    replies: int
    latest: EventId
    position: PduId


def summary(source: CacheSource, root: EventId) -> Summary | None:
    """Return a thread in short, or `None` if the event is the root of none. Edits and reactions are no replies."""
    short = short_ids.short_event(source, root)
    place = None if short is None else timeline.position(source, root)
    if short is None or place is None:
        return None
    row = trees.thread.get(source, (place.room, short))
    return None if row is None else Summary(row[0], short_ids.event_of(source, row[1]), layouts.PDU_ID.decode(row[2]))


def took_part(source: CacheSource, root: EventId, user_id: UserId) -> bool:
    """Tell whether the user has replied in the thread; of the root's own sender, only if they replied too."""
    short = short_ids.short_event(source, root)
    return short is not None and trees.thread_participant.has(source, (short, user_id))


def of_room(source: CacheSource, room_id: RoomId, *, before: PduId | None = None) -> Iterator[tuple[PduId, EventId]]:
    """Return (position of the last reply, root) of a room's threads, the most recently answered first; `before` is exclusive."""
    room = short_ids.short_room(source, room_id)
    if room is not None:
        for place, root in trees.thread_order.scan(source, (room,), before=before, reverse=True):
            yield place, short_ids.event_of(source, root)


def _load_answered(source: CacheSource, room: int) -> int:
    newest = next(trees.thread_order.keys(source, (room,), reverse=True), None)
    return 0 if newest is None else newest.live


_ANSWERED: Cached[int, int] = Cached("thread_answered", load=_load_answered, weigh=lambda count: 30)


def last_answered(source: CacheSource, room_id: RoomId) -> int:
    """Return the live count of the newest reply in any thread of a room; 0 if there is none. Kept in memory."""
    room = short_ids.short_room(source, room_id)
    return 0 if room is None else _ANSWERED.get(source, room)


def root_of(source: CacheSource, event: Event) -> EventId | None:
    """Return the root of the thread that an event belongs to: by itself, or because it relates to an event that does."""
    found: Event | None = event
    for _ in range(MAX_HOPS):
        relation = None if found is None else rules.relation_of(found.content)
        if relation is None:
            return None
        if relation.rel_type == rules.THREAD:
            return relation.event_id
        found = timeline.event(source, relation.event_id)
    return None


# --- writing -------------------------------------------------------------------------------------------------------


def record(batch: Batch, event: Event, short: int, place: PduId) -> None:
    """Count an accepted event in the thread that it declares itself part of, if any."""
    root_id = rules.thread_root(event.content)
    if root_id is None or not is_event_id(root_id):
        return
    root = short_ids.ensure_event(batch, root_id)
    _ANSWERED.forget(batch, place.room)
    key = (place.room, root)
    raw_place = layouts.PDU_ID.encode(place)
    known = trees.thread.get(batch, key)
    if known is None:
        trees.thread.put(batch, key, (1, short, raw_place))
        trees.thread_order.put(batch, place, root)
    else:
        count, last, last_place = known
        if raw_place > last_place:  # positions sort as time in their encoded form
            trees.thread_order.delete(batch, layouts.PDU_ID.decode(last_place))
            trees.thread_order.put(batch, place, root)
            last, last_place = short, raw_place
        trees.thread.put(batch, key, (count + 1, last, last_place))
    trees.thread_participant.put(batch, (root, event.sender), True)


def remove(batch: Batch, event: Event, place: PduId) -> None:
    """Count a thread anew without an event that is being redacted; its relation row is gone already."""
    root_id = rules.thread_root(event.content)
    root = None if root_id is None else short_ids.short_event(batch, root_id)
    known = None if root is None else trees.thread.get(batch, (place.room, root))
    if root_id is None or root is None or known is None:
        return
    rows = [row for row in relations.in_room(batch, root, place.room) if row.rel_type == rules.THREAD]
    _ANSWERED.forget(batch, place.room)
    trees.thread_order.delete(batch, layouts.PDU_ID.decode(known[2]))
    if rows:
        trees.thread.put(
            batch, (place.room, root), (len(rows), rows[-1].short, layouts.PDU_ID.encode(rows[-1].position))
        )
        trees.thread_order.put(batch, rows[-1].position, root)
    else:
        trees.thread.delete(batch, (place.room, root))
    if all(row.sender != event.sender for row in rows):
        trees.thread_participant.delete(batch, (root, event.sender))
