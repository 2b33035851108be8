"""Take the receipts that another server tells of its users.

A receipt may come before its event, or before the join of its user: events take longer. Such a one waits for a while; the task `run` puts it in its place when both are there.

Source: server-server API, "Receipts".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId, is_event_id, is_user_id, server_name_of
from conduit.service.context import Context
from conduit.service.rooms import members, partial, receipts, short_ids, threads, timeline

MAX_USERS: Final = 1_000
"""How many users' receipts in one room an EDU may tell."""
MAX_WAITING: Final = 1_000
"""How many receipts wait for events, over all rooms."""
MAX_WAITING_OF_SERVER: Final = 100
"""How many of these are told by one server."""
WAIT_MS: Final = 5 * 60_000
_NEWS: Final = "receipt without event"
_AHEAD_MS: Final = 5 * 60_000
"""How far a receipt's time may lie ahead of ours."""


class _Receipt(NamedTuple):
    user_id: UserId
    thread: str
    event_id: EventId
    ts: int


def receive(ctx: Context, origin: ServerName, room_id: RoomId, kinds: Mapping[str, Any]) -> None:
    """Take the public receipts of a room that is open to `origin`; those of other servers' users are passed over, and of who is not in the room none counts."""
    users = kinds.get(receipts.READ)
    if not isinstance(users, dict):
        return
    found = []
    for user_id, told in islice(users.items(), MAX_USERS):
        receipt = _parse(user_id, told, ctx.clock.now_ms())
        if receipt is not None and server_name_of(receipt.user_id) == origin:
            found.append(receipt)
    with ctx.db.batch() as batch:
        for receipt in found:
            if not _place(ctx, batch, room_id, receipt):
                user, thread, event_id, ts = receipt
                ctx.db.watch.announce((_NEWS, room_id, user, thread, event_id, str(ts)))


def _parse(user_id: str, told: Any, now_ms: int) -> _Receipt | None:
    if not is_user_id(user_id) or not isinstance(told, dict):
        return None
    event_ids, data = told.get("event_ids"), told.get("data")
    if not isinstance(event_ids, list) or not event_ids or not is_event_id(event_ids[0]):
        return None
    data = data if isinstance(data, dict) else {}
    thread = data.get("thread_id", receipts.UNTHREADED)
    if thread != receipts.UNTHREADED and thread != receipts.MAIN and not is_event_id(thread):
        return None
    ts = data.get("ts")
    if not isinstance(ts, int) or isinstance(ts, bool) or not 0 <= ts <= now_ms + _AHEAD_MS:
        ts = now_ms
    return _Receipt(UserId(user_id), thread, EventId(event_ids[0]), ts)


def _place(ctx: Context, batch: Batch, room_id: RoomId, receipt: _Receipt) -> bool:
    """Put the receipt at its event; tell whether the event is there, and the user in the room."""
    position = timeline.position(batch, receipt.event_id)
    is_in = members.is_joined(batch, room_id, receipt.user_id) or partial.is_partial(batch, room_id)
    if position is None or not is_in:
        return False
    if short_ids.room_of(batch, position.room) == room_id and _is_thread(batch, receipt):
        receipts.put(
            batch,
            room_id,
            receipt.user_id,
            receipts.READ,
            receipt.event_id,
            position.live,
            receipt.thread,
            receipt.ts,
            here=ctx.server_name,
        )
    return True


def _is_thread(source: CacheSource, receipt: _Receipt) -> bool:
    """Tell whether the event belongs to the thread; else a server could have as many receipts of one user kept as it can name threads."""
    if receipt.thread in (receipts.UNTHREADED, receipts.MAIN):
        return True
    event = timeline.event(source, receipt.event_id)
    return event is not None and receipt.thread == (threads.root_of(source, event) or event.event_id)


async def run(ctx: Context) -> None:
    """Put receipts in their places that came before their events. Runs until cancelled."""
    with ctx.db.watch.subscribe(_NEWS) as news:
        while True:
            waiting = _Waiting(ctx)
            first = await news.take()
            # Subscribed to rooms only while something waits: it means to be woken by every event.
            with ctx.db.watch.subscribe(_NEWS, "room") as both:
                waiting.hear(first)
                while waiting:
                    waiting.hear(await both.take())
                await news.take(0)


class _Waiting:
    """The receipts that wait, by room, oldest first."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._rooms: dict[RoomId, dict[_Receipt, int]] = {}
        """Each with the time until when it waits, in ms."""
        self._counts: Counter[ServerName] = Counter()

    def __bool__(self) -> bool:
        return bool(self._rooms)

    def hear(self, news: list[tuple[str, ...]]) -> None:
        """Take new receipts in, try those of rooms in which something has happened, and let go of those that have waited for too long."""
        self._expire()
        rooms: dict[RoomId, None] = {}
        for kind, room, *rest in news:
            room_id = RoomId(room)
            if kind == _NEWS:
                user, thread, event_id, ts = rest
                self._add(room_id, _Receipt(UserId(user), thread, EventId(event_id), int(ts)))
            if room_id in self._rooms:
                rooms[room_id] = None
        for room_id in rooms:
            self._try(room_id)

    def _expire(self) -> None:
        now = self._ctx.clock.now_ms()
        for room_id, entries in list(self._rooms.items()):
            for receipt in [one for one, until in entries.items() if until <= now]:
                self._drop(room_id, receipt)

    def _add(self, room_id: RoomId, receipt: _Receipt) -> None:
        if receipt in self._rooms.get(room_id, {}):
            self._drop(room_id, receipt)  # it comes last again, and waits anew
        server = server_name_of(receipt.user_id)
        if self._counts[server] < MAX_WAITING_OF_SERVER and self._counts.total() < MAX_WAITING:
            self._counts[server] += 1
            self._rooms.setdefault(room_id, {})[receipt] = self._ctx.clock.now_ms() + WAIT_MS

    def _try(self, room_id: RoomId) -> None:
        with self._ctx.db.batch() as batch:
            for receipt in list(self._rooms[room_id]):
                if _place(self._ctx, batch, room_id, receipt):
                    self._drop(room_id, receipt)

    def _drop(self, room_id: RoomId, receipt: _Receipt) -> None:
        del self._rooms[room_id][receipt]
        if not self._rooms[room_id]:
            del self._rooms[room_id]
        server = server_name_of(receipt.user_id)
        self._counts[server] -= 1
        if not self._counts[server]:
            del self._counts[server]
