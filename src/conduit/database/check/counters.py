"""Check: no count that is stored anywhere lies ahead of the counter, which would give it a second time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conduit.database import trees
from conduit.database.batch import COUNTER_KEY, COUNTER_MIRROR_KEY
from conduit.database.check.finding import Finding, Findings, Reading
from conduit.database.tree import Tree


def check(reading: Reading) -> Findings:
    """Tell of counts beyond what is reserved, and of a reservation that Conduit has changed."""
    stored = reading.db.get("global", COUNTER_KEY)
    if stored != reading.db.get("global", COUNTER_MIRROR_KEY):
        yield Finding("global", "c", "Conduit has written to this database since this server did")
    reserved = int.from_bytes(stored or b"", "big")
    for tree, counts in _counts(reading):
        highest = max(counts, default=0)
        if highest > reserved:
            yield Finding(tree.name, str(highest), f"it lies ahead of the counter, which is at {reserved}")


def _counts(reading: Reading) -> list[tuple[Tree[Any, Any], Iterator[int]]]:
    """Return trees with the counts in them."""
    return [
        (trees.pduid_pdu, (max(place.live, place.back) for place in reading.keys(trees.pduid_pdu))),
        (trees.eventid_shorteventid, (short for _, short in reading.rows(trees.eventid_shorteventid))),
        (trees.roomid_shortroomid, (short for _, short in reading.rows(trees.roomid_shortroomid))),
        (trees.statekey_shortstatekey, (short for _, short in reading.rows(trees.statekey_shortstatekey))),
        (trees.shortstatehash_statediff, reading.keys(trees.shortstatehash_statediff)),
        (trees.roomstate_history, (count for _, count in reading.keys(trees.roomstate_history))),
        (trees.membership, (entry.since for _, entry in reading.rows(trees.membership))),
        (trees.membership_stream, (count for _, count in reading.keys(trees.membership_stream))),
        (trees.receipt_stream, (count for _, count in reading.keys(trees.receipt_stream))),
        (trees.accountdata_stream, (count for _, count in reading.keys(trees.accountdata_stream))),
        (trees.todeviceid_events, (key[2] for key in reading.keys(trees.todeviceid_events))),
        (trees.devicelist_stream, reading.keys(trees.devicelist_stream)),
        (trees.onetimekey_order, (key[3] for key in reading.keys(trees.onetimekey_order))),
        (trees.backupid_etag, (etag for _, etag in reading.rows(trees.backupid_etag))),
        (trees.destination_queue, (key[2] for key in reading.keys(trees.destination_queue))),
        (trees.aliasid_alias, (count for _, count in reading.keys(trees.aliasid_alias))),
    ]
