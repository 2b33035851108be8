"""Work that several wait for, and answers that are good for a while."""

from __future__ import annotations

import asyncio

import pytest

from conduit.protocol.errors import NotFound
from conduit.service.outbound.errors import Unreachable
from conduit.service.outbound.flights import MAX_NOTES, Flights, Recent
from conduit.utils.tasks import Tasks


async def test_work_is_done_once_for_all_who_wait() -> None:
    """Who comes while it is under way gets its result; who comes later starts it anew."""
    flights, tasks, done = Flights(), Tasks(), []

    async def work() -> int:
        await asyncio.sleep(0)
        done.append(1)
        return len(done)

    found = await asyncio.gather(*(flights.join(tasks, "k", work) for _ in range(3)))
    assert found == [1, 1, 1]
    assert await flights.join(tasks, "k", work) == 2
    assert len(flights) == 0
    await tasks.close()


@pytest.mark.parametrize("error", [Unreachable("a.test", "no"), NotFound("no"), ValueError("a bug")])
async def test_failure_is_told_to_all_who_wait_and_ends_nothing(error: Exception) -> None:
    """Not even one that nobody has thought of: what another server sends must not end this one."""
    flights, failures = Flights(), []
    tasks = Tasks(failures.append)

    async def work() -> None:
        await asyncio.sleep(0)
        raise error

    found = await asyncio.gather(*(flights.join(tasks, "k", work) for _ in range(2)), return_exceptions=True)
    assert found == [error, error]
    assert failures == []
    await tasks.close()


async def test_work_goes_on_when_those_who_waited_have_given_up() -> None:
    """Its result is there for whoever comes next."""
    flights, tasks, gate = Flights(), Tasks(), asyncio.Event()

    async def work() -> str:
        await gate.wait()
        return "done"

    with pytest.raises(TimeoutError):
        await flights.join(tasks, "k", work, seconds=0.0)
    waiting = asyncio.ensure_future(flights.join(tasks, "k", work))
    await asyncio.sleep(0)
    gate.set()
    assert await waiting == "done"
    await tasks.close()


async def test_notes_reach_work_under_way_only() -> None:
    """They are bounded, taken once, and gone when the work has ended."""
    flights, tasks, gate = Flights(), Tasks(), asyncio.Event()
    taken: list[list[int]] = []

    async def work() -> None:
        await gate.wait()
        taken.append(flights.take_notes("k"))
        taken.append(flights.take_notes("k"))

    assert not flights.leave_note("k", 0)
    task = flights.start(tasks, "k", work)
    assert flights.is_under_way("k")
    assert all(flights.leave_note("k", number) for number in range(MAX_NOTES + 5))
    gate.set()
    await task
    assert not flights.leave_note("k", 0)
    assert taken == [list(range(MAX_NOTES)), []]
    await tasks.close()


def test_answers_are_kept_for_a_while_within_a_budget() -> None:
    """The oldest go first; what is too large for the budget is not kept at all."""
    recent = Recent(budget=100)
    recent.put("a", 1, until_ms=10, weight=40)
    recent.put("b", 2, until_ms=20, weight=40)
    assert (recent.get("a", 9), recent.get("a", 10), recent.get("b", 10)) == (1, None, 2)
    recent.put("b", 3, until_ms=20, weight=50)
    recent.put("c", 4, until_ms=20, weight=50)
    assert (recent.get("b", 0), recent.get("c", 0)) == (3, 4)
    recent.put("d", 5, until_ms=20, weight=60)
    assert [recent.get(key, 0) for key in "bcd"] == [None, None, 5]
    recent.put("e", 6, until_ms=20, weight=101)
    assert recent.get("e", 0) is None
    assert len(recent) == 1
