"""A lock for each key, which takes memory only while somebody holds or awaits it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from types import TracebackType


class KeyedLock:
    """`async with lock(key):` runs alone among all that use the same key, in order of arrival. Not reentrant.

    A key is here while it is held, with those who wait for it. To take a lock that nobody holds costs one entry in a dictionary.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[asyncio.Future[None]] | None] = {}

    def __call__(self, key: Hashable) -> Held:
        """Return a context manager which holds the lock of `key`."""
        return Held(self, key)

    def __len__(self) -> int:
        return len(self._waiting)

    def is_held(self, key: Hashable) -> bool:
        """Tell whether somebody holds the lock of `key`."""
        return key in self._waiting

    def users(self, key: Hashable) -> int:
        """Return how many hold or await the lock of `key`."""
        return 1 + len(self._waiting[key] or ()) if key in self._waiting else 0

    async def _wait(self, key: Hashable) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[key]
        if waiting is None:
            waiting = self._waiting[key] = deque()
        waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                # The lock was handed over in the moment in which the wait was given up.
                self._release(key)
            elif turn in waiting:
                waiting.remove(turn)
            raise

    def _release(self, key: Hashable) -> None:
        waiting = self._waiting[key]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                # It stays held: who comes now must not overtake.
                turn.set_result(None)
                return
        del self._waiting[key]


class Held:
    """One holding of a lock; made by `KeyedLock`."""

    __slots__ = ("_key", "_owner")

    def __init__(self, owner: KeyedLock, key: Hashable) -> None:
        self._owner = owner
        self._key = key

    async def __aenter__(self) -> None:
        owner, key = self._owner, self._key
        if key in owner._waiting:
            await owner._wait(key)
        else:
            owner._waiting[key] = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owner._release(self._key)
