"""Servers that were out of reach for long: when they are back they get the newest event of each room, and ask for what lies between.

Sending all that has happened would take them long, and most of it is of no use any more. So once a server has failed for `OUTAGE_MS` its queue of events is
folded into one row a room; from then on `queue.enqueue_event` writes such rows only. Of the EDUs in its queue none is lost that matters: to-device messages stay, and of
the device list updates of a user the newest, whose `prev_id` tells the server that some are missing. A server that has been gone for a month is taken for dead: then to-device
messages are dropped too, for nobody knows whether it will ever come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice

import orjson

from conduit.database import layouts, trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch, Database
from conduit.database.layouts import PduId
from conduit.protocol.ids import EventId, ServerName, server_name_of
from conduit.service.rooms import leaves, members, server_access, short_ids, timeline
from conduit.service.sending import queue

OUTAGE_MS = 3_600_000
"""After this time without success a server is behind."""
MAX_LEAVES = 10
"""How many leaves of a room a server gets that was behind."""
DEAD_MS = 30 * 86_400_000
"""After this time without success messages to the server's devices are not kept any longer."""
_STEP = 1000


async def fall_behind(db: Database, server: ServerName, now_ms: int) -> None:
    """Fold what waits for the server: its queue of events into `destination_room`, its device list updates into the newest of each user."""
    if not queue.is_behind(db, server):
        with db.batch() as batch:
            trees.destination_room.delete_prefix(batch, (server,))
            queue.set_behind(batch, server, now_ms)
    while True:
        if not _fold_events(db, server):
            break
        await asyncio.sleep(0)
    await _fold_edus(db, server)


def is_folded(source: CacheSource, server: ServerName) -> bool:
    """Tell whether no event is left in the queue of a server that is behind; some are if the server was stopped meanwhile."""
    return trees.destination_queue.first(source, (server, queue.PDU)) is None


def _fold_events(db: Database, server: ServerName) -> bool:
    """Fold some rows; tell whether there may be more."""
    rows = list(islice(trees.destination_queue.scan(db, (server, queue.PDU)), _STEP))
    if rows:
        with db.batch() as batch:
            for key, raw in rows:
                place = layouts.PDU_ID.decode(raw)
                newest = trees.destination_room.get(batch, (server, place.room))
                if newest is None or newest.order() < place.order():
                    trees.destination_room.put(batch, (server, place.room), place)
                trees.destination_queue.delete(batch, key)
    return len(rows) == _STEP


async def _fold_edus(db: Database, server: ServerName) -> None:
    seen: set[tuple[str, str]] = set()
    before: int | None = None
    while True:
        rows = list(islice(trees.destination_queue.scan(db, (server, queue.EDU), before=before, reverse=True), _STEP))
        superseded = []
        for key, raw in rows:
            subject = queue.subject_of(orjson.loads(raw))
            if subject is None:
                continue
            if subject in seen:
                superseded.append(key)
            seen.add(subject)
        if superseded:
            with db.batch() as batch:
                for key in superseded:
                    trees.destination_queue.delete(batch, key)
        if len(rows) < _STEP:
            return
        before = rows[-1][0][2]
        await asyncio.sleep(0)


async def drop_messages(db: Database, server: ServerName) -> int:
    """Delete the messages to devices that wait for a server that is dead, and return how many there were."""
    dropped = 0
    last: int | None = None
    while True:
        rows = list(islice(trees.destination_queue.scan(db, (server, queue.EDU), after=last), _STEP))
        gone = [key for key, raw in rows if orjson.loads(raw).get("edu_type") == "m.direct_to_device"]
        if gone:
            with db.batch() as batch:
                for key in gone:
                    trees.destination_queue.delete(batch, key)
        dropped += len(gone)
        if len(rows) < _STEP:
            return dropped
        last = rows[-1][0][2]
        await asyncio.sleep(0)


def rooms(source: CacheSource, server: ServerName) -> Iterator[PduId]:
    """Return the newest event of each room that the server has still to be told of."""
    return (place for _, place in trees.destination_room.scan(source, (server,)))


def events_for(source: CacheSource, server: ServerName, place: PduId) -> list[EventId]:
    """Return what to send a server of a room whose newest event for it is at `place`: from that it finds all that it has missed.

    That event itself if it is a leaf of the room, or the last that concerns the server. Else the room's leaves, of whichever server, but not its own.
    """
    event_id = timeline.id_at(source, place)
    if event_id is None:
        return []
    room_id = short_ids.room_of(source, place.room)
    if not server_access.is_allowed(source, room_id, server):
        return []
    newest = [leaf.event_id for leaf in leaves.of(source, room_id)]
    if event_id in newest or not members.has_server(source, room_id, server):
        return [event_id]
    found = timeline.events(source, newest[-MAX_LEAVES:])
    return [leaf.event_id for leaf in found if server_name_of(leaf.sender) != server] or [event_id]


def forget_room(batch: Batch, server: ServerName, place: PduId) -> None:
    """Note that the server has got the events of the room up to `place`."""
    if trees.destination_room.get(batch, (server, place.room)) == place:
        trees.destination_room.delete(batch, (server, place.room))
