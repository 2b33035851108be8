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


async def test_subscription_gathers_the_woken_keys_of_its_kind() -> None:
    """Each once until taken, in the order of waking, and none of another kind."""
    watch = Watch()
    with watch.subscribe("destination") as queue:
        watch.wake([("destination", "b")])
        watch.wake([("destination", "a"), ("user", "a"), "destination"])
        watch.wake([("destination", "b")])
        assert await queue.take() == [("destination", "b"), ("destination", "a")]
        task = asyncio.create_task(queue.take())
        for _ in range(3):
            await asyncio.sleep(0)
        assert not task.done()
        watch.wake_all()
        assert await task == []
        assert await queue.take(0) == []
    assert watch._subscriptions == {}


async def test_subscriber_waits_for_the_next_key() -> None:
    """What was taken is not taken again, and the next wake-up ends the wait."""
    watch = Watch()
    with watch.subscribe("destination") as queue, watch.subscribe("destination") as other:
        task = asyncio.create_task(queue.take())
        await asyncio.sleep(0)
        assert not task.done()
        watch.wake([("destination", "a")])
        assert await task == [("destination", "a")]
        task = asyncio.create_task(queue.take())
        await asyncio.sleep(0)
        watch.wake([("destination", "a")])
        assert await task == [("destination", "a")]
        assert await other.take() == [("destination", "a")]


async def test_subscriber_of_several_kinds_gets_what_is_announced() -> None:
    """In the order of the news, without a note of them; other kinds go elsewhere."""
    watch = Watch(lambda: 7)
    watch.announce(("typing", "before"))
    with watch.subscribe("typing", "presence") as queue:
        watch.announce(("typing", "r"), ("receipt", "r"), ("presence", "u"))
        watch.wake([("typing", "s")])
        assert await queue.take() == [("typing", "r"), ("presence", "u"), ("typing", "s")]
        assert watch.last(("typing", "r")) == 0
    watch.announce(("typing", "after"))
    assert await queue.take(0) == []


async def test_subscriber_is_let_go_at_the_end() -> None:
    """With nothing to serve, as at shutdown."""
    watch = Watch()
    with watch.subscribe("destination") as queue:
        task = asyncio.create_task(queue.take())
        await asyncio.sleep(0)
        watch.wake_all()
        assert await task == []


async def test_crowd_is_released_and_not_noted() -> None:
    """Its members are told to look, at what the noted keys say."""
    count = 7
    watch = Watch(lambda: count)
    with watch.register([("user", "a")]) as waiter, watch.register([("user", "z")]) as other:
        watch.wake([("room", "r")], [frozenset({("user", "a"), ("user", "b")})])
        assert await waiter.wait(0)
        assert not await other.wait(0)
    assert watch.last(("room", "r")) == watch.newest == 7
    assert watch.last(("user", "a")) == 0
    assert watch.latest([("user", "a"), ("room", "r"), ("room", "s")]) == 7
    assert watch.latest([]) == 0


async def test_waiter_that_is_cancelled_can_wait_again() -> None:
    """And hears of what woke it meanwhile."""
    watch = Watch()
    with watch.register(["a"]) as waiter:
        task = asyncio.create_task(waiter.wait(60))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        watch.wake(["a"])
        assert await waiter.wait(60)
        assert not await waiter.wait(0)
