"""Events and their places: reading one by its id, and a room's timeline in order.

An event has a place in its room's timeline (`PduId`), or none: then it is an outlier, known because state or authorisation needs it.
What is read here is always what may be shown: a redacted event comes pruned, a rejected one not at all.

    position            stands for
    room, n             live event, in the order of arrival
    room, 0, n          history before all live events; greater n = earlier
    room, c, n          history filled in later, right after live event c; greater n = earlier
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import orjson

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.database.errors import Corrupt
from conduit.database.layouts import REJECTED, EventMeta, PduId
from conduit.protocol.ids import EventId, RoomId
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import RoomVersion, version_of_create
from conduit.service.rooms import short_ids, versions

_CREATE = b'"m.room.create"'


def _version_for(source: CacheSource, event_id: EventId, data: bytes) -> RoomVersion:
    pdu = orjson.loads(data)
    if pdu["type"] == "m.room.create":
        return version_of_create(pdu["content"])
    return versions.version_of(source, pdu["room_id"])


def _decode(event_id: EventId, data: bytes, version: RoomVersion, is_redacted: bool) -> Event:
    try:
        event = Event.from_stored(data, version)
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(trees.pduid_pdu.name, event_id.encode(), f"not an event: {error!r}") from error
    return event.redacted() if is_redacted else event


def _load(source: CacheSource, event_id: EventId) -> Event | None:
    position = trees.eventid_pduid.get(source, event_id)
    if position is not None:
        data = trees.pduid_pdu.get(source, position)
        if data is None:
            raise Corrupt(trees.eventid_pduid.name, event_id.encode(), "the event is not at its position")
        version = versions.version_of(source, short_ids.room_of(source, position.room))
        return _decode(event_id, data, version, is_redacted(source, event_id))
    data = trees.eventid_outlierpdu.get(source, event_id)
    if data is None:
        return None
    known = meta(source, event_id)
    if known is not None and known.status == REJECTED:
        return None
    return _decode(event_id, data, _version_for(source, event_id, data), is_redacted(source, event_id))


def _load_many(source: CacheSource, event_ids: list[EventId]) -> list[Event | None]:
    positions = trees.eventid_pduid.get_many(source, event_ids)
    rows = iter(trees.pduid_pdu.get_many(source, [place for place in positions if place is not None]))
    elsewhere = [event_id for event_id, place in zip(event_ids, positions, strict=True) if place is None]
    outliers = iter(_outliers(source, elsewhere)) if elsewhere else iter(())
    redactions = trees.redacted.get_many(source, event_ids)
    found: list[Event | None] = []
    room, version = 0, None
    for event_id, place, redaction in zip(event_ids, positions, redactions, strict=True):
        if place is None:
            outlier = next(outliers)
            found.append(None if outlier is None else _decode(event_id, *outlier, redaction is not None))
            continue
        data = next(rows)
        if data is None:
            found.append(_load(source, event_id))
            continue
        if version is None or place.room != room:
            room, version = place.room, versions.version_of(source, short_ids.room_of(source, place.room))
        found.append(_decode(event_id, data, version, redaction is not None))
    return found


def _outliers(source: CacheSource, event_ids: list[EventId]) -> Iterator[tuple[bytes, RoomVersion] | None]:
    """Yield the bytes and the version of each event that is in no timeline; `None` for one that is unknown or was rejected."""
    shorts = short_ids.short_events(source, event_ids)
    known = iter(facts_of(source, [short for short in shorts if short is not None]))
    room, version = 0, None
    for event_id, short, data in zip(
        event_ids, shorts, trees.eventid_outlierpdu.get_many(source, event_ids), strict=True
    ):
        facts = None if short is None else next(known)
        if data is None or (facts is not None and facts.status == REJECTED):
            yield None
        elif facts is None or _CREATE in data:
            yield data, _version_for(source, event_id, data)
        else:
            if version is None or facts.room != room:
                room, version = facts.room, versions.version_of(source, short_ids.room_of(source, facts.room))
            yield data, version


def _weigh(event: Event | None) -> int:
    return 100 if event is None else 1600 + 2 * len(orjson.dumps(event.content))


_EVENT: Cached[EventId, Event | None] = Cached("event", load=_load, weigh=_weigh, load_many=_load_many)
_AT: Cached[PduId, EventId | None] = Cached("event_at", load=lambda source, position: None, weigh=lambda event_id: 200)
"""Which event is at a position, so that a scan finds events that are decoded already; filled by scans and appends."""


def event(source: CacheSource, event_id: EventId) -> Event | None:
    """Return an event, pruned if it is redacted; `None` if it is unknown or was rejected."""
    return _EVENT.get(source, event_id)


def events(source: CacheSource, event_ids: Sequence[EventId], *, keep: bool = True) -> list[Event]:
    """Return those of the events that are known and were not rejected, in the order of their ids. `keep` is the cache's."""
    return [found for found in _EVENT.get_many(source, event_ids, keep=keep) if found is not None]


def is_redacted(source: CacheSource, event_id: EventId) -> bool:
    """Tell whether a valid redaction applies to the event."""
    return trees.redacted.has(source, event_id)


def redaction_of(source: CacheSource, event_id: EventId) -> Event | None:
    """Return the redaction that applies to an event, or `None`."""
    redaction = trees.redacted.get(source, event_id)
    return None if redaction is None else event(source, EventId(redaction))


def unredacted(source: CacheSource, event_id: EventId) -> Event | None:
    """Return an event as it was sent, whether it has been redacted or not: for administration and other servers only."""
    known = event(source, event_id)
    if known is None or not is_redacted(source, event_id):
        return known
    data = versions.stored_event(source, event_id)
    return None if data is None else Event.from_stored(data, known.version)


_FACTS: Cached[int, EventMeta | None] = Cached(
    "event_facts",
    load=trees.shorteventid_meta.get,
    load_many=trees.shorteventid_meta.get_many,
    weigh=lambda known: 100 if known is None else 250 + 40 * len(known.auth),
)


def meta(source: CacheSource, event_id: EventId) -> EventMeta | None:
    """Return what is known of an event without reading it (status, room, depth, auth events), or `None`."""
    short = short_ids.short_event(source, event_id)
    return None if short is None else _FACTS.get(source, short)


def facts(source: CacheSource, short: int) -> EventMeta | None:
    """Return what is known of a short event without reading it, or `None`."""
    return _FACTS.get(source, short)


def facts_of(source: CacheSource, shorts: Sequence[int]) -> list[EventMeta | None]:
    """Return what is known of short events, in their order."""
    return _FACTS.get_many(source, shorts)


def _load_previous(source: CacheSource, event_id: EventId) -> tuple[EventId, ...]:
    data = versions.stored_event(source, event_id)
    cited = [] if data is None else orjson.loads(data)["prev_events"]
    # Versions 1 and 2 cite pairs of id and hash.
    return tuple([EventId(one if isinstance(one, str) else one[0]) for one in cited])


_PREVIOUS: Cached[EventId, tuple[EventId, ...]] = Cached(
    "previous_events", load=_load_previous, weigh=lambda cited: 100 + 120 * len(cited)
)


def previous(source: CacheSource, event_id: EventId) -> tuple[EventId, ...]:
    """Return what a stored event follows, whatever its status; none for an unknown one. It is not decoded for that each time: somebody may have built hundreds on each other."""
    return _PREVIOUS.get(source, event_id)


def position(source: CacheSource, event_id: EventId) -> PduId | None:
    """Return the event's place in its room's timeline; `None` for an outlier or an unknown event."""
    return trees.eventid_pduid.get(source, event_id)


def event_at(source: CacheSource, place: PduId) -> Event | None:
    """Return the event at a position, or `None`."""
    data = trees.pduid_pdu.get(source, place)
    return None if data is None else _at(source, place, data)


def id_at(source: CacheSource, place: PduId) -> EventId | None:
    """Return the id of the event at a position, or `None`; what was scanned or appended lately is not read again."""
    event_id = _AT.peek(source, place)
    if event_id is not None:
        return event_id
    found = event_at(source, place)
    return None if found is None else found.event_id


def scan(
    source: CacheSource,
    room_id: RoomId,
    *,
    after: PduId | None = None,
    before: PduId | None = None,
    reverse: bool = False,
) -> Iterator[tuple[PduId, Event]]:
    """Return the events of a room's timeline with their positions, oldest first or newest first; both bounds are exclusive.

    Lazy, and as of its first step: exhaust or close it soon, and await nothing in between.
    """
    room = short_ids.short_room(source, room_id)
    if room is None:
        return
    for place, data in trees.pduid_pdu.scan(source, (room,), after=after, before=before, reverse=reverse):
        yield place, _at(source, place, data)


def positions(
    source: CacheSource,
    room_id: RoomId,
    *,
    after: PduId | None = None,
    before: PduId | None = None,
    reverse: bool = False,
) -> Iterator[PduId]:
    """Return the positions that `scan` would, without the events."""
    room = short_ids.short_room(source, room_id)
    if room is not None:
        yield from trees.pduid_pdu.keys(source, (room,), after=after, before=before, reverse=reverse)


def _at(source: CacheSource, place: PduId, data: bytes) -> Event:
    event_id = _AT.peek(source, place)
    if event_id is None:
        event_id = orjson.loads(data)["event_id"]
        _AT.fill(source, place, event_id)
    found = _EVENT.peek(source, event_id)
    if found is None:
        version = versions.version_of(source, short_ids.room_of(source, place.room))
        found = _decode(event_id, data, version, is_redacted(source, event_id))
        _EVENT.fill(source, event_id, found)
    return found


def _load_last(source: CacheSource, room: int) -> PduId | None:
    return next(trees.pduid_pdu.keys(source, (room,), reverse=True), None)


_LAST: Cached[int, PduId | None] = Cached("last_position", load=_load_last, weigh=lambda place: 200)


TAIL = 32
"""How many events `newest` gives."""

Entry = tuple[PduId, EventId]


def _load_tail(source: CacheSource, room: int) -> tuple[Entry, ...]:
    rows = islice(trees.pduid_pdu.scan(source, (room,), reverse=True), TAIL)
    return tuple([(place, _at(source, place, data).event_id) for place, data in rows])[::-1]


_TAIL: Cached[int, tuple[Entry, ...]] = Cached(
    "newest_events", load=_load_tail, weigh=lambda entries: 100 + 250 * len(entries)
)


def newest(source: CacheSource, room_id: RoomId) -> Sequence[Entry]:
    """Return the positions and ids of a room's newest events, oldest first; fewer than `TAIL` only if that is the whole timeline."""
    room = short_ids.short_room(source, room_id)
    return () if room is None else _TAIL.get(source, room)


def last_position(source: CacheSource, room_id: RoomId) -> PduId | None:
    """Return the position of a room's newest event, or `None` for a room without timeline."""
    room = short_ids.short_room(source, room_id)
    return None if room is None else _LAST.get(source, room)


def first_position(source: CacheSource, room_id: RoomId) -> PduId | None:
    """Return the position of the oldest event that is held of a room, or `None`."""
    return next(positions(source, room_id), None)


def transaction_of(source: CacheSource, event_id: EventId) -> tuple[str, str, str] | None:
    """Return (user, device, transaction id) under which a local device sent the event, if that is remembered."""
    short = short_ids.short_event(source, event_id)
    known = None if short is None else _FACTS.get(source, short)
    if short is None or known is None:
        return None
    return trees.event_transaction.get(source, (known.room, short))


# --- writing -------------------------------------------------------------------------------------------------------


def begin(batch: Batch, room: int) -> None:
    """Know that a room which is being made has no events yet, so that none are looked for."""
    _TAIL.set(batch, room, ())


def append(batch: Batch, event: Event, short: int, facts: EventMeta, place: PduId) -> None:
    """Put an accepted event at a position of its room's timeline. Its short ids exist, and it has passed every check."""
    trees.pduid_pdu.put(batch, place, event.stored())
    trees.eventid_pduid.put(batch, event.event_id, place)
    _put_facts(batch, short, facts)
    room = place.room
    trees.room_events.put(batch, (room, short), True)
    _EVENT.set(batch, event.event_id, event)
    _AT.set(batch, place, event.event_id)
    last = _LAST.peek(batch, room)
    if last is None:
        _LAST.forget(batch, room)
    elif place.order() > last.order():
        _LAST.set(batch, room, place)
    tail = _TAIL.peek(batch, room)
    if tail is not None and (not tail or place.order() > tail[-1][0].order()):
        _TAIL.set(batch, room, (*tail[1 - TAIL :], (place, event.event_id)))
    else:
        _TAIL.forget(batch, room)


def put_outlier(batch: Batch, event: Event, short: int, facts: EventMeta) -> None:
    """Keep an event outside of the timeline; `facts.status` says as what."""
    keep_outlier(batch, event.event_id, event.stored(), short, facts)
    _FACTS.set(batch, short, facts)
    if facts.status != REJECTED and not is_redacted(batch, event.event_id):
        _EVENT.set(batch, event.event_id, event)


def keep_outlier(batch: Batch, event_id: EventId, data: bytes, short: int, facts: EventMeta) -> None:
    """As `put_outlier`, for who has the event as the bytes of `Event.stored`, one of very many: it is not kept in memory."""
    trees.eventid_outlierpdu.put(batch, event_id, data)
    trees.shorteventid_meta.put(batch, short, facts)
    trees.room_events.put(batch, (facts.room, short), True)
    _FACTS.forget(batch, short)
    _EVENT.forget(batch, event_id)


def end_outlier(batch: Batch, event_id: EventId) -> None:
    """Let an event be no outlier any more: it is about to be put into the timeline."""
    trees.eventid_outlierpdu.delete(batch, event_id)
    trees.softfailedeventids.delete(batch, event_id)


def withdraw(batch: Batch, event: Event, short: int, place: PduId, facts: EventMeta) -> None:
    """Take an event out of the timeline again: it was let in wrongly. It is kept as an outlier; `facts.status` says as what."""
    trees.pduid_pdu.delete(batch, place)
    trees.eventid_pduid.delete(batch, event.event_id)
    _AT.forget(batch, place)
    _LAST.forget(batch, place.room)
    _TAIL.forget(batch, place.room)
    put_outlier(batch, event, short, facts)


def _put_facts(batch: Batch, short: int, facts: EventMeta) -> None:
    trees.shorteventid_meta.put(batch, short, facts)
    _FACTS.set(batch, short, facts)


def forget_cached(batch: Batch, event_id: EventId) -> None:
    """Let the event be read anew: it was redacted, or its status has changed."""
    _EVENT.forget(batch, event_id)
