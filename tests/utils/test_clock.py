"""The machine's clock, and the one that tests move."""

from __future__ import annotations

import asyncio
import time

from conduit.utils.clock import Clock, SystemClock
from tests.support.clock import ManualClock, settle


async def test_the_system_clock_is_the_machines() -> None:
    """Milliseconds since the epoch, and a measure that never goes back."""
    clock: Clock = SystemClock()
    before = time.time_ns() // 1_000_000
    assert before <= clock.now_ms() <= time.time_ns() // 1_000_000
    first = clock.monotonic()
    await clock.sleep(0)
    assert clock.monotonic() >= first


async def test_the_manual_clock_stands_still_until_it_is_moved() -> None:
    """Sleepers wake in the order of their time, and only when it has come."""
    clock = ManualClock()
    woken: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    tasks = [asyncio.create_task(sleep("late", 20)), asyncio.create_task(sleep("early", 10))]
    await settle()
    assert clock.sleeping == 2
    clock.jump(9.999)
    await settle()
    assert woken == []
    start = clock.now_ms()
    clock.jump(30)
    await asyncio.gather(*tasks)
    assert woken == ["early", "late"]
    assert clock.now_ms() == start + 30_000


async def test_advancing_wakes_a_periodic_sleeper_each_time() -> None:
    """Whoever sleeps again is woken again on the way, at the time that he meant."""
    clock = ManualClock()
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await clock.sleep(10)
            ticks.append(clock.monotonic())

    start = clock.monotonic()
    task = asyncio.create_task(tick())
    await settle()
    await clock.advance(35)
    task.cancel()
    assert [round(moment - start) for moment in ticks] == [10, 20, 30]
    assert round(clock.monotonic() - start) == 35
