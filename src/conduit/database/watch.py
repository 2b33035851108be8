"""Who waits for what. A durable commit wakes whoever waits on a key that it touched.

A wake key is any hashable, by habit a tuple whose first part names its kind: `("user", user_id)` for what concerns a user alone, `("room", room_id)`
for what happens in a room, `("destination", name)` for a queue, and so on. A crowd is a frozen set of keys that are released and not noted: the users of
a room wait on one key each, and what they look at when woken is the key of the room. So an event costs the same however many are in its room.

The order that makes this free of races: a waiter registers first and reads afterwards; a writer commits, the commit
becomes durable, and only then are the waiters woken. So whatever the waiter did not read wakes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

WakeKey = Hashable
Crowd = frozenset[WakeKey]


class Waiter(AbstractContextManager["Waiter"]):
    """A registration. `async wait()` returns once one of its keys was woken since it was made or last waited for."""

    __slots__ = ("_keys", "_waiting", "_watch", "_woken")

    def __init__(self, watch: Watch, keys: frozenset[WakeKey]) -> None:
        self._watch = watch
        self._keys = keys
        self._woken = False
        self._waiting: asyncio.Future[bool] | None = None
        watch._add(self, keys)

    async def wait(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 (running out is an answer here, not an error)
        """Wait for a wake-up, at most `timeout` seconds; tell whether there was one. Each wake-up is reported once."""
        if not self._woken:
            # A future and a timer: what `asyncio.timeout` around an `Event` costs is noticeable with a thousand of them.
            loop = asyncio.get_running_loop()
            self._waiting = waiting = loop.create_future()
            timer = None if timeout is None else loop.call_later(timeout, _let_go, waiting)
            try:
                await waiting
            finally:
                self._waiting = None
                if timer is not None:
                    timer.cancel()
        woken, self._woken = self._woken, False
        return woken

    def wake(self) -> None:
        """Let `wait` return."""
        self._woken = True
        if self._waiting is not None:
            _let_go(self._waiting)

    def hush(self) -> None:
        """Forget a wake-up that was not waited for."""
        self._woken = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch._remove(self, self._keys)


def _let_go(waiting: asyncio.Future[bool]) -> None:
    if not waiting.done():
        waiting.set_result(True)


class Subscription(AbstractContextManager["Subscription"]):
    """A queue of all keys of some kinds that are woken or announced, for who serves them all: the sender and its destinations.

        with db.watch.subscribe("destination") as queue:
            serve(everything that is stored)          # subscribed first, read afterwards
            while True:
                for _, server in await queue.take():
                    serve(server)

    A key woken several times before it is taken is taken once. Keys in crowds are not seen. Leave the `with` block to end it.
    """

    def __init__(self, watch: Watch, kinds: tuple[Any, ...]) -> None:
        self._watch = watch
        self._kinds = kinds
        self._keys: dict[tuple[Any, ...], None] = {}
        self._alarm = Waiter(watch, frozenset())
        for kind in kinds:
            watch._subscriptions.setdefault(kind, []).append(self)

    async def take(self, timeout: float | None = None) -> list[tuple[Any, ...]]:  # noqa: ASYNC109 (as `Waiter.wait`)
        """Return the keys woken since the last call, in order of their first wake-up; wait for one if there is none.

        Empty once `timeout` seconds are over, or when the database is closing.
        """
        if not self._keys:
            await self._alarm.wait(timeout)
        taken, self._keys = list(self._keys), {}
        self._alarm.hush()
        return taken

    def put(self, key: tuple[Any, ...]) -> None:
        """Add a key that was woken."""
        self._keys[key] = None
        self._alarm.wake()

    def wake(self) -> None:
        """Let `take` return, whether or not there is a key."""
        self._alarm.wake()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subscriptions = self._watch._subscriptions
        for each in self._kinds:
            subscriptions[each].remove(self)
            if not subscriptions[each]:
                del subscriptions[each]


class Watch:
    """The register of waiters, and of when each key was last woken.

    `count` tells the newest count of the database; `first` is what it was at the start, when everything may have changed.
    """

    def __init__(self, count: Callable[[], int] = lambda: 0, first: int = 0) -> None:
        self._waiters: dict[WakeKey, set[Waiter]] = {}
        self._waited_on: set[WakeKey] = set()
        """The keys of `_waiters`, as a set: crowds are met with it by the hashes that both hold."""
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._count = count
        self._first = first
        self._last: dict[WakeKey, int] = {}
        self.newest = first
        """A count after which nothing at all was noted."""

    def register(self, keys: Iterable[WakeKey]) -> Waiter:
        """Return a waiter on `keys`; leave its `with` block to end the registration."""
        return Waiter(self, frozenset(keys))

    def subscribe(self, *kinds: str) -> Subscription:
        """Return a queue of every key woken or announced whose first part is one of `kinds`; leave its `with` block to end it."""
        return Subscription(self, kinds)

    def announce(self, *keys: tuple[Any, ...]) -> None:
        """Give news to the subscriptions of their kinds: what has changed, in the key itself. Nobody waits on it, and it is not noted."""
        if self._subscriptions:
            self._hand_out(keys)

    def last(self, key: WakeKey) -> int:
        """Return a count after which nothing has touched `key`: who has read everything up to it has missed nothing."""
        return self._last.get(key, self._first)

    def latest(self, keys: Iterable[WakeKey]) -> int:
        """Return a count after which nothing has touched any of `keys`."""
        last, first = self._last.get, self._first
        return max([last(key, first) for key in keys], default=first)

    def note(self, keys: Iterable[WakeKey]) -> None:
        """Remember that `keys` were touched now, at the commit. Their waiters are released once that is durable."""
        self.newest = count = self._count()
        self._last.update(dict.fromkeys(keys, count))

    def wake(self, keys: Iterable[WakeKey], crowds: Iterable[Crowd] = ()) -> None:
        """Tell of news that are not stored: note `keys`, and release everyone who waits on any of them or of `crowds`."""
        keys = frozenset(keys)
        self.note(keys)
        self.release(keys, crowds)

    def release(self, keys: Iterable[WakeKey], crowds: Iterable[Crowd] = ()) -> None:
        """Let everyone go on who waits on any of `keys`, or on one of a crowd."""
        waiters = self._waiters
        for key in keys:
            for waiter in waiters.get(key, ()):
                waiter.wake()
        if self._subscriptions:
            self._hand_out(keys)
        if waiters:
            for crowd in crowds:
                for key in self._waited_on & crowd:
                    for waiter in waiters[key]:
                        waiter.wake()

    def _hand_out(self, keys: Iterable[WakeKey]) -> None:
        for key in keys:
            if isinstance(key, tuple) and key[0] in self._subscriptions:
                for subscription in self._subscriptions[key[0]]:
                    subscription.put(key)

    def wake_all(self) -> None:
        """Wake everyone, as at shutdown."""
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.wake()
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.wake()

    def _add(self, waiter: Waiter, keys: frozenset[WakeKey]) -> None:
        for key in keys:
            waiting = self._waiters.get(key)
            if waiting is None:
                self._waiters[key] = {waiter}
                self._waited_on.add(key)
            else:
                waiting.add(waiter)

    def _remove(self, waiter: Waiter, keys: frozenset[WakeKey]) -> None:
        for key in keys:
            waiters = self._waiters.get(key)
            if waiters is not None:
                waiters.discard(waiter)
                if not waiters:
                    del self._waiters[key]
                    self._waited_on.discard(key)
