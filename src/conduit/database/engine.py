"""The contract of a storage engine: ordered byte keys in named trees.

Rules that every engine keeps, and that one suite (`tests/database/test_engine.py`) holds all of them to:

* Keys order as unsigned bytes. Keys hold 1 to `MAX_KEY_BYTES` bytes, values any number. A longer key raises `KeyTooLong`
  and nothing of its batch is written.
* `apply` is atomic over all its trees: a crash at any instant leaves all of it or nothing. What it wrote is visible at once to
  every later read of this process, and on disk once a `sync` that began afterwards has returned.
* A scan sees its tree as it was when the scan began, whatever is applied while it runs. It belongs to the thread that began it, and
  is exhausted or closed before the engine is closed; an engine closes those which it still knows of.
* Reads and `apply` are called on one thread (the loop's). `sync` and `checkpoint` may be called on another.
* After any failed write or sync the engine is broken: every later call raises `EngineFault`. Nothing is retried.
* Absence is `None`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from conduit.database.errors import KeyTooLong

MAX_KEY_BYTES = 1900
"""LMDB's second file format holds keys of 1,978 bytes; all engines refuse alike a little below."""

Writes = Mapping[str, Mapping[bytes, "bytes | None"]]
"""Tree, then key to value; `None` deletes."""


class Engine(Protocol):
    """Ordered trees of bytes. See the module's text for the contract."""

    name: str
    survives_kill: bool
    """Whether what `apply` wrote survives the death of the process (not that of the machine) without a `sync`."""

    def get(self, tree: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or `None`."""
        ...

    def get_many(self, tree: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        ...

    def scan(
        self, tree: str, first: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries with `first <= key < end` in ascending order, or descending if `reverse`; `end=None` has no upper bound."""
        ...

    def apply(self, writes: Writes) -> None:
        """Write `writes` atomically."""
        ...

    def sync(self) -> None:
        """Block until everything applied before this call is on disk."""
        ...

    def checkpoint(self, directory: Path) -> None:
        """Write a copy of one moment into `directory`, which must not exist; it opens like the original."""
        ...

    def statistics(self) -> dict[str, float]:
        """Return figures for operators: at least `disk_bytes` and `memory_bytes`."""
        ...

    def close(self) -> None:
        """Sync and release everything. Twice is once."""
        ...


def check_keys(writes: Writes) -> None:
    """Raise `KeyTooLong` if a key of `writes` has a length that not every engine can hold."""
    for tree, changes in writes.items():
        for key in changes:
            if not 0 < len(key) <= MAX_KEY_BYTES:
                raise KeyTooLong(f"tree {tree}: key of {len(key)} bytes")
