"""Waiting for news: registered first, woken once, and without loss."""

from __future__ import annotations

import asyncio

from conduit.database.watch import Watch


async def test_wake_between_registering_and_waiting_is_not_lost() -> None:
    """Whoever registers first and reads after misses nothing."""
    watch = Watch()
    with watch.register(["a", "b"]) as waiter:
        watch.wake(["b"])
        assert await waiter.wait(0)
        assert not await waiter.wait(0)


async def test_only_who_waits_on_the_key_is_woken() -> None:
    """Each of them, whatever else they wait on."""
    watch = Watch()
    with watch.register(["a"]) as one, watch.register(["a", "b"]) as both, watch.register(["c"]) as other:
        watch.wake({"a"})
        assert await one.wait(0)
        assert await both.wait(0)
        assert not await other.wait(0)


async def test_waiting_ends_when_woken() -> None:
    """Also without a limit of time."""
    watch = Watch()
    with watch.register(["a"]) as waiter:
        task = asyncio.create_task(waiter.wait())
        await asyncio.sleep(0)
        assert not task.done()
        watch.wake(["a"])
        assert await task


async def test_large_sets_of_keys_wake_the_few_who_wait() -> None:
    """A message in a large room names many; only those who wait matter."""
    watch = Watch()
    with watch.register([("user", 7)]) as waiter, watch.register([("user", -1)]) as other:
        watch.wake({("user", number) for number in range(1000)})
        assert await waiter.wait(0)
        assert not await other.wait(0)


async def test_everybody_is_woken_at_the_end() -> None:
    """As at shutdown."""
    watch = Watch()
    with watch.register(["a"]) as one, watch.register(["b"]) as other:
        watch.wake_all()
        assert await one.wait(0)
        assert await other.wait(0)


def test_registrations_end_with_their_block() -> None:
    """Nothing is kept of who has gone."""
    watch = Watch()
    with watch.register(["a"]), watch.register(["a", "b"]):
        pass
    watch.wake(["a", "b"])
    assert watch._waiters == {}
