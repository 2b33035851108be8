"""Relations between events: which events edit, annotate, continue or cite another one.

A row is written when the relating event is accepted, whether or not its target is known yet, and removed when it is redacted. Rows lie by
target and then by whole position, so that one room's are never mixed with another's and a page of them is one short scan.

Source: client-server API, "Forming relationships between events".
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from conduit.database import layouts, trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.codec import U64
from conduit.database.database import Batch
from conduit.database.layouts import PduId, Relation
from conduit.protocol import relations as rules
from conduit.protocol.ids import EventId, is_event_id
from conduit.protocol.pdu import Event
from conduit.service.rooms import short_ids, timeline


class Related(NamedTuple):
    """An event that relates to another one."""

    position: PduId
    short: int
    rel_type: str
    event_type: str
    sender: str


def _load(source: CacheSource, key: tuple[int, int]) -> tuple[Related, ...]:
    target, room = key
    rows = trees.relation.scan(source, (target,), start=U64.encode(room), before=U64.encode(room + 1))
    return tuple([Related(layouts.PDU_ID.decode(position), *row) for (_, position), row in rows])


_ROWS: Cached[tuple[int, int], tuple[Related, ...]] = Cached(
    "relations", load=_load, weigh=lambda rows: 100 + 200 * len(rows)
)


def of(source: CacheSource, event_id: EventId) -> tuple[Related, ...]:
    """Return all that relates to an event in its room, in the order of the timeline; none for an unknown event."""
    short = short_ids.short_event(source, event_id)
    if short is None:
        return ()
    room = _room_of(source, event_id, short)
    return () if room is None else _ROWS.get(source, (short, room))


def in_room(source: CacheSource, target: int, room: int) -> tuple[Related, ...]:
    """Return all that relates to a short event within a short room, whether the target is known or not."""
    return _ROWS.get(source, (target, room))


def _room_of(source: CacheSource, event_id: EventId, short: int) -> int | None:
    place = timeline.position(source, event_id)
    if place is not None:
        return place.room
    known = trees.shorteventid_meta.get(source, short)
    return None if known is None else known.room


def page(
    source: CacheSource,
    event_id: EventId,
    *,
    rel_type: str | None = None,
    event_type: str | None = None,
    after: PduId | None = None,
    before: PduId | None = None,
    reverse: bool = False,
) -> Iterator[Related]:
    """Return those events that relate to an event by `rel_type` and are of `event_type`, between two positions, both exclusive."""
    rows = of(source, event_id)
    for row in reversed(rows) if reverse else rows:
        order = row.position.order()
        if (after is not None and order <= after.order()) or (before is not None and order >= before.order()):
            continue
        if (rel_type is None or row.rel_type == rel_type) and (event_type is None or row.event_type == event_type):
            yield row


def references(source: CacheSource, event_id: EventId) -> list[EventId]:
    """Return the events that cite an event by `m.reference`, oldest first."""
    shorts = [row.short for row in of(source, event_id) if row.rel_type == rules.REFERENCE]
    return short_ids.events_of(source, shorts) if shorts else []


def edit_of(source: CacheSource, event: Event) -> Event | None:
    """Return the edit that now stands for an event: of the valid ones the latest by time, then by id; `None` if there is none."""
    rows = of(source, event.event_id)
    candidates = [row.short for row in rows if row.rel_type == rules.REPLACE and row.sender == event.sender]
    if not candidates:
        return None
    edits = timeline.events(source, short_ids.events_of(source, candidates))
    valid = [edit for edit in edits if rules.is_valid_edit(event, edit)]
    return max(valid, key=lambda edit: (edit.origin_server_ts, edit.event_id), default=None)


# --- writing -------------------------------------------------------------------------------------------------------


def begin(batch: Batch, short: int, room: int) -> None:
    """Know that nothing relates yet to an event which nobody could name before, so that nothing is looked for."""
    _ROWS.set(batch, (short, room), ())


def record(batch: Batch, event: Event, short: int, place: PduId) -> None:
    """Write the row of an accepted event's relation, if it declares one."""
    relation = rules.relation_of(event.content)
    if relation is None or not is_event_id(relation.event_id):
        return
    target = short_ids.ensure_event(batch, relation.event_id)
    row = Relation(short, relation.rel_type, event.type, event.sender)
    trees.relation.put(batch, (target, layouts.PDU_ID.encode(place)), row)
    slot = (target, place.room)
    held = _ROWS.peek(batch, slot)
    if held is not None and (not held or held[-1].position.order() < place.order()):
        _ROWS.set(batch, slot, (*held, Related(place, *row)))
    else:
        _ROWS.forget(batch, slot)
    if relation.rel_type == rules.ANNOTATION and relation.key is not None:
        trees.annotation.put(batch, (target, _annotation(event.type, relation.key), event.sender), short)


def remove(batch: Batch, event: Event, place: PduId) -> None:
    """Remove the row of an event's relation: it is being redacted. `event` still has its content."""
    relation = rules.relation_of(event.content)
    target = None if relation is None else short_ids.short_event(batch, relation.event_id)
    if relation is None or target is None:
        return
    trees.relation.delete(batch, (target, layouts.PDU_ID.encode(place)))
    _ROWS.forget(batch, (target, place.room))
    if relation.rel_type == rules.ANNOTATION and relation.key is not None:
        slot = (target, _annotation(event.type, relation.key), event.sender)
        if trees.annotation.get(batch, slot) == short_ids.short_event(batch, event.event_id):
            trees.annotation.delete(batch, slot)


def _annotation(event_type: str, key: str) -> bytes:
    return sha256(event_type.encode() + b"\xff" + key.encode()).digest()


def has_annotated(source: CacheSource, target: EventId, event_type: str, key: str, sender: str) -> bool:
    """Tell whether `sender` has annotated an event with `key` by an event of that type, and not taken it back."""
    short = short_ids.short_event(source, target)
    return short is not None and trees.annotation.has(source, (short, _annotation(event_type, key), sender))
