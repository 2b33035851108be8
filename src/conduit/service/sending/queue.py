"""The outgoing queues: what is to be sent to other servers, in the order of time over all rooms.

Rows are written in the batch of the event itself, so nothing accepted here is ever forgotten to be sent. The commit wakes the sender,
which waits on `("destination", server)`; nobody calls it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from conduit.database import layouts, trees
from conduit.database.database import Batch
from conduit.database.layouts import PduId
from conduit.protocol import canonical_json
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


def enqueue_edu(batch: Batch, server: ServerName, edu: dict[str, Any]) -> None:
    """Queue an EDU (`{"edu_type", "content"}`) for a server: it is sent once, after everything queued before it, however long that takes.

    For what must not be lost: to-device messages, device lists, cross-signing keys. Typing, receipts and presence are not queued, but told
    as they are when the transaction is made.
    """
    trees.destination_queue.put(batch, (server, EDU, batch.next_count()), canonical_json.encode(edu))
    batch.wake(("destination", server))
