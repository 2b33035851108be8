"""Who waits for what. A durable commit wakes whoever waits on a key that it touched.

A wake key is any hashable: `("user", user_id)` for everything that a user's /sync may show, `("destination", name)` for a queue, and so on.
The order that makes this free of races: a waiter registers first and reads afterwards; a writer commits, the commit
becomes durable, and only then are the waiters woken. So whatever the waiter did not read wakes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager
from types import TracebackType

WakeKey = Hashable


class Waiter(AbstractContextManager["Waiter"]):
    """A registration. `async wait()` returns once one of its keys was woken since it was made or last waited for."""

    def __init__(self, watch: Watch, keys: frozenset[WakeKey]) -> None:
        self._watch = watch
        self._keys = keys
        self._event = asyncio.Event()
        watch._add(self, keys)

    async def wait(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 (running out is an answer here, not an error)
        """Wait for a wake-up, at most `timeout` seconds; tell whether there was one. Each wake-up is reported once."""
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True

    def wake(self) -> None:
        """Let `wait` return."""
        self._event.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch._remove(self, self._keys)


class Watch:
    """The register of waiters, and of when each key was last woken.

    `count` tells the newest count of the database; `first` is what it was at the start, when everything may have changed.
    """

    def __init__(self, count: Callable[[], int] = lambda: 0, first: int = 0) -> None:
        self._waiters: dict[WakeKey, set[Waiter]] = {}
        self._count = count
        self._first = first
        self._last: dict[WakeKey, int] = {}

    def register(self, keys: Iterable[WakeKey]) -> Waiter:
        """Return a waiter on `keys`; leave its `with` block to end the registration."""
        return Waiter(self, frozenset(keys))

    def last(self, key: WakeKey) -> int:
        """Return a count after which nothing has touched `key`: who has read everything up to it has missed nothing."""
        return self._last.get(key, self._first)

    def note(self, keys: Iterable[WakeKey]) -> None:
        """Remember that `keys` were touched now, at the commit. Their waiters are released once that is durable."""
        self._last.update(dict.fromkeys(keys, self._count()))

    def wake(self, keys: Iterable[WakeKey]) -> None:
        """Tell of news that are not stored: note `keys` and release everyone who waits on any of them."""
        keys = frozenset(keys)
        self.note(keys)
        self.release(keys)

    def release(self, keys: Iterable[WakeKey]) -> None:
        """Let everyone go on who waits on any of `keys`."""
        waiters = self._waiters
        if not waiters:
            return
        if isinstance(keys, set | frozenset) and len(keys) > len(waiters):
            keys = [key for key in waiters if key in keys]
        for key in keys:
            for waiter in waiters.get(key, ()):
                waiter.wake()

    def wake_all(self) -> None:
        """Wake everyone, as at shutdown."""
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.wake()

    def _add(self, waiter: Waiter, keys: frozenset[WakeKey]) -> None:
        for key in keys:
            self._waiters.setdefault(key, set()).add(waiter)

    def _remove(self, waiter: Waiter, keys: frozenset[WakeKey]) -> None:
        for key in keys:
            waiters = self._waiters.get(key)
            if waiters is not None:
                waiters.discard(waiter)
                if not waiters:
                    del self._waiters[key]
