"""Working off the events that other servers have sent: a worker for each room, in the order of their arrival.

A worker takes a run of events at a time: signatures are checked together, and all that stand on what is known are decided on in one batch. An event for which others must
be asked first, or that needs keys of a third server, goes aside into the lane of its origin, with everything after it that comes from there. What others send that builds
on it goes into lanes of their own: they have what it builds on, and are asked for it. So nothing that a slow or hostile server makes us ask for holds up the events of others
in the room. What is in a lane is read anew when its turn comes, for a server can let thousands of large events wait.

Lanes share places (`turns`): by turns of rooms, of who owns the servers, of servers. A place that others want is had for some seconds only. Whoever needs longer for an event
goes on in one of a few places apart, and begins there for a while; so servers that answer are never behind those that let us wait, however many these are.

Rows are removed in the batch that decides on their event, so whatever was answered to a transaction is worked off, after a crash too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import NamedTuple

import structlog

from conduit.database.database import Batch
from conduit.database.errors import DatabaseError, DiskFull
from conduit.protocol.errors import MatrixError
from conduit.protocol.event_auth import required_signers
from conduit.protocol.ids import EventId, RoomId, ServerName
from conduit.protocol.pdu import Event
from conduit.service.context import Context
from conduit.service.events import fold, incoming, judge, policy, receive, staging
from conduit.service.events.judge import Lacking, Outcome, Progress, Verdict
from conduit.service.events.staging import Staged
from conduit.service.outbound.turns import Turns
from conduit.service.rooms import short_ids

log = structlog.get_logger(__name__)

RUN = 50
"""How many events are taken at a time."""
BATCH_SECONDS = 0.015
"""How long one batch may hold the loop."""
VERIFY_SECONDS = 2.0
"""How long a room waits for the keys of a run."""
MAX_LANES = 24
"""For how many events at a time others are asked, while that takes seconds; half of them in one room, a quarter for servers of one owner."""
MAX_PATIENT = 12
"""The same for those that take longer."""
PROMPT_SECONDS = 10.0
"""How long an event may take in a place that others wait for."""
SLOW_SECONDS = 600.0
"""How long a server that took longer is taken to be slow in that room."""
MAX_SLOW = 10_000
"""Of how many rooms and servers that is remembered."""
FULL_SECONDS = 30.0


async def run(ctx: Context) -> None:
    """Work off what is staged and what will be. Runs until cancelled."""
    if ctx.config.allow_federation:
        await Inbox(ctx).run()


class _Checked(NamedTuple):
    """A staged event, and the event as it is now that its signatures have been verified."""

    staged: Staged
    event: Event


class _Waiting(NamedTuple):
    """A staged event in a lane."""

    at: int
    event_id: EventId


class _Room:
    """One room: what has been read of it, and the lanes beside its worker."""

    __slots__ = ("aside", "has_news", "is_worked", "lanes", "read_to", "room_id", "short")

    def __init__(self, room_id: RoomId, short: int) -> None:
        self.room_id = room_id
        self.short = short
        self.read_to = 0
        self.has_news = False
        self.is_worked = False
        self.lanes: dict[ServerName, deque[_Waiting]] = {}
        self.aside: set[EventId] = set()
        """Which events are in lanes."""

    def is_for_lane(self, staged: Staged) -> bool:
        """Tell whether an event has to go into the lane of its origin because of what is in lanes already."""
        if not self.lanes:
            return False
        return staged.origin in self.lanes or not self.aside.isdisjoint(staged.event.prev_events)


class Inbox:
    """The rooms in which something waits to be worked off."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._rooms: dict[RoomId, _Room] = {}
        self._prompt = Turns(MAX_LANES, of_room=MAX_LANES // 2, of_household=MAX_LANES // 4, of_server=4)
        self._patient = Turns(MAX_PATIENT, of_room=MAX_PATIENT // 2, of_household=MAX_PATIENT // 4, of_server=2)
        self._slow: dict[tuple[RoomId, ServerName], float] = {}
        """Until when a server is slow in a room."""

    async def run(self) -> None:
        """Serve all rooms. Runs until cancelled."""
        ctx = self._ctx
        with ctx.db.watch.subscribe("staged") as news:
            for short in list(staging.rooms(ctx.db)):
                self._wake(short_ids.room_of(ctx.db, short))
            while True:
                for _, room_id in await news.take():
                    self._wake(RoomId(room_id))

    def _wake(self, room_id: RoomId) -> None:
        room = self._rooms.get(room_id)
        if room is None:
            short = short_ids.short_room(self._ctx.db, room_id)
            if short is None:
                return
            room = self._rooms[room_id] = _Room(room_id, short)
        room.has_news = True
        if not room.is_worked:
            room.is_worked = True
            self._ctx.tasks.spawn(self._work(room), name=f"events of {room_id}")

    async def _work(self, room: _Room) -> None:
        """Work off a room until nothing waits but what is in lanes."""
        while room.has_news:
            room.has_news = False
            try:
                while await self._take_run(room):
                    pass
            except DiskFull:
                room.has_news = True
                room.read_to = 0
                await self._ctx.clock.sleep(FULL_SECONDS)
            await self._fold(room)
        room.is_worked = False
        self._leave(room)

    def _leave(self, room: _Room) -> None:
        if not room.is_worked and not room.lanes:
            self._rooms.pop(room.room_id, None)

    # --- runs ------------------------------------------------------------------------------------------------------

    async def _take_run(self, room: _Room) -> bool:
        """Work off the next run of events; tell whether there was one."""
        ctx = self._ctx
        if staging.is_early(ctx, room.room_id):
            return False  # the end of the join wakes the room
        rows = staging.waiting(ctx.db, room.short, room.read_to, RUN)
        if not rows:
            return False
        room.read_to = rows[-1][0]
        done: list[int] = []
        direct: list[Staged] = []
        for count, staged in _prev_first(rows):
            if staged is None or judge.is_settled(ctx.db, staged.event.event_id):
                done.append(count)
            elif room.is_for_lane(staged) or not _is_own(staged):
                self._put_aside(room, staged)
            else:
                direct.append(staged)
        try:
            async with asyncio.timeout(VERIFY_SECONDS):
                checked = await _verified(ctx, direct)
        except DatabaseError:
            raise
        except Exception as error:
            # Some key of the origin has to be fetched, and it takes its time over that. If it is anything else, whose fault it was shows one by one.
            if not isinstance(error, TimeoutError):
                log.exception("run_failed", room_id=room.room_id)
            for staged in direct:
                self._put_aside(room, staged)
            direct, checked = [], []
        good: deque[_Checked] = deque()
        for staged, event in zip(direct, checked, strict=True):
            if isinstance(event, str):
                done.append(staged.at)
                _log(staged.event, Outcome(Verdict.DROPPED, event))
            else:
                good.append(_Checked(staged, event))
        await self._decide(room, good, done)
        return True

    async def _decide(self, room: _Room, items: deque[_Checked], done: list[int]) -> None:
        """Decide on checked events, as many in one batch as time allows; `done` are rows that are no longer needed."""
        ctx = self._ctx
        while items or done:
            try:
                async with ctx.locks.room(room.room_id):
                    left = deque(items)
                    with ctx.db.batch() as batch:
                        for count in done:
                            staging.remove(batch, room.short, count)
                        lacks = self._decide_some(room, batch, left)
            except DatabaseError:
                raise
            except Exception:
                # Whose fault it was shows when they are decided on one by one.
                log.exception("run_failed", room_id=room.room_id)
                for item in items:
                    self._put_aside(room, item.staged)
                return
            done, items = [], left
            if lacks:
                self._put_aside(room, items.popleft().staged)
            await self._fold(room, most=fold.MAX_MEANWHILE)
            await asyncio.sleep(0)

    def _decide_some(self, room: _Room, batch: Batch, items: deque[_Checked]) -> bool:
        """Decide on events from the front until one lacks something (then `True`) or time is over."""
        until = perf_counter() + BATCH_SECONDS
        while items and perf_counter() < until:
            staged, event = items[0]
            if room.is_for_lane(staged) or _asks_policy_server(self._ctx, event):
                return True
            verdict = judge.settle(self._ctx, batch, event, Progress())
            if isinstance(verdict, Lacking):
                return True
            _log(event, verdict)
            staging.remove(batch, room.short, staged.at)
            items.popleft()
        return False

    # --- lanes -----------------------------------------------------------------------------------------------------

    def _put_aside(self, room: _Room, staged: Staged) -> None:
        lane = staged.origin
        room.aside.add(staged.event.event_id)
        item = _Waiting(staged.at, staged.event.event_id)
        waiting = room.lanes.get(lane)
        if waiting is not None:
            waiting.append(item)
            return
        room.lanes[lane] = deque([item])
        self._ctx.tasks.spawn(self._work_lane(room, lane), name=f"events of {room.room_id} from {lane}")

    async def _work_lane(self, room: _Room, lane: ServerName) -> None:
        waiting = room.lanes[lane]
        while waiting:
            if self._is_slow(room, lane) or not await self._try_promptly(room, lane, waiting[0]):
                async with self._patient.place(room.room_id, lane):
                    await self._work_off(room, waiting[0])
            room.aside.discard(waiting.popleft().event_id)
            await self._fold(room, most=fold.MAX_MEANWHILE)
        del room.lanes[lane]
        await self._fold(room)
        self._leave(room)

    async def _try_promptly(self, room: _Room, lane: ServerName, item: _Waiting) -> bool:
        """Decide on one event; `False` if that takes long while others wait for the place. Then it has to be done from the start, elsewhere: what has come until then is there."""
        async with self._prompt.place(room.room_id, lane):
            work = asyncio.ensure_future(self._work_off(room, item))
            try:
                while True:
                    done, _ = await asyncio.wait((work,), timeout=PROMPT_SECONDS)
                    if done:
                        work.result()
                        return True
                    if self._prompt.is_wanted(room.room_id, lane):
                        self._note_slow(room, lane)
                        return False
            finally:
                if not work.done():
                    work.cancel()
                    await asyncio.wait((work,))

    def _is_slow(self, room: _Room, server: ServerName) -> bool:
        key = (room.room_id, server)
        until = self._slow.get(key)
        if until is not None and until <= self._ctx.clock.monotonic():
            del self._slow[key]
            return False
        return until is not None

    def _note_slow(self, room: _Room, server: ServerName) -> None:
        key = (room.room_id, server)
        self._slow.pop(key, None)
        self._slow[key] = self._ctx.clock.monotonic() + SLOW_SECONDS
        if len(self._slow) > MAX_SLOW:
            del self._slow[next(iter(self._slow))]

    async def _work_off(self, room: _Room, item: _Waiting) -> None:
        """Decide on one event, however long it takes to get what it builds on; then its row is gone."""
        ctx = self._ctx
        is_decided = False
        while True:
            try:
                if not is_decided:
                    await self._process(room, item)
                is_decided = True
                with ctx.db.batch() as batch:
                    staging.remove(batch, room.short, item.at)
                return
            except DiskFull:
                await ctx.clock.sleep(FULL_SECONDS)
            except DatabaseError:
                raise
            except Exception:
                log.exception("event_failed", room_id=room.room_id, event_id=item.event_id)
                is_decided = True

    async def _process(self, room: _Room, item: _Waiting) -> None:
        staged = staging.find(self._ctx.db, room.short, item.at)
        if staged is None:
            return
        [event] = await _verified(self._ctx, [staged])
        if isinstance(event, str):
            _log(staged.event, Outcome(Verdict.DROPPED, event))
        else:
            await receive.process(self._ctx, staged.origin, event)

    async def _fold(self, room: _Room, *, most: int = fold.MAX_LEAVES) -> None:
        """Keep the room's leaves few. That it cannot be done now keeps nobody from working off the next events."""
        try:
            await fold.fold(self._ctx, room.room_id, most=most)
        except DiskFull:
            log.warning("leaves_not_folded", room_id=room.room_id, reason="the disk is full")
        except DatabaseError:
            raise
        except Exception:
            log.exception("leaves_not_folded", room_id=room.room_id)


async def _verified(ctx: Context, waiting: list[Staged]) -> list[Event | str]:
    """Return what `incoming.verified` does; what was verified when it came is not verified again."""
    later = [(staged.event, staged.essence) for staged in waiting if staged.checked is None]
    found = iter(await incoming.verified(ctx, later) if later else ())
    return [next(found) if staged.checked is None else staged.checked for staged in waiting]


Row = tuple[int, Staged | None]


def _prev_first(rows: list[Row]) -> list[Row]:
    """Return a run in an order in which each event comes after those of it that it follows; mostly it is in such an order already."""
    places = {staged.event.event_id: number for number, (_, staged) in enumerate(rows) if staged is not None}

    def behind(number: int) -> list[int]:
        staged = rows[number][1]
        return [] if staged is None else [places[prev] for prev in staged.event.prev_events if prev in places]

    if all(prev < number for number in range(len(rows)) for prev in behind(number)):
        return rows
    ordered: list[Row] = []
    is_done: dict[int, bool] = {}
    for first in range(len(rows)):
        stack = [first]
        while stack:
            number = stack[-1]
            if number in is_done:
                stack.pop()
                if not is_done[number]:
                    is_done[number] = True
                    ordered.append(rows[number])
                continue
            is_done[number] = False
            stack += [prev for prev in behind(number) if prev not in is_done]
    return ordered


def _is_own(staged: Staged) -> bool:
    """Tell whether only the origin need have signed the event: its keys are known, for it has signed the transaction."""
    try:
        return required_signers(staged.event.pdu, staged.event.version) <= {staged.origin}
    except MatrixError:
        return False


def _asks_policy_server(ctx: Context, event: Event) -> bool:
    if policy.is_exempt(event.type, event.state_key):
        return False
    known = policy.of_room(ctx.db, event.room_id)
    return known is not None and not policy.is_signed(event, known)


def _log(event: Event, outcome: Outcome) -> None:
    if outcome.verdict not in (Verdict.ACCEPTED, Verdict.DUPLICATE):
        log.info(
            "event_not_accepted",
            room_id=event.room_id,
            event_id=event.event_id,
            verdict=outcome.verdict.value,
            reason=outcome.reason,
        )
