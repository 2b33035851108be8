"""Taking in what other servers send: events are put down durably, as they came, before the transaction is answered.

Only what costs little is checked here: the event's shape, that this server is in its room or on the way into it, that the sending server may take part in it, and signatures
whose keys are known, so that the sender hears of those that are wrong. Everything else is the business of `inbox`, which works off what is staged, room by room.

Source: server-server API, "Transactions"; "Server Access Control Lists (ACLs)".
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import orjson

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.protocol.errors import Forbidden, LimitExceeded, MatrixError
from conduit.protocol.ids import EventId, RoomId, ServerName, is_event_id
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from conduit.service.context import Context
from conduit.service.events import incoming, judge
from conduit.service.outbound.keyring import NoKey
from conduit.service.outbound.turns import household
from conduit.service.rooms import dropped, members, partial, server_access, short_ids, state, versions

MAX_OF_OWNER = 5000
"""How many events of one owner's servers may wait. Who sends more is told to come back later."""
MAX_EARLY = 500
"""The same while rooms are being joined: how many may wait if one more is of such a room."""
RETRY_MS = 10_000
KEPT_ANSWERS = 3
"""How many transactions of a server are remembered: it sends the next only after the answer to the one before."""

_LIKELY = ROOM_VERSIONS["10"]

Answer = dict[str, dict[str, str]]
"""By event id: nothing, or why the event was not taken."""


class Offer(NamedTuple):
    """An event of a transaction: by what id it is answered for, and why it is not taken, or what it is unless it is known already."""

    event_id: EventId | None
    fault: str | None = None
    event: Event | None = None
    essence: bytes = b""
    checked: Event | None = None
    """The event when its signatures were verified; `None` if a key has to be fetched for that."""


class Staged(NamedTuple):
    """An event that waits, as it was read, with the bytes that its signatures cover."""

    room: int
    at: int
    origin: ServerName
    event: Event
    essence: bytes
    checked: Event | None = None
    """The event when its signatures were verified; `None` if they still are to be."""


def _load_waiting(source: CacheSource, owner: str) -> int:
    return sum(1 for _, (sender, _) in trees.stagedpdu.scan(source) if household(ServerName(sender)) == owner)


_WAITING: Cached[str, int] = Cached("staged_of_owner", load=_load_waiting, weigh=lambda count: 60)
"""How many events of an owner's servers wait: anybody can have any number of names."""
_STAGED: Cached[tuple[int, int], Staged | None] = Cached(
    "staged_event",
    load=lambda source, key: None,
    weigh=lambda staged: 100 if staged is None else 2000 + 4 * len(staged.essence),
)


def answered(source: CacheSource, origin: ServerName, txn_id: str) -> Answer | None:
    """Return what a transaction was answered with, or `None` if it is new."""
    known = trees.received_transaction.get(source, origin) or ()
    return next((answer for former, answer in known if former == txn_id), None)


def remember(batch: Batch, origin: ServerName, txn_id: str, answer: Answer) -> None:
    """Let a transaction be answered: all that it holds has taken effect.

    Of a server that shares no room nothing is kept: nothing that it can tell takes effect twice, and anybody can have any number of names.
    """
    if trees.serverroomids.first(batch, (origin,)) is None:
        return
    known = trees.received_transaction.get(batch, origin) or []
    trees.received_transaction.put(batch, origin, [*known[1 - KEPT_ANSWERS :], [txn_id, answer]])


async def examine(ctx: Context, origin: ServerName, pdus: Sequence[Any]) -> list[Offer]:
    """Return what the events of a transaction are, checked as far as that costs nobody else anything. Raises `LimitExceeded` if too much of the server's is waiting already."""
    _require_space(ctx.db, origin, len(pdus))
    doors = _Doors(ctx, ctx.db, origin)
    offers: list[Offer] = []
    for pdu in pdus:
        offers.append(_read(doors, pdu))
        if doors.is_slow:
            await asyncio.sleep(0)
    fresh = [(at, offer.event, offer.essence) for at, offer in enumerate(offers) if offer.event is not None]
    found = await incoming.verified(ctx, [(event, essence) for _, event, essence in fresh], fetch=False)
    for (at, event, _), checked in zip(fresh, found, strict=True):
        if isinstance(checked, Event):
            offers[at] = offers[at]._replace(checked=checked)
        elif not isinstance(checked, NoKey):
            offers[at] = Offer(event.event_id, f"The event is not validly signed: {checked}")
    return offers


def _read(doors: _Doors, pdu: Any) -> Offer:
    version: RoomVersion | None = None
    try:
        _, version = doors.room(pdu)
        event, essence = incoming.read(pdu, version)
    except MatrixError as error:
        return Offer(_id_of(pdu, version), error.error)
    if judge.is_settled(doors.source, event.event_id):
        return Offer(event.event_id)
    return Offer(event.event_id, event=event, essence=essence)


def take_in(ctx: Context, batch: Batch, origin: ServerName, offers: Sequence[Offer]) -> Answer:
    """Stage the events of a transaction, and return what to answer. Raises `LimitExceeded` if too much of the server's is waiting by now."""
    _require_space(batch, origin, len(offers))
    answer: Answer = {}
    doors = _Doors(ctx, batch, origin)
    for offer in offers:
        if offer.event_id is not None:
            fault = offer.fault if offer.event is None else _stage(doors, batch, offer, offer.event)
            answer[offer.event_id] = {} if fault is None else {"error": fault}
    return answer


def _require_space(source: CacheSource, origin: ServerName, count: int) -> None:
    if count and _WAITING.get(source, household(origin)) + count > MAX_OF_OWNER:
        raise LimitExceeded("Too many of your events are waiting here", retry_after_ms=RETRY_MS)


def _stage(doors: _Doors, batch: Batch, offer: Offer, event: Event) -> str | None:
    """Put down one event; return why it is not taken after all, if things have changed since it was examined."""
    origin = doors.origin
    try:
        room_id, _ = doors.room(event.pdu)
    except MatrixError as error:
        return error.error
    if judge.is_settled(batch, event.event_id):
        return None
    room = short_ids.ensure_room(batch, room_id)
    count = batch.next_count()
    trees.stagedpdu.put(batch, (room, count), (origin, orjson.dumps(event.pdu)))
    _STAGED.set(batch, (room, count), Staged(room, count, origin, event, offer.essence, offer.checked))
    owner = household(origin)
    _WAITING.set(batch, owner, _WAITING.get(batch, owner) + 1)
    batch.wake(("staged", room_id))
    return None


class _Doors:
    """The rooms that a transaction's events are for, and whether they are let in."""

    def __init__(self, ctx: Context, source: CacheSource, origin: ServerName) -> None:
        self._ctx = ctx
        self.source = source
        self.origin = origin
        self._put_out: dict[RoomId, bool] = {}

    @property
    def is_slow(self) -> bool:
        """Tell whether any room had to be looked at more closely, which takes milliseconds where thousands have left it."""
        return bool(self._put_out)

    def room(self, pdu: Any) -> tuple[RoomId, RoomVersion]:
        """Return the room of an event and its version; raises `Forbidden` if it is not taken."""
        ctx, source, origin = self._ctx, self.source, self.origin
        room_id = pdu.get("room_id") if isinstance(pdu, dict) else None
        if not isinstance(room_id, str) or len(room_id) > 255:
            raise Forbidden("This server does not know the room")
        room_id = RoomId(room_id)
        version = versions.find(source, room_id)
        is_in = version is not None and bool(members.joined_local(source, room_id, ctx.server_name))
        if version is None or not (is_in or self._was_put_out(room_id)):
            # The room's servers hear of a join before we hear that it was taken.
            version = partial.version_being_joined(source, room_id)
            if version is None:
                raise Forbidden("This server is not in the room")
            if _WAITING.get(source, household(origin)) >= MAX_EARLY:
                raise Forbidden("This server is not in the room yet")
        server_access.require(source, room_id, origin)
        return room_id, version

    def _was_put_out(self, room_id: RoomId) -> bool:
        found = self._put_out.get(room_id)
        if found is None:
            found = self._put_out[room_id] = _was_put_out(self._ctx, self.source, self.origin, room_id)
        return found


def _was_put_out(ctx: Context, source: CacheSource, origin: ServerName, room_id: RoomId) -> bool:
    """Tell whether others, or resolution, have put all users of this server out of the room, and the origin is in it.

    It may know what ended that: the removal came from a side of the room that turned out to have had no right to it. Who left by themselves knows better than others.
    """
    if not members.has_server(source, room_id, origin):
        return False
    if dropped.may_ask(source, room_id, ctx.server_name, ctx.clock.now_ms()):
        return True
    for user_id in members.past_of(source, room_id, ctx.server_name):
        event = state.current(source, room_id, "m.room.member", user_id)
        if event is not None and event.sender != user_id and event.membership in ("leave", "ban"):
            return True
    return False


def _id_of(pdu: Any, version: RoomVersion | None) -> EventId | None:
    """Return under which id to answer for an event that was not taken; `None` if it has none that can be told."""
    if not isinstance(pdu, dict):
        return None
    given = pdu.get("event_id")
    if isinstance(given, str) and is_event_id(given):
        return EventId(given)
    # Of an unknown room the version is not known either: most of those that are in use make ids alike.
    return incoming.id_of(pdu, version or _LIKELY)


# --- working off ---------------------------------------------------------------------------------------------------


def rooms(source: CacheSource) -> Iterator[int]:
    """Return the short rooms with staged events."""
    row = trees.stagedpdu.first(source)
    while row is not None:
        yield row[0][0]
        row = next(iter(trees.stagedpdu.scan(source, (), start=row[0][0] + 1)), None)


def is_early(ctx: Context, room_id: RoomId) -> bool:
    """Tell whether what is staged of the room has to wait: somebody of this server is on the way into it, and nobody is there."""
    return not members.joined_local(ctx.db, room_id, ctx.server_name) and partial.is_being_joined(ctx.db, room_id)


def waiting(source: CacheSource, room: int, after: int, limit: int) -> list[tuple[int, Staged | None]]:
    """Return up to `limit` of a short room's staged events after the count `after`, each with its count; `None` for one that cannot be read any more."""
    found: list[tuple[int, Staged | None]] = []
    version = versions.find(source, short_ids.room_of(source, room))  # unknown: joining it came to nothing
    for (_, count), row in islice(trees.stagedpdu.scan(source, (room,), after=after), limit):
        staged = _STAGED.peek(source, (room, count))
        found.append((count, staged if staged is not None or version is None else _decoded(room, count, row, version)))
    return found


def find(source: CacheSource, room: int, at: int) -> Staged | None:
    """Return one staged event of a short room; `None` if it is not there or cannot be read any more."""
    staged = _STAGED.peek(source, (room, at))
    if staged is not None:
        return staged
    row = trees.stagedpdu.get(source, (room, at))
    version = versions.find(source, short_ids.room_of(source, room))
    return None if row is None or version is None else _decoded(room, at, row, version)


def _decoded(room: int, at: int, row: tuple[str, bytes], version: RoomVersion) -> Staged | None:
    origin, data = row
    try:
        event, essence = incoming.read(orjson.loads(data), version)
    except (MatrixError, ValueError):
        return None
    return Staged(room, at, ServerName(origin), event, essence)


def remove(batch: Batch, room: int, count: int) -> None:
    """Let an event be staged no longer: it has been decided on."""
    row = trees.stagedpdu.get(batch, (room, count))
    if row is None:
        return
    trees.stagedpdu.delete(batch, (room, count))
    _STAGED.forget(batch, (room, count))
    owner = household(ServerName(row[0]))
    _WAITING.set(batch, owner, max(_WAITING.get(batch, owner) - 1, 0))
