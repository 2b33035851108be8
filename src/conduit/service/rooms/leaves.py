"""A room's leaves: the accepted events that no accepted event cites yet. The next event cites them.

Only accepted events touch them; one may be given up although nothing cites it. A room that was imported without leaves gets its newest event.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.database.layouts import REJECTED, SOFT_FAILED
from conduit.protocol.ids import EventId, RoomId
from conduit.protocol.pdu import Event
from conduit.service.rooms import short_ids, timeline


class Leaf(NamedTuple):
    """A leaf with what building on it needs: `state` is the one after it, 0 if that is not known."""

    event_id: EventId
    short: int
    depth: int
    state: int


def _leaf(source: CacheSource, event_id: EventId) -> Leaf | None:
    short = short_ids.short_event(source, event_id)
    if short is None:
        return None
    known = timeline.facts(source, short)
    event = timeline.event(source, event_id) if known is None else None
    depth = known.depth if known is not None else event.depth if event is not None else 0
    return Leaf(event_id, short, depth, trees.shorteventid_stateafter.get(source, short) or 0)


def _load(source: CacheSource, room_id: RoomId) -> tuple[Leaf, ...]:
    ids = [EventId(event_id) for _, event_id in trees.roomid_pduleaves.keys(source, (room_id,))]
    if not ids:
        newest = timeline.last_position(source, room_id)
        event = None if newest is None else timeline.event_at(source, newest)
        ids = [] if event is None else [event.event_id]
    return tuple([leaf for leaf in (_leaf(source, event_id) for event_id in ids) if leaf is not None])


_LEAVES: Cached[RoomId, tuple[Leaf, ...]] = Cached(
    "room_leaves", load=_load, weigh=lambda leaves: 100 + 200 * len(leaves)
)


def of(source: CacheSource, room_id: RoomId) -> tuple[Leaf, ...]:
    """Return the room's leaves; none for an unknown room."""
    return _LEAVES.get(source, room_id)


def begin(batch: Batch, room_id: RoomId) -> None:
    """Let a room that is being created have no leaves, which need not be looked for."""
    _LEAVES.set(batch, room_id, ())


def clear(batch: Batch, room_id: RoomId) -> None:
    """Let the room have no leaves: nobody here was in it for a time, and what comes next stands elsewhere in it."""
    trees.roomid_pduleaves.delete_prefix(batch, (room_id,))
    _LEAVES.set(batch, room_id, ())


def refresh(batch: Batch, room_id: RoomId) -> None:
    """Let the leaves be read anew: the states after them have changed."""
    _LEAVES.forget(batch, room_id)


def drop(batch: Batch, event: Event) -> None:
    """Let an event that was let in wrongly be no leaf; what it cites takes its place where nothing else is left."""
    room_id = event.room_id
    trees.roomid_pduleaves.delete(batch, (room_id, event.event_id))
    if not any(True for _ in trees.roomid_pduleaves.keys(batch, (room_id,))):
        for event_id in event.prev_events:
            if timeline.position(batch, event_id) is not None:
                trees.roomid_pduleaves.put(batch, (room_id, event_id), event_id)
    _LEAVES.forget(batch, room_id)


def give_up(batch: Batch, room_id: RoomId, given_up: Collection[Leaf]) -> None:
    """Let accepted events be leaves no longer although nothing cites them."""
    for leaf in given_up:
        trees.roomid_pduleaves.delete(batch, (room_id, leaf.event_id))
    _LEAVES.set(batch, room_id, tuple([leaf for leaf in _LEAVES.get(batch, room_id) if leaf not in given_up]))


def advance(batch: Batch, room_id: RoomId, event: Event, short: int, state: int, *, cited: bool = False) -> None:
    """Let an accepted event take the place of the leaves that it cites; `state` is the one after it.

    `cited` says that an accepted event cites it already (it came late): then it is no leaf itself.
    """
    held = _LEAVES.get(batch, room_id)
    previous = set(event.prev_events)
    if not previous <= {leaf.event_id for leaf in held}:
        previous |= _behind_unaccepted(batch, event)
    kept = []
    for leaf in held:
        if leaf.event_id in previous:
            trees.roomid_pduleaves.delete(batch, (room_id, leaf.event_id))
        else:
            kept.append(leaf)
    for event_id in previous:
        trees.referencedevents.put(batch, (room_id, event_id), True)
    if not cited:
        trees.roomid_pduleaves.put(batch, (room_id, event.event_id), event.event_id)
        kept.append(Leaf(event.event_id, short, event.depth, state))
    _LEAVES.set(batch, room_id, tuple(kept))


def remaining(source: CacheSource, event: Event) -> list[Leaf]:
    """Return the room's leaves that an event, were it accepted now, would leave as they are."""
    held = _LEAVES.get(source, event.room_id)
    previous = set(event.prev_events)
    if not previous <= {leaf.event_id for leaf in held}:
        previous |= _behind_unaccepted(source, event)
    return [leaf for leaf in held if leaf.event_id not in previous]


_MAX_BEHIND = 200
"""How many events are looked at behind refused ones; leaves further back stay until they are folded."""


def _behind_unaccepted(source: CacheSource, event: Event) -> set[EventId]:
    """Return what an event cites by way of rejected and soft-failed ones, which are no leaves and take nobody's place."""
    found: set[EventId] = set()
    waiting = list(event.prev_events)
    while waiting and len(found) < _MAX_BEHIND:
        event_id = waiting.pop()
        known = timeline.meta(source, event_id)
        if known is None or known.status not in (REJECTED, SOFT_FAILED):
            continue
        new = set(timeline.previous(source, event_id)) - found
        found |= new
        waiting += new
    return found


def is_cited(source: CacheSource, room_id: RoomId, event_id: EventId) -> bool:
    """Tell whether an accepted event of the room has the event among its `prev_events`."""
    return trees.referencedevents.has(source, (room_id, event_id))
