"""Step: rooms by their short ids, which Conduit does not keep."""

from __future__ import annotations

from conduit.database import trees
from conduit.database.migrations.bulk import Bulk


def run(bulk: Bulk) -> None:
    """Write `shortroomid_roomid`, and give a short id to rooms that have only a state or members."""
    for room_id, short in bulk.rows(trees.roomid_shortroomid):
        trees.shortroomid_roomid.put(bulk, short, room_id)
        bulk.count()
    for room_id, _ in bulk.rows(trees.roomid_shortstatehash):
        bulk.room(room_id)
