"""Step: receipts. Conduit keeps one public and one private receipt for each user and room; ours are kept by thread too."""

from __future__ import annotations

from typing import Any

import orjson

from conduit.database import trees
from conduit.database.migrations.bulk import Bulk

_READ, _PRIVATE = "m.read", "m.read.private"


def run(bulk: Bulk) -> None:
    """Write `receipt` and `receipt_stream`."""
    for (room_id, count, user_id), edu in bulk.rows(trees.readreceiptid_readreceipt):
        room = trees.roomid_shortroomid.get(bulk, room_id)
        for event_id, thread, ts in _public(edu, user_id):
            if room is not None:
                _put(bulk, room, user_id, _READ, thread, event_id, count, ts)
        bulk.count()
    for (room_id, user_id), read in bulk.rows(trees.roomuserid_privateread):
        room = trees.roomid_shortroomid.get(bulk, room_id)
        count = trees.roomuserid_lastprivatereadupdate.get(bulk, (room_id, user_id)) or 0
        # What Conduit notes may be the count before the event's: the newest event up to there was read.
        newest = None if room is None else trees.pduid_pdu.last(bulk, (room,), before=read + 1)
        if room is not None and newest is not None and not newest[0].back:
            pdu = orjson.loads(newest[1])
            _put(
                bulk, room, user_id, _PRIVATE, "", pdu["event_id"], count or bulk.next_count(), pdu["origin_server_ts"]
            )
        bulk.count()


def _public(edu: Any, user_id: str) -> list[tuple[str, str, int]]:
    """Return (event, thread, time in ms) of the public receipts of a user in an `m.receipt` event."""
    found = []
    content = edu.get("content") if isinstance(edu, dict) else None
    for event_id, kinds in content.items() if isinstance(content, dict) else ():
        users = kinds.get(_READ) if isinstance(kinds, dict) else None
        receipt = users.get(user_id) if isinstance(users, dict) else None
        if isinstance(receipt, dict):
            thread, ts = receipt.get("thread_id"), receipt.get("ts")
            found.append((event_id, thread if isinstance(thread, str) else "", ts if isinstance(ts, int) else 0))
    return found


def _put(bulk: Bulk, room: int, user_id: str, kind: str, thread: str, event_id: str, count: int, ts: int) -> None:
    key = (room, user_id, kind, thread)
    former = trees.receipt.get(bulk, key)
    if former is not None:
        if former["count"] >= count:
            return
        trees.receipt_stream.delete(bulk, (room, former["count"]))
    place = trees.eventid_pduid.get(bulk, event_id)
    at = place.live if place is not None and place.room == room else 0
    trees.receipt.put(bulk, key, {"event_id": event_id, "ts": ts, "count": count, "at": at})
    trees.receipt_stream.put(bulk, (room, count), (user_id, kind, thread))
