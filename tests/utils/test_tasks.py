"""Background tasks."""

from __future__ import annotations

import asyncio

from conduit.utils.tasks import Tasks


async def test_a_failure_is_reported() -> None:
    """A task that raises is not lost."""
    failures: list[BaseException] = []
    tasks = Tasks(on_failure=failures.append)

    async def fail() -> None:
        raise RuntimeError("broken")

    task = tasks.spawn(fail(), name="fail")
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert [str(error) for error in failures] == ["broken"]
    assert len(tasks) == 0


async def test_close_cancels_and_waits() -> None:
    """Tasks have ended, with their clean-up done, when `close` returns; that is no failure."""
    failures: list[BaseException] = []
    tasks = Tasks(on_failure=failures.append)
    cleaned = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    tasks.spawn(wait(), name="a")
    tasks.spawn(wait(), name="b")
    await asyncio.sleep(0)
    await tasks.close()
    assert cleaned == [True, True]
    assert failures == []


async def test_a_task_spawned_by_an_ending_task_does_not_outlive_close() -> None:
    """Nothing starts any more once the server closes."""
    tasks = Tasks()
    started = []

    async def late() -> None:
        started.append(True)

    async def ending() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tasks.spawn(late(), name="late")

    tasks.spawn(ending(), name="ending")
    await asyncio.sleep(0)
    await tasks.close()
    await asyncio.sleep(0)
    assert started == []
    assert len(tasks) == 0


async def test_a_task_that_ends_is_forgotten() -> None:
    """Only running tasks are held."""
    tasks = Tasks()

    async def nothing() -> int:
        return 7

    assert await tasks.spawn(nothing(), name="nothing") == 7
    await asyncio.sleep(0)
    assert len(tasks) == 0
