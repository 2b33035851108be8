"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools

START_MS = 1_700_000_000_000
"""14 November 2023, 22:13:20 UTC."""
_SETTLE = 20
"""How often the loop turns after a jump, so that whoever was woken can act and sleep again."""


class ManualClock:
    """A `Clock` for tests. `jump` moves it and wakes the sleepers whose time has come."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self._ms = float(now_ms)
        self._start = self._ms
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        return int(self._ms)

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start."""
        return 1000.0 + (self._ms - self._start) / 1000

    @property
    def sleeping(self) -> int:
        """How many sleep at the moment."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was moved by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._ms + seconds * 1000, next(self._order), future))
        await future

    def jump(self, seconds: float) -> None:
        """Move on by `seconds` at once. Sleepers whose time has come wake when the test next awaits."""
        self._ms += seconds * 1000
        while self._sleepers and self._sleepers[0][0] <= self._ms:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)

    async def advance(self, seconds: float) -> None:
        """Move on by `seconds`, stopping at each sleeper's time so that those who sleep again are woken again."""
        end = self._ms + seconds * 1000
        while self._sleepers and self._sleepers[0][0] <= end:
            self.jump(max(self._sleepers[0][0] - self._ms, 0.0) / 1000)
            await settle()
        self.jump(max(end - self._ms, 0.0) / 1000)
        await settle()


async def settle() -> None:
    """Let the loop turn until whoever can go on has done so; what waits for the network or a thread may need longer."""
    for _ in range(_SETTLE):
        await asyncio.sleep(0)
