"""A view of an engine that changes nothing: for tools that look at a database, or copy it. Trees that are not there read as empty."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from conduit.database.engine import Engine, Writes
from conduit.database.errors import EngineFault


class ReadOnlyEngine:
    """An engine over `inner`, which was opened with the trees `present`."""

    survives_kill = True

    def __init__(self, inner: Engine, present: Iterable[str]) -> None:
        self.name = inner.name
        self._inner = inner
        self._present = frozenset(present)

    def get(self, tree: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or `None`."""
        return self._inner.get(tree, key) if tree in self._present else None

    def get_many(self, tree: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        return self._inner.get_many(tree, keys) if tree in self._present else [None] * len(keys)

    def scan(
        self, tree: str, first: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries with `first <= key < end`."""
        return self._inner.scan(tree, first, end, reverse=reverse) if tree in self._present else iter(())

    def apply(self, writes: Writes) -> None:
        """Refuse."""
        raise EngineFault("the database was opened for reading only")

    def sync(self) -> None:
        """Do nothing: there is nothing that is not on disk."""

    def checkpoint(self, directory: Path) -> None:
        """Write a copy into `directory`, which must not exist."""
        self._inner.checkpoint(directory)

    def statistics(self) -> dict[str, float]:
        """Return the engine's figures."""
        return self._inner.statistics()

    def close(self) -> None:
        """Release the directory."""
        self._inner.close()
