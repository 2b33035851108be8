"""Who is to be woken when: many times to come, and one task that waits for the next."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from conduit.utils.clock import Clock


class Alarms:
    """The next time of each name. `run` is the task that calls `ring(name)` when it has come."""

    def __init__(self, *, clock: Clock, ring: Callable[[str], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._times: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._sooner = asyncio.Event()

    def set(self, name: str, at_ms: int) -> None:
        """Let `name` be rung at that time, in place of the time set before."""
        if self._times.get(name) == at_ms:
            return
        self._times[name] = at_ms
        heapq.heappush(self._heap, (at_ms, name))
        if self._heap[0][1] == name:
            self._sooner.set()

    def get(self, name: str) -> int | None:
        """Return when `name` is rung, or `None`."""
        return self._times.get(name)

    async def run(self) -> None:
        """Ring in time. Runs until cancelled."""
        while True:
            self._sooner.clear()
            self._ring_due()
            if not self._heap:
                await self._sooner.wait()
                continue
            pause = (self._heap[0][0] - self._clock.now_ms()) / 1000
            # What is set from now on may be sooner than what is waited for.
            sleeping = asyncio.ensure_future(self._clock.sleep(pause))
            waking = asyncio.ensure_future(self._sooner.wait())
            try:
                await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeping.cancel()
                waking.cancel()

    def _ring_due(self) -> None:
        now = self._clock.now_ms()
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            # A time that was replaced stays in the heap until its turn.
            if self._times.get(name) == at:
                del self._times[name]
                self._ring(name)
