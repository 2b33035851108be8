"""Step: relations between events, annotations and threads."""

from __future__ import annotations

from hashlib import sha256

from conduit.database import layouts, trees
from conduit.database.layouts import PduId, Relation
from conduit.database.migrations.bulk import Bulk
from conduit.protocol.ids import is_event_id
from conduit.protocol.pdu import Event
from conduit.protocol.relations import ANNOTATION, THREAD, relation_of


class Threads:
    """A room's threads so far: short event of the root -> number of replies, the last one, its position."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[int, int, PduId]] = {}


def begin(bulk: Bulk, room: int) -> None:
    """Remove a room's threads: they are counted anew."""
    for tree in (trees.thread, trees.thread_order):
        tree.delete_prefix(bulk, (room,))


def take(bulk: Bulk, threads: Threads, event: Event, short: int, place: PduId) -> None:
    """Write the relation that an event declares."""
    relation = relation_of(event.content)
    if relation is None or not is_event_id(relation.event_id):
        return
    target = bulk.event(relation.event_id)
    row = Relation(short, relation.rel_type, event.type, event.sender)
    trees.relation.put(bulk, (target, layouts.PDU_ID.encode(place)), row)
    if relation.rel_type == ANNOTATION and relation.key is not None:
        digest = sha256(event.type.encode() + b"\xff" + relation.key.encode()).digest()
        trees.annotation.put(bulk, (target, digest, event.sender), short)
    elif relation.rel_type == THREAD:
        replies = threads.found.get(target, (0, 0, place))[0]
        threads.found[target] = (replies + 1, short, place)
        trees.thread_participant.put(bulk, (target, event.sender), True)


def finish(bulk: Bulk, room: int, threads: Threads) -> None:
    """Write a room's threads."""
    for root, (replies, last, place) in threads.found.items():
        trees.thread.put(bulk, (room, root), (replies, last, layouts.PDU_ID.encode(place)))
        trees.thread_order.put(bulk, place, root)
