"""The outgoing queues: what is to be sent to other servers, in the order of time over all rooms.

Rows are written in the batch of the event itself, so nothing accepted here is ever forgotten to be sent. The commit wakes the sender,
which waits on `("destination", server)`; nobody calls it.
"""

from __future__ import annotations

from collections.abc import Iterable

from conduit.database import layouts, trees
from conduit.database.database import Batch
from conduit.database.layouts import PduId
from conduit.protocol.ids import ServerName

PDU, EDU = range(2)
"""Classes of queued items: events go before the rest of a transaction."""


def enqueue_event(batch: Batch, place: PduId, destinations: Iterable[ServerName]) -> None:
    """Queue an event of ours for other servers: its row in order of time, and as the newest of its room for catching up."""
    raw = layouts.PDU_ID.encode(place)
    for server in destinations:
        trees.destination_queue.put(batch, (server, PDU, place.live), raw)
        trees.destination_room.put(batch, (server, place.room), place)
        batch.wake(("destination", server))
