"""Locks by key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from conduit.utils.keyed_lock import KeyedLock


def line() -> tuple[KeyedLock, list[str], Callable[[str], Coroutine[Any, Any, None]]]:
    """Return a lock, the names of those who have held its key `a`, and what holds it in somebody's name for a moment."""
    lock = KeyedLock()
    passed: list[str] = []

    async def work(name: str) -> None:
        async with lock("a"):
            passed.append(name)

    return lock, passed, work


async def test_holders_of_one_key_take_turns_in_order_of_arrival() -> None:
    """Whoever came first goes first, and nobody overlaps."""
    lock = KeyedLock()
    seen: list[str] = []

    async def work(name: str) -> None:
        async with lock("room"):
            seen.append(f"{name} in")
            await asyncio.sleep(0)
            seen.append(f"{name} out")

    await asyncio.gather(*(work(name) for name in "abc"))
    assert seen == ["a in", "a out", "b in", "b out", "c in", "c out"]


async def test_different_keys_do_not_wait_for_each_other() -> None:
    """A lock concerns its key alone."""
    lock = KeyedLock()
    async with lock("a"), lock("b"):
        assert lock.is_held("a")
        assert lock.is_held("b")


async def test_nothing_is_kept_once_nobody_holds_or_waits() -> None:
    """Keys that are not in use take no memory."""
    lock = KeyedLock()
    async with lock("a"):
        assert len(lock) == 1
    assert len(lock) == 0
    assert not lock.is_held("a")


async def test_an_exception_inside_releases() -> None:
    """A failed deed does not leave its lock held."""
    lock = KeyedLock()
    with pytest.raises(KeyError):
        async with lock("a"):
            raise KeyError("a")
    assert len(lock) == 0


async def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    """Who gives up waiting is forgotten, and the next one still gets the lock."""
    lock, passed, work = line()
    async with lock("a"):
        first = asyncio.create_task(work("first"))
        second = asyncio.create_task(work("second"))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
    await second
    assert passed == ["second"]
    assert first.cancelled()
    assert len(lock) == 0


async def test_a_lock_handed_to_somebody_who_gives_up_at_that_moment_goes_on() -> None:
    """Between the release and the first step of who waited, the wait can still be cancelled."""
    lock, passed, work = line()
    async with lock("a"):
        first = asyncio.create_task(work("first"))
        second = asyncio.create_task(work("second"))
        await asyncio.sleep(0)
    first.cancel()
    await second
    assert passed == ["second"]
    assert first.cancelled()
    assert len(lock) == 0


async def test_who_comes_while_the_lock_is_handed_over_does_not_overtake() -> None:
    """The one who has waited goes first."""
    lock, passed, work = line()
    async with lock("a"):
        first = asyncio.create_task(work("first"))
        await asyncio.sleep(0)
    await work("late")
    await first
    assert passed == ["first", "late"]


async def test_users_are_those_who_hold_or_await_a_lock() -> None:
    """So that whoever comes may think better of it."""
    lock = KeyedLock()
    assert lock.users("a") == 0
    async with lock("a"):
        waiting = asyncio.ensure_future(lock("a").__aenter__())
        await asyncio.sleep(0)
        assert (lock.users("a"), lock.users("b")) == (2, 0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert lock.users("a") == 1
