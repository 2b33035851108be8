"""Step: redactions. Conduit prunes the stored event and names the redaction in its `unsigned`."""

from __future__ import annotations

import orjson

from conduit.database import trees
from conduit.database.migrations.bulk import Bulk
from conduit.protocol.pdu import Event


def take(bulk: Bulk, pruned: dict[str, str], event: Event, data: bytes) -> None:
    """Write what an event redacts, and note in `pruned` by which redaction it was itself pruned."""
    if event.redacts is not None:
        trees.redaction.put(bulk, (event.redacts, event.event_id), True)
    if b'"redacted_because"' not in data:
        return
    unsigned = orjson.loads(data).get("unsigned")
    because = unsigned.get("redacted_because") if isinstance(unsigned, dict) else None
    redaction = because.get("event_id") if isinstance(because, dict) else None
    if isinstance(redaction, str):
        pruned[event.event_id] = redaction


def finish(bulk: Bulk, pruned: dict[str, str]) -> None:
    """Write which redactions apply in a room: those that the room has. What another server has put into `unsigned` proves nothing."""
    for target, redaction in pruned.items():
        if trees.redaction.has(bulk, (target, redaction)):
            trees.redacted.put(bulk, target, redaction)
