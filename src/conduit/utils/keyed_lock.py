"""A lock for each key, which takes memory only while somebody holds or awaits it."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from types import TracebackType


class _Entry:
    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class KeyedLock:
    """`async with lock(key):` runs alone among all that use the same key, in order of arrival. Not reentrant."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry] = {}

    def __call__(self, key: Hashable) -> Held:
        """Return a context manager which holds the lock of `key`."""
        return Held(self, key)

    def __len__(self) -> int:
        return len(self._entries)

    def is_held(self, key: Hashable) -> bool:
        """Tell whether somebody holds the lock of `key`."""
        entry = self._entries.get(key)
        return entry is not None and entry.lock.locked()

    def _enter(self, key: Hashable) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
        entry.users += 1
        return entry

    def _leave(self, key: Hashable, entry: _Entry) -> None:
        entry.users -= 1
        if not entry.users:
            del self._entries[key]


class Held:
    """One holding of a lock; made by `KeyedLock`."""

    __slots__ = ("_entry", "_key", "_owner")

    def __init__(self, owner: KeyedLock, key: Hashable) -> None:
        self._owner = owner
        self._key = key
        self._entry: _Entry | None = None

    async def __aenter__(self) -> None:
        entry = self._owner._enter(self._key)
        try:
            await entry.lock.acquire()
        except BaseException:
            self._owner._leave(self._key, entry)
            raise
        self._entry = entry

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entry = self._entry
        assert entry is not None
        self._entry = None
        entry.lock.release()
        self._owner._leave(self._key, entry)
