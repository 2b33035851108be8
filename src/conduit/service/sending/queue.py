"""The outgoing queues: what is to be sent to other servers, in the order of time over all rooms.

Rows are written in the batch of the event itself, so nothing accepted here is ever forgotten to be sent. The commit wakes the sender,
which waits on `("destination", server)`; nobody calls it.

    destination_queue     destination, PDU, count -> an event    while the destination is served, or fails for a short time
                          destination, EDU, count -> an EDU      always
    destination_behind    destination                            out of reach for so long that it will not get every event, but the newest
    destination_room      destination, room -> newest event      of each room, noted here instead of in the queue (`service.sending.catch_up`)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from conduit.database import layouts, trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.database.layouts import PduId
from conduit.protocol import canonical_json
from conduit.protocol.ids import ServerName

PDU, EDU = range(2)
"""Classes of queued items: events go before the rest of a transaction."""

_BEHIND: Cached[ServerName, bool] = Cached(
    "destination_behind", load=trees.destination_behind.has, weigh=lambda behind: 150
)
_LISTS = {"m.device_list_update": "user_id", "m.signing_key_update": "user_id"}
"""EDUs of which the newest of a user says enough to a server that is behind."""

Subject = tuple[str, str]
"""The type and the user of such an EDU."""

_NEWEST: Cached[tuple[ServerName, Subject], int] = Cached(
    "destination_newest_list", load=lambda source, key: 0, weigh=lambda count: 250
)
"""Which row holds the newest of a subject; 0 where it has been forgotten: `catch_up` finds what is superseded later."""


def enqueue_event(batch: Batch, place: PduId, destinations: Iterable[ServerName]) -> None:
    """Queue an event for other servers."""
    raw = layouts.PDU_ID.encode(place)
    for server in destinations:
        if is_behind(batch, server):
            trees.destination_room.put(batch, (server, place.room), place)
        else:
            trees.destination_queue.put(batch, (server, PDU, place.live), raw)
        batch.wake(("destination", server))


def enqueue_edu(batch: Batch, server: ServerName, edu: dict[str, Any]) -> None:
    """Queue an EDU (`{"edu_type", "content"}`) for a server: it is sent once, after everything queued before it, however long that takes.

    For what must not be lost: to-device messages, device lists, cross-signing keys. Typing, receipts and presence are not queued, but told
    as they are when the transaction is made. Of lists the newest takes the place of an older one of the user while the server is behind.
    """
    count = batch.next_count()
    subject = subject_of(edu)
    if subject is not None and is_behind(batch, server):
        superseded = _NEWEST.get(batch, (server, subject))
        if superseded:
            trees.destination_queue.delete(batch, (server, EDU, superseded))
        _NEWEST.set(batch, (server, subject), count)
    trees.destination_queue.put(batch, (server, EDU, count), canonical_json.encode(edu))
    batch.wake(("destination", server))


def subject_of(edu: Mapping[str, Any]) -> Subject | None:
    """Return what an EDU is about if a newer one about the same makes it needless to a server that is behind."""
    edu_type = edu.get("edu_type", "")
    name = _LISTS.get(edu_type)
    return None if name is None else (edu_type, str(edu.get("content", {}).get(name)))


def is_behind(source: CacheSource, server: ServerName) -> bool:
    """Tell whether the server gets only the newest event of each room when it is back."""
    return _BEHIND.get(source, server)


def set_behind(batch: Batch, server: ServerName, now_ms: int) -> None:
    """Let the server get only the newest event of each room from now on."""
    trees.destination_behind.put(batch, server, now_ms)
    _BEHIND.set(batch, server, True)


def set_up_to_date(batch: Batch, server: ServerName) -> None:
    """Let the server get every event from now on."""
    trees.destination_behind.delete(batch, server)
    _BEHIND.set(batch, server, False)


def destinations(source: CacheSource) -> Iterator[ServerName]:
    """Return every server for which something is queued, noted or in flight, in the order of their names."""
    known: set[str] = set(trees.destination_transaction.keys(source))
    known.update(trees.destination_behind.keys(source))
    row = trees.destination_queue.first(source)
    while row is not None:
        known.add(row[0][0])
        row = trees.destination_queue.first(source, after=row[0][0])
    return (ServerName(server) for server in sorted(known))


def oldest(source: CacheSource, server: ServerName) -> int | None:
    """Return the count of what has waited longest for the server, or `None`."""
    rows = [trees.destination_queue.first(source, (server, kind)) for kind in (PDU, EDU)]
    return min((row[0][2] for row in rows if row is not None), default=None)


def lengths(source: CacheSource, server: ServerName) -> tuple[int, int]:
    """Return how many events (rooms, of a server that is behind) and how many EDUs wait for the server."""
    events = sum(1 for _ in trees.destination_queue.keys(source, (server, PDU)))
    if is_behind(source, server):
        events += sum(1 for _ in trees.destination_room.keys(source, (server,)))
    return events, sum(1 for _ in trees.destination_queue.keys(source, (server, EDU)))
