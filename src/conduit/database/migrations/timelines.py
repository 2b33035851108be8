"""Step: one pass over all timelines, room by room, and over the events outside of them.

Each event is decoded once and handed to everything that is derived from single events: its facts, the states around it, relations, redactions, unread counts,
and who came and went. What a room as a whole needs is written when its last event was seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from conduit.database import layouts, trees
from conduit.database.layouts import ACCEPTED, OUTLIER, SOFT_FAILED, EventMeta, PduId
from conduit.database.migrations import memberships, redactions, relations, states, unread
from conduit.database.migrations.bulk import Bulk, server_name
from conduit.database.migrations.layers import Layers
from conduit.protocol.errors import MatrixError
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import RoomVersion, version_of_create


@dataclass
class Room:
    """What is gathered of a room on the way through its timeline."""

    room_id: str
    short: int
    version: RoomVersion
    state: int
    """The current one, 0 if there is none."""
    last: tuple[PduId, Event] | None = None
    steps: states.Steps = field(default_factory=states.Steps)
    threads: relations.Threads = field(default_factory=relations.Threads)
    notifying: unread.Counting = field(default_factory=unread.Counting)
    transitions: memberships.Transitions = field(default_factory=memberships.Transitions)
    pruned: dict[str, str] = field(default_factory=dict)
    """Pruned event -> the redaction that it names."""


def run(bulk: Bulk) -> None:
    """Derive everything that follows from events. Trees that hold the present are cleared first."""
    bulk.clear(trees.roomstate, trees.membership, trees.membership_stream)
    layers = Layers(bulk)
    home = server_name(bulk.db)
    seen: set[int] = set()
    for room, events in _timelines(bulk, layers):
        seen.add(room.short)
        unread.begin(bulk, room.short, room.version, layers, room.state, room.notifying)
        relations.begin(bulk, room.short)
        for place, event, data in events:
            _take(bulk, layers, room, place, event, data, home)
            bulk.count()
        _finish(bulk, layers, room, home)
    for room_id, state in bulk.rows(trees.roomid_shortstatehash):
        short = bulk.room(room_id)
        version = _version(bulk, layers, state, None)
        if short not in seen and version is not None:
            seen.add(short)
            _finish(bulk, layers, Room(room_id, short, version, state), home)
    memberships.settle_rest(bulk, seen)
    _outliers(bulk, layers)


def _timelines(bulk: Bulk, layers: Layers) -> Iterator[tuple[Room, Iterator[tuple[PduId, Event, bytes]]]]:
    shorts = [short for short, _ in bulk.rows(trees.shortroomid_roomid)]
    for short in shorts:
        first = trees.pduid_pdu.first(bulk, (short,))
        room_id = trees.shortroomid_roomid.get(bulk, short)
        if first is None or room_id is None:
            continue
        state = trees.roomid_shortstatehash.get(bulk, room_id) or 0
        version = _version(bulk, layers, state, first[1])
        if version is None:
            bulk.skip(trees.pduid_pdu, layouts.PDU_ID.encode(first[0]), "a room of unknown version")
            continue
        yield Room(room_id, short, version, state), _events(bulk, short, version)


def _events(bulk: Bulk, room: int, version: RoomVersion) -> Iterator[tuple[PduId, Event, bytes]]:
    for place, data in trees.pduid_pdu.scan(bulk.db, (room,)):
        event = decode(bulk, data, version)
        if event is not None:
            yield place, event, data


def decode(bulk: Bulk, data: bytes, version: RoomVersion) -> Event | None:
    """Return the event in a stored row, or `None`, with a warning, if it is none."""
    try:
        return Event.from_stored(data, version)
    except (ValueError, KeyError, TypeError, MatrixError) as error:
        bulk.skip(trees.pduid_pdu, data[:80], f"not an event: {error!r}")
        return None


def _version(bulk: Bulk, layers: Layers, state: int, first: bytes | None) -> RoomVersion | None:
    """Return a room's version by the create event of its state, or by the first event of its timeline."""
    key = trees.statekey_shortstatekey.get(bulk, ("m.room.create", ""))
    short = None if key is None else layers.look_up(state, key)
    event_id = None if short is None else trees.shorteventid_eventid.get(bulk, short)
    data = stored_event(bulk, event_id) if event_id is not None else first
    try:
        create = orjson.loads(data or b"{}")
        return version_of_create(create["content"]) if create["type"] == "m.room.create" else None
    except (ValueError, KeyError, TypeError, AttributeError, MatrixError):
        return None


def stored_event(bulk: Bulk, event_id: str) -> bytes | None:
    """Return an event's bytes, from its timeline or from outside of it."""
    place = trees.eventid_pduid.get(bulk, event_id)
    return trees.eventid_outlierpdu.get(bulk, event_id) if place is None else trees.pduid_pdu.get(bulk, place)


def _take(bulk: Bulk, layers: Layers, room: Room, place: PduId, event: Event, data: bytes, home: str | None) -> None:
    short = bulk.event(event.event_id)
    if not trees.eventid_pduid.has(bulk, event.event_id):
        trees.eventid_pduid.put(bulk, event.event_id, place)
    _describe(bulk, event, short, ACCEPTED, room.short)
    states.take(bulk, layers, room.steps, event, short)
    relations.take(bulk, room.threads, event, short, place)
    redactions.take(bulk, room.pruned, event, data)
    if not place.back:
        room.transitions.take(event, place.live)
        unread.take(bulk, room.notifying, event, place, home)
    room.last = (place, event)


def _finish(bulk: Bulk, layers: Layers, room: Room, home: str | None) -> None:
    states.finish(bulk, layers, room.steps, room.state)
    relations.finish(bulk, room.short, room.threads)
    redactions.finish(bulk, room.pruned)
    unread.finish(bulk, room.notifying, room.short)
    states.write_present(bulk, layers, room.room_id, room.short, room.state, room.last[0] if room.last else None)
    memberships.settle(bulk, layers, room.room_id, room.state, room.transitions, home)
    _check_leaves(bulk, room)


def _check_leaves(bulk: Bulk, room: Room) -> None:
    leaves = [event_id for _, event_id in trees.roomid_pduleaves.keys(bulk, (room.room_id,))]
    accepted = [event_id for event_id in leaves if trees.eventid_pduid.has(bulk, event_id)]
    for event_id in leaves:
        if event_id not in accepted:
            trees.roomid_pduleaves.delete(bulk, (room.room_id, event_id))
    if not accepted and room.last is not None:
        event_id = room.last[1].event_id
        trees.roomid_pduleaves.put(bulk, (room.room_id, event_id), event_id)


def _outliers(bulk: Bulk, layers: Layers) -> None:
    versions: dict[str, RoomVersion | None] = {}
    for event_id, data in bulk.rows(trees.eventid_outlierpdu):
        if trees.eventid_pduid.has(bulk, event_id):
            trees.eventid_outlierpdu.delete(bulk, event_id)
            continue
        room_id = _room_of(event_id, data)
        if room_id not in versions:
            state = trees.roomid_shortstatehash.get(bulk, room_id) or 0
            versions[room_id] = _version(bulk, layers, state, None)
        version = versions[room_id] or _version(bulk, layers, 0, data)
        event = None if version is None else decode(bulk, data, version)
        if event is None:
            continue
        short = bulk.event(event.event_id)
        failed = trees.softfailedeventids.has(bulk, event.event_id)
        _describe(bulk, event, short, SOFT_FAILED if failed else OUTLIER, bulk.room(event.room_id))
        if failed:
            states.around_soft_failed(bulk, layers, event, short)
        bulk.count()


def _room_of(event_id: str, data: bytes) -> str:
    try:
        room_id = orjson.loads(data).get("room_id")
    except (ValueError, AttributeError):
        room_id = None
    return room_id if isinstance(room_id, str) else "!" + event_id[1:]


def _describe(bulk: Bulk, event: Event, short: int, status: int, room: int) -> None:
    auth = bulk.events(event.auth_events)
    trees.shorteventid_meta.put(bulk, short, EventMeta(status, room, max(event.depth, 0), auth))
    trees.room_events.put(bulk, (room, short), True)
