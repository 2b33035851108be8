"""Step: what Conduit had still to send. Rows for other servers and application services are moved into our queues.

Waiting push notifications are dropped: each device learns of everything at its next /sync.
"""

from __future__ import annotations

import orjson

from conduit.database import layouts, trees
from conduit.database.migrations.bulk import Bulk

_PDU, _EDU = 0, 1


def run(bulk: Bulk) -> None:
    """Move both of Conduit's queues, the transaction in flight first."""
    for tree in (trees.servercurrentevent_data, trees.servernameevent_data):
        for key, value in bulk.rows(tree):
            destination, item = key
            if not destination[0].startswith("$"):
                _move(bulk, destination[0], item, value)
            tree.delete(bulk, key)
            bulk.count()


def _move(bulk: Bulk, destination: str, item: bytes, value: bytes) -> None:
    if value:
        if len(item) != 8:
            return
        count = int.from_bytes(item, "big")
        if destination.startswith("+"):
            trees.appservice_queue.put(bulk, (destination[1:], count), orjson.loads(value))
        else:
            trees.destination_queue.put(bulk, (destination, _EDU, count), value)
        return
    try:
        place = layouts.PDU_ID.decode(item)
    except ValueError:
        return
    data = trees.pduid_pdu.get(bulk, place)
    if data is None or place.back:
        return
    if destination.startswith("+"):
        trees.appservice_queue.put(bulk, (destination[1:], place.live), orjson.loads(data)["event_id"])
    else:
        trees.destination_queue.put(bulk, (destination, _PDU, place.live), item)
        newest = trees.destination_room.get(bulk, (destination, place.room))
        if newest is None or newest.order() < place.order():
            trees.destination_room.put(bulk, (destination, place.room), place)
