"""Who is woken when."""

from __future__ import annotations

import asyncio

from conduit.service.sending.alarms import Alarms
from tests.support.clock import START_MS, ManualClock, settle


async def test_each_name_rings_at_its_last_time() -> None:
    """Once, in the order of the times; a time set anew counts whether it is sooner or later."""
    clock = ManualClock()
    rung: list[tuple[str, float]] = []
    alarms = Alarms(clock=clock, ring=lambda name: rung.append((name, (clock.now_ms() - START_MS) / 1000)))
    task = asyncio.ensure_future(alarms.run())
    for name, at in (("a", 5), ("b", 3), ("c", 4), ("c", 9), ("d", 8), ("d", 2), ("e", 3)):
        alarms.set(name, START_MS + at * 1000)
    assert alarms.get("c") == START_MS + 9000
    await settle()
    await clock.advance(20)
    assert rung == [("d", 2.0), ("b", 3.0), ("e", 3.0), ("a", 5.0), ("c", 9.0)]
    assert alarms.get("c") is None
    task.cancel()


async def test_sooner_alarm_than_the_one_waited_for_rings_in_time() -> None:
    """And one whose time is over rings at once; a name may be set again while it rings."""
    clock = ManualClock()
    rung: list[str] = []

    def ring(name: str) -> None:
        rung.append(name)
        if name == "again" and rung.count("again") < 3:
            alarms.set(name, clock.now_ms() + 1000)

    alarms = Alarms(clock=clock, ring=ring)
    task = asyncio.ensure_future(alarms.run())
    alarms.set("late", START_MS + 60_000)
    await clock.advance(1)
    alarms.set("again", START_MS + 2000)
    alarms.set("over", START_MS)
    await clock.advance(0)
    assert rung == ["over"]
    await clock.advance(3)
    assert rung == ["over", "again", "again", "again"]
    await clock.advance(60)
    assert rung[4:] == ["late"]
    task.cancel()
