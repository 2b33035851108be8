"""The engine for tests: sorted dictionaries, no disk."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

from sortedcontainers import SortedDict

from conduit.database.engine import Writes, check_keys
from conduit.database.errors import EngineFault


class _Scan:
    """One iteration. Lazy until its tree is about to change; then it takes what is left with it (`freeze`)."""

    def __init__(self, entries: SortedDict, first: bytes, end: bytes | None, reverse: bool) -> None:
        self._keys = iter(entries.irange(first, end, inclusive=(True, False), reverse=reverse))
        self._entries = entries
        self._rest: Iterator[tuple[bytes, bytes]] | None = None

    def __iter__(self) -> _Scan:
        return self

    def __next__(self) -> tuple[bytes, bytes]:
        if self._rest is not None:
            return next(self._rest)
        key = next(self._keys)
        return key, self._entries[key]

    def freeze(self) -> None:
        if self._rest is None:
            self._rest = iter([(key, self._entries[key]) for key in self._keys])

    def end(self) -> None:
        self._rest = _closed()


def _closed() -> Iterator[tuple[bytes, bytes]]:
    raise EngineFault("the database is closed")
    yield


class MemoryEngine:
    """An engine that forgets. `sync` is counted, so that tests can see that it was asked for."""

    name = "memory"
    survives_kill = False

    def __init__(self, trees: Sequence[str]) -> None:
        self._trees: dict[str, SortedDict] = {tree: SortedDict() for tree in trees}
        self._scans: dict[str, weakref.WeakSet[_Scan]] = {tree: weakref.WeakSet() for tree in trees}
        self._closed = False
        self.syncs = 0

    def get(self, tree: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or `None`."""
        self._check_open()
        value: bytes | None = self._trees[tree].get(key)
        return value

    def get_many(self, tree: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        self._check_open()
        entries = self._trees[tree]
        return [entries.get(key) for key in keys]

    def scan(
        self, tree: str, first: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries with `first <= key < end`, as they are now."""
        self._check_open()
        if end is not None and end <= first:
            return iter(())
        scan = _Scan(self._trees[tree], first, end, reverse)
        self._scans[tree].add(scan)
        return scan

    def apply(self, writes: Writes) -> None:
        """Write `writes` atomically."""
        self._check_open()
        check_keys(writes)
        for tree in writes:
            for scan in list(self._scans[tree]):
                scan.freeze()
            self._scans[tree].clear()
        for tree, changes in writes.items():
            entries = self._trees[tree]
            for key, value in changes.items():
                if value is None:
                    entries.pop(key, None)
                else:
                    entries[key] = value

    def sync(self) -> None:
        """Count the call."""
        self._check_open()
        self.syncs += 1

    def checkpoint(self, directory: Path) -> None:
        """Memory has no copy on disk."""
        raise EngineFault("the memory engine keeps no files")

    def statistics(self) -> dict[str, float]:
        """Return the number of entries; nothing is on disk."""
        self._check_open()
        entries = sum(len(tree) for tree in self._trees.values())
        return {"disk_bytes": 0, "memory_bytes": 0, "entries": entries}

    def close(self) -> None:
        """Refuse every later call."""
        self._closed = True
        for scans in self._scans.values():
            for scan in list(scans):
                scan.end()

    def _check_open(self) -> None:
        if self._closed:
            raise EngineFault("the database is closed")
