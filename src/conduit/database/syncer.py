"""Group commit: one sync in flight, in a thread; whatever is applied meanwhile shares the next one.

There is no timer: a lone writer waits for one sync, and under load the syncs themselves set the pace. Wake-ups wait with
their batch, so nothing is shown before it is on disk.

The thread spends its time outside of the interpreter's lock, but needs it back after each call into the engine. CPython hands it over at once only to
a thread that has waited for a whole switch interval (5 ms by default) in which it was not let go. A busy loop lets go of it more often, for a few
microseconds each, so the waiting thread may wait for seconds. With `SWITCH_INTERVAL_S` it waits as long. (Measured, a loop that is never
idle: 95 ms and at worst 3 s a sync with the default, 0.9 ms with this; no cost elsewhere, since no other thread computes in Python.)
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from queue import SimpleQueue

from conduit.database.errors import EngineFault
from conduit.database.watch import Crowd, Watch

SWITCH_INTERVAL_S = 30e-6


@dataclass(slots=True)
class SyncFigures:
    """What the syncs of a database have done since it was opened."""

    batches: int = 0
    syncs: int = 0
    sync_seconds: float = 0.0
    longest_sync_seconds: float = 0.0
    largest_group: int = 0

    def add(self, group: int, seconds: float) -> None:
        """Count one sync that took `seconds` and made `group` batches durable."""
        self.syncs += 1
        self.sync_seconds += seconds
        self.longest_sync_seconds = max(self.longest_sync_seconds, seconds)
        self.largest_group = max(self.largest_group, group)

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


class Syncer:
    """Makes applied batches durable in order. All but the thread's own work belongs to the loop's thread.

    Without `in_thread` a batch counts as durable once `sync`, which then must be quick, has returned; `report` is told of a failed sync, once.
    """

    def __init__(
        self, sync: Callable[[], None], watch: Watch, report: Callable[[BaseException], None], *, in_thread: bool
    ) -> None:
        self.applied = 0
        self.durable = 0
        self.figures = SyncFigures()
        self._sync = sync
        self._watch = watch
        self._report = report
        self._in_thread = in_thread
        self._in_flight = False
        self._fault: BaseException | None = None
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._wakes: deque[tuple[int, AbstractSet[Hashable], Sequence[Crowd]]] = deque()
        self._orders: SimpleQueue[tuple[asyncio.AbstractEventLoop, int] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def batch_applied(self, wakes: AbstractSet[Hashable], crowds: Sequence[Crowd] = (), *, wrote: bool) -> None:
        """Count a batch that the engine has applied, and wake `wakes` and `crowds` once it is durable; see to it that it becomes so."""
        if wakes:
            # Noted at once, released when durable: who reads in between sees the news and answers once they are durable.
            self._watch.note(wakes)
        if wrote:
            self.applied += 1
            self.figures.batches += 1
            if not self._in_thread:
                self.sync_now()
        if wakes or crowds:
            if self.durable >= self.applied:
                self._watch.release(wakes, crowds)
            else:
                self._wakes.append((self.applied, wakes, crowds))
        if self.durable < self.applied:
            self._start()

    async def wait(self) -> None:
        """Return once everything applied before this call is durable. Raises `EngineFault` if the disk failed."""
        if self._fault is not None:
            raise EngineFault(f"the database has failed: {self._fault}")
        if self.durable >= self.applied:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((self.applied, done))
        self._start()
        await done

    def sync_now(self) -> None:
        """Block until everything applied is durable."""
        if self.durable >= self.applied:
            return
        target = self.applied
        began = time.perf_counter()
        self._sync()
        self._reached(target, time.perf_counter() - began)

    def fail(self, error: BaseException) -> None:
        """Give `error` to everybody who waits, now and later. Wake-ups of what is not durable never come."""
        if self._fault is not None:
            return
        self._fault = error
        self._wakes.clear()
        waiters, self._waiters = self._waiters, deque()
        for _, done in waiters:
            if not done.done():
                done.set_exception(EngineFault(f"the disk failed: {error}"))
        self._report(error)

    def stop(self) -> None:
        """End the thread, after the sync that it may be at."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join()
            self._thread = None

    def _start(self) -> None:
        if self._in_flight or self._fault is not None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # a tool without a loop: it calls `sync_now`, or closes
        if self._thread is None:
            sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
            self._thread = threading.Thread(target=self._run, name="database-sync", daemon=True)
            self._thread.start()
        self._in_flight = True
        loop.call_soon(self._order, loop)

    def _order(self, loop: asyncio.AbstractEventLoop) -> None:
        # Once round the loop, so that everybody who is ready now shares this sync.
        self._orders.put((loop, self.applied))

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            loop, target = order
            began = time.perf_counter()
            error: BaseException | None = None
            try:
                self._sync()
            except BaseException as caught:
                error = caught
            try:
                loop.call_soon_threadsafe(self._landed, target, time.perf_counter() - began, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

    def _landed(self, target: int, seconds: float, error: BaseException | None) -> None:
        self._in_flight = False
        if error is not None:
            self.fail(error)
            return
        self._reached(target, seconds)
        if self.durable < self.applied:
            self._start()

    def _reached(self, target: int, seconds: float) -> None:
        if target > self.durable:
            self.figures.add(target - self.durable, seconds)
            self.durable = target
        # Answers first: whoever has sent an event is to have its id before the own /sync tells of it. Clients bear the other order badly.
        waiters = self._waiters
        while waiters and waiters[0][0] <= target:
            done = waiters.popleft()[1]
            if not done.done():
                done.set_result(None)
        wakes = self._wakes
        while wakes and wakes[0][0] <= target:
            _, keys, crowds = wakes.popleft()
            self._watch.release(keys, crowds)
