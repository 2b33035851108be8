"""The sender: one worker for each destination that has something to be sent and is not failing.

It hears of everything by the watch: queues that were filled and servers that show a sign of life (`destination`), and what is told as it is (`typing`, `receipt`, `presence`,
`entered`). Whoever fails is given up until his time comes (`outbound.backoff`); then a destination costs an alarm and no task.
Destinations that have failed before share a few places, so that they never hold up those that answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog

from conduit.database import trees
from conduit.protocol.canonical_json import loads
from conduit.protocol.errors import MatrixError
from conduit.protocol.ids import RoomId, ServerName, UserId, server_name_of
from conduit.service.context import Context
from conduit.service.outbound.errors import RemoteError
from conduit.service.outbound.federation import path
from conduit.service.outbound.wire import WireAnswer
from conduit.service.rooms import members, receipts
from conduit.service.sending import catch_up, queue, transaction
from conduit.service.sending.alarms import Alarms
from conduit.service.sending.ephemera import Ephemera
from conduit.service.sending.transaction import Transaction

log = structlog.get_logger(__name__)

MAX_REQUESTS: Final = 64
"""How many destinations are sent to at a time."""
MAX_DOUBTFUL: Final = 16
"""How many of those that failed the last time."""
SECONDS: Final = 60.0
MAX_ANSWER: Final = 1024 * 1024
MAX_LOGGED: Final = 5
"""How many refused events of one transaction are logged."""
MAX_IDLE: Final = 2_000
"""How many destinations are kept before those are swept out of which nothing need be remembered."""

_STEP: Final = 100
"""How many pieces of news are heard before others get their turn."""
_SEND = "/_matrix/federation/v1/send"


async def run(ctx: Context) -> None:
    """Send what waits and what will wait. Runs until cancelled."""
    if not ctx.config.allow_federation:
        return
    await Sender(ctx).run()


class _Destination:
    """What is known of a destination beyond what is stored."""

    __slots__ = ("ephemera", "in_flight", "name", "task")

    def __init__(self, ctx: Context, name: ServerName) -> None:
        self.name = name
        self.ephemera = Ephemera(transaction.told_typing(ctx.db, name))
        self.in_flight = transaction.in_flight(ctx.db, name)
        self.task: asyncio.Task[None] | None = None
        if not trees.servername_educount.has(ctx.db, name):
            # So that after a restart it is known from where on to look for receipts: this may be one that came before anything was sent.
            with ctx.db.batch() as batch:
                begun = queue.oldest(batch, name) or ctx.db.current_count()
                trees.servername_educount.put(batch, name, max(0, begun - 1))


class Sender:
    """The destinations, and who of them is being sent to."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._destinations: dict[ServerName, _Destination] = {}
        self._alarms = Alarms(clock=ctx.clock, ring=lambda name: self._wake(ServerName(name)))
        self._places = asyncio.Semaphore(MAX_REQUESTS)
        self._doubtful = asyncio.Semaphore(MAX_DOUBTFUL)
        self._sweep_at = MAX_IDLE

    async def run(self) -> None:
        """Serve all destinations. Runs until cancelled."""
        ctx = self._ctx
        hear: dict[str, Callable[..., None]] = {
            "destination": lambda server: self._wake(ServerName(server)),
            "typing": lambda room: self._hear_typing(RoomId(room)),
            "presence": lambda user: self._hear_presence(UserId(user)),
            "receipt": lambda room, user, thread: self._hear_receipt(RoomId(room), UserId(user), thread),
            "entered": lambda room, user: self._hear_entered(RoomId(room), UserId(user)),
        }
        with ctx.db.watch.subscribe(*hear) as news:
            ctx.tasks.spawn(self._alarms.run(), name="sender's alarms")
            await self._resume()
            while True:
                for number, (kind, *what) in enumerate(await news.take(), 1):
                    hear[kind](*what)
                    if number % _STEP == 0:
                        await asyncio.sleep(0)
                if len(self._destinations) >= self._sweep_at:
                    self._sweep()

    async def _resume(self) -> None:
        """Go on with what was there at the last stop: queues, transactions in flight, receipts that moved."""
        ctx = self._ctx
        for server in queue.destinations(ctx.db):
            self._wake(server)
            await asyncio.sleep(0)
        marks = [(ServerName(name), since) for name, since in trees.servername_educount.scan(ctx.db)]
        floor = min((since for _, since in marks), default=0)
        rooms: dict[RoomId, list[tuple[int, UserId, str]]] = {}
        for server, since in marks:
            await asyncio.sleep(0)
            if self._is_out(server):
                continue
            for room_id in members.rooms_of_server(ctx.db, server):
                if not receipts.changed_since(ctx.db, room_id, since):
                    continue
                if room_id not in rooms:
                    rooms[room_id] = [
                        each
                        for each in receipts.moved(ctx.db, room_id, floor)
                        if server_name_of(each[1]) == ctx.server_name
                    ]
                for count, user_id, thread in rooms[room_id]:
                    if count > since:
                        self._destination(server).ephemera.note_receipt((room_id, user_id, thread))
                        self._wake(server)

    # --- hearing of news

    def _others(self, *room_ids: RoomId) -> list[_Destination]:
        """Return the other servers in rooms, but for those that are out of reach for long."""
        servers: set[ServerName] = set()
        for room_id in room_ids:
            servers.update(members.servers(self._ctx.db, room_id))
        servers.discard(self._ctx.server_name)
        return [self._destination(server) for server in servers if not self._is_out(server)]

    def _is_out(self, server: ServerName) -> bool:
        return queue.is_behind(self._ctx.db, server) and self._ctx.outbound.backoff.failing(server) is not None

    def _hear_typing(self, room_id: RoomId) -> None:
        for destination in self._others(room_id):
            destination.ephemera.rooms[room_id] = None
            self._wake(destination.name)

    def _hear_presence(self, user_id: UserId) -> None:
        if server_name_of(user_id) != self._ctx.server_name:
            return
        self._show_presence(user_id, self._others(*members.rooms(self._ctx.db, user_id)))

    def _hear_entered(self, room_id: RoomId, user_id: UserId) -> None:
        """Show those whom a new member has come into sight of: local users to the first of its server, a local user to all servers."""
        ctx = self._ctx
        server = server_name_of(user_id)
        if server == ctx.server_name:
            if self._is_there(user_id):
                self._show_presence(user_id, self._others(room_id))
        elif len(members.joined_local(ctx.db, room_id, server)) == 1 and not self._is_out(server):
            for each in members.joined_local(ctx.db, room_id, ctx.server_name):
                if self._is_there(each):
                    self._show_presence(each, (self._destination(server),))

    def _is_there(self, user_id: UserId) -> bool:
        """Tell whether there is something to be shown: who is not known to be online is taken for offline."""
        content = self._ctx.presence.get(user_id)
        return content is not None and content["presence"] != "offline"

    def _show_presence(self, user_id: UserId, destinations: Iterable[_Destination]) -> None:
        for destination in destinations:
            if user_id not in destination.ephemera.presence:
                destination.ephemera.note_presence(user_id)
                self._wake(destination.name)

    def _hear_receipt(self, room_id: RoomId, user_id: UserId, thread: str) -> None:
        ctx = self._ctx
        if server_name_of(user_id) != ctx.server_name:
            return
        for destination in self._others(room_id):
            destination.ephemera.note_receipt((room_id, user_id, thread))
            self._wake(destination.name)

    # --- workers

    def _destination(self, server: ServerName) -> _Destination:
        found = self._destinations.get(server)
        if found is None:
            found = self._destinations[server] = _Destination(self._ctx, server)
        return found

    def _sweep(self) -> None:
        idle = [
            name
            for name, each in self._destinations.items()
            if each.task is None and each.in_flight is None and each.ephemera.is_idle
        ]
        for name in idle:
            del self._destinations[name]
        self._sweep_at = max(MAX_IDLE, 2 * len(self._destinations))

    def _wake(self, server: ServerName) -> None:
        """Let somebody serve the destination: now, or when it may be tried again."""
        failing = self._ctx.outbound.backoff.failing(server)
        if failing is not None and failing.retry_at > self._ctx.clock.now_ms():
            self._alarms.set(server, failing.retry_at)
            return
        destination = self._destination(server)
        if destination.task is None:
            destination.task = self._ctx.tasks.spawn(self._serve(destination), name=f"sender to {server}")

    async def _serve(self, destination: _Destination) -> None:
        """Send to one destination until nothing is left or it fails."""
        ctx, server = self._ctx, destination.name
        if queue.is_behind(ctx.db, server) and not catch_up.is_folded(ctx.db, server):
            await catch_up.fall_behind(ctx.db, server, ctx.clock.now_ms())
        arrived: Transaction | None = None
        while True:
            # A transaction is made only by who may send it at once: with thousands of destinations the loop would stand still for the rest.
            async with self._doubtful if ctx.outbound.backoff.failing(server) is not None else self._places:
                if not self._prepare(destination, arrived):
                    break
                await ctx.db.durable()
                arrived = await self._send(destination)
            if arrived is None:
                break
        # Nothing is awaited from the last look until here: who comes now finds nobody at work.
        destination.task = None
        due = destination.ephemera.presence_due()
        failing = ctx.outbound.backoff.failing(server)
        if failing is not None:
            self._alarms.set(server, failing.retry_at)
        elif due is not None:
            self._alarms.set(server, due)

    def _prepare(self, destination: _Destination, arrived: Transaction | None) -> bool:
        """Take the transaction that has arrived out of the way, and put the next one in flight; tell whether there is one."""
        ctx, server, ephemera = self._ctx, destination.name, destination.ephemera
        if destination.in_flight is not None and arrived is None:
            return True
        now = ctx.clock.now_ms()
        destination.in_flight = None
        with ctx.db.batch() as batch:
            while True:
                if arrived is not None:
                    transaction.acknowledge(batch, server, arrived)
                    ephemera.acknowledged(arrived)
                made = Transaction("", now, typing=list(ephemera.typing))
                transaction.add_queued(batch, server, made)
                if queue.is_behind(batch, server) and not made.rooms:
                    queue.set_up_to_date(batch, server)
                if not queue.is_behind(batch, server):
                    ephemera.add(ctx, server, made)
                if not made.is_empty:
                    made.id = f"{now}-{batch.next_count()}"
                    transaction.save(batch, server, made)
                    destination.in_flight = made
                    return True
                if not (made.rows or made.rooms):
                    return False
                arrived = made

    async def _send(self, destination: _Destination) -> Transaction | None:
        """Send the transaction in flight once; return it if it has arrived."""
        ctx, server, sent = self._ctx, destination.name, destination.in_flight
        assert sent is not None
        body = transaction.body(ctx.db, ctx.server_name, server, sent)
        try:
            answer = await ctx.outbound.federation.exchange(
                "PUT", server, path(_SEND, sent.id), body, seconds=SECONDS, max_bytes=MAX_ANSWER, fault=_fault
            )
        except RemoteError as error:
            await self._failed(destination, sent, error)
            return None
        _log_refused(server, answer)
        return sent

    async def _failed(self, destination: _Destination, sent: Transaction, error: RemoteError) -> None:
        ctx, server = self._ctx, destination.name
        # A server that we are not to talk with has no failures of its own; it is not asked all the time either.
        failing = ctx.outbound.backoff.failing(server) or ctx.outbound.backoff.failed(server, error.reason)
        log.info("not_sent", server=server, reason=error.reason, failures=failing.failures)
        now = ctx.clock.now_ms()
        if now - min(failing.since, sent.ts) < catch_up.OUTAGE_MS:
            return
        await catch_up.fall_behind(ctx.db, server, now)
        if now - failing.since >= catch_up.DEAD_MS:
            dropped = await catch_up.drop_messages(ctx.db, server)
            if dropped:
                log.warning("messages_to_devices_dropped", server=server, count=dropped, failing_since=failing.since)
        # What is newest in each room is seen when the server is tried again.
        with ctx.db.batch() as batch:
            transaction.reduce(batch, server, sent)
        destination.in_flight = transaction.in_flight(ctx.db, server)
        destination.ephemera.drop(transaction.told_typing(ctx.db, server))


def _fault(answer: WireAnswer) -> str | None:
    """Return why an answer to a transaction counts as none, or `None`: only 200 with a JSON object says that it has arrived."""
    if answer.status != 200:
        return f"it answered {answer.status}"
    return None if _decoded(answer) is not None else "its answer is no JSON object"


def _decoded(answer: WireAnswer) -> dict[str, Any] | None:
    try:
        decoded = loads(answer.body, strict=False)
    except MatrixError:
        return None
    return decoded if isinstance(decoded, dict) else None


def _log_refused(server: ServerName, answer: WireAnswer) -> None:
    """Log which events the server has not taken. It has them, and that is the end of it."""
    results = (_decoded(answer) or {}).get("pdus")
    if not isinstance(results, dict):
        return
    refused = [
        (event_id, result["error"])
        for event_id, result in results.items()
        if isinstance(result, dict) and result.get("error")
    ]
    for event_id, reason in refused[:MAX_LOGGED]:
        log.info("event_refused", server=server, event_id=event_id[:255], reason=str(reason)[:500])
