"""A transaction: what goes to another server in one request, made from its queue and from what is told as it is.

At most one is in flight to a destination. Before it leaves, its row is on disk: its id, the events and queued EDUs by reference, the rest as it is. So after a lost answer
or a restart the very same is sent under the same id, and a server that has it already only answers again. Once acknowledged, the row and what it refers to are
deleted in one batch. What remains is whom the destination takes for typing, as long as there is anybody.

Source: server-server API, "Transactions", PUT /_matrix/federation/v1/send/{txnId}.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any, Final

import orjson

from conduit.database import layouts, trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.database.layouts import PduId
from conduit.protocol.canonical_json import dump
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId
from conduit.service.rooms import timeline
from conduit.service.sending import catch_up, queue

MAX_PDUS: Final = 50
MAX_EDUS: Final = 100
MAX_QUEUED_EDUS: Final = 80
"""The rest is left to what is not queued, so that to-device messages do not hold up typing."""
MAX_BYTES: Final = 1024 * 1024
"""Of the events, and of the queued EDUs, but for the first: below what other servers take as a request."""

Json = dict[str, Any]


@dataclass(slots=True)
class Transaction:
    """What a transaction consists of. The fields are those of its row."""

    id: str
    ts: int
    """When it was made, in ms."""
    events: list[EventId] = field(default_factory=list)
    rows: list[tuple[int, int]] = field(default_factory=list)
    """(class, count) in the destination's queue."""
    rooms: list[tuple[int, int, int]] = field(default_factory=list)
    """Positions in the destination's rooms, if it is behind."""
    edus: list[Json] = field(default_factory=list)
    """EDUs that are nowhere else."""
    receipts: int = 0
    """The count of the newest receipt, if none older waits; else 0."""
    typing: list[tuple[RoomId, UserId]] = field(default_factory=list)
    """Whom the destination takes for typing once it has this."""
    forms: dict[EventId, bytes] = field(default_factory=dict, compare=False, repr=False)
    """Events as they are sent, where they have been read anyway. Not in the row."""

    @property
    def space(self) -> int:
        """How many further EDUs it may hold."""
        return MAX_EDUS - len(self.edus) - sum(1 for kind, _ in self.rows if kind == queue.EDU)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send: what it refers to is not there any more."""
        return not (self.events or self.edus or any(kind == queue.EDU for kind, _ in self.rows))


_FIELDS: Final = tuple(each.name for each in fields(Transaction) if each.name != "forms")


def in_flight(source: CacheSource, server: ServerName) -> Transaction | None:
    """Return the transaction that is under way to the server, or `None`."""
    row = trees.destination_transaction.get(source, server)
    if row is None or "id" not in row:
        return None
    row = dict(row)
    for name in ("rows", "rooms", "typing"):
        row[name] = [tuple(each) for each in row.get(name, ())]
    return Transaction(**row)


def told_typing(source: CacheSource, server: ServerName) -> list[tuple[RoomId, UserId]]:
    """Return whom the server takes for typing: what the newest transaction said, be it acknowledged or in flight."""
    row = trees.destination_transaction.get(source, server) or {}
    return [(RoomId(room_id), UserId(user_id)) for room_id, user_id in row.get("typing", ())]


def save(batch: Batch, server: ServerName, transaction: Transaction) -> None:
    """Put the transaction in flight."""
    row = {name: value for name in _FIELDS if (value := getattr(transaction, name))}
    trees.destination_transaction.put(batch, server, row)


def add_queued(source: CacheSource, server: ServerName, transaction: Transaction) -> None:
    """Add what the server's queue holds, oldest first, as much as fits."""
    if queue.is_behind(source, server):
        _add_rooms(source, server, transaction)
    else:
        _add_events(source, server, transaction)
    room = MAX_BYTES
    rows = trees.destination_queue.scan(source, (server, queue.EDU))
    for (_, kind, count), raw in islice(rows, MAX_QUEUED_EDUS):
        if room < MAX_BYTES and len(raw) > room:
            break
        room -= len(raw)
        transaction.rows.append((kind, count))


def _add_events(source: CacheSource, server: ServerName, transaction: Transaction) -> None:
    room = MAX_BYTES
    rows = trees.destination_queue.scan(source, (server, queue.PDU))
    for (_, kind, count), raw in islice(rows, MAX_PDUS):
        event_id = timeline.id_at(source, layouts.PDU_ID.decode(raw))
        form = None if event_id is None else _federation_form(source, event_id)
        if form is not None and transaction.events and len(form) > room:
            break
        transaction.rows.append((kind, count))
        if event_id is not None and form is not None:
            room -= len(form)
            transaction.events.append(event_id)
            transaction.forms[event_id] = form


def _add_rooms(source: CacheSource, server: ServerName, transaction: Transaction) -> None:
    chosen: dict[EventId, None] = {}
    for place in catch_up.rooms(source, server):
        found = catch_up.events_for(source, server, place)
        if len(chosen) + len(found) > MAX_PDUS:
            break
        chosen.update(dict.fromkeys(found))
        transaction.rooms.append((place.room, place.live, place.back))
    transaction.events.extend(chosen)


def _federation_form(source: CacheSource, event_id: EventId) -> bytes | None:
    event = timeline.event(source, event_id)
    return None if event is None else event.federation()


def body(source: CacheSource, origin: ServerName, server: ServerName, transaction: Transaction) -> bytes:
    """Return the canonical bytes of the request's body."""
    read, transaction.forms = transaction.forms, {}
    found = (read.get(event_id) or _federation_form(source, event_id) for event_id in transaction.events)
    events = [form for form in found if form is not None]
    keys = [(server, kind, count) for kind, count in transaction.rows if kind == queue.EDU]
    queued = [raw for raw in trees.destination_queue.get_many(source, keys) if raw is not None]
    edus = [dump(edu) for edu in transaction.edus] + queued
    head = b'{"edus":[' + b",".join(edus) + b"]," if edus else b"{"
    return b'%b"origin":%b,"origin_server_ts":%d,"pdus":[%b]}' % (
        head,
        orjson.dumps(origin),
        transaction.ts,
        b",".join(events),
    )


def acknowledge(batch: Batch, server: ServerName, transaction: Transaction) -> None:
    """Delete the transaction and what it has delivered."""
    for kind, count in transaction.rows:
        trees.destination_queue.delete(batch, (server, kind, count))
    for place in transaction.rooms:
        catch_up.forget_room(batch, server, PduId(*place))
    if transaction.receipts:
        trees.servername_educount.put(batch, server, transaction.receipts)
    if transaction.typing:
        trees.destination_transaction.put(batch, server, {"typing": transaction.typing})
    else:
        trees.destination_transaction.delete(batch, server)


def reduce(batch: Batch, server: ServerName, transaction: Transaction) -> None:
    """Leave of a transaction that has failed for long only what must not be lost, under the same id. Its events are still in the queue.

    Should the server have it already, it takes no notice of what is sent now; else it gets this.
    """
    typing = dict.fromkeys(transaction.typing)
    # Nobody knows whether the server has learned who stopped; so whoever had not, will be told of again.
    for edu in transaction.edus:
        content = edu["content"]
        if edu["edu_type"] == "m.typing":
            typing[RoomId(content["room_id"]), UserId(content["user_id"])] = None
    transaction.events, transaction.rooms, transaction.edus, transaction.receipts = [], [], [], 0
    queued = [(kind, count) for kind, count in transaction.rows if kind == queue.EDU]
    transaction.rows = [row for row in queued if trees.destination_queue.has(batch, (server, *row))]
    transaction.typing = list(typing)
    if transaction.is_empty:
        acknowledge(batch, server, transaction)
    else:
        save(batch, server, transaction)
