"""A batch: writes to be applied together, readable through the batch before they are."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from conduit.database.cache import CachePool
from conduit.database.engine import Writes
from conduit.database.overlay import Changes, overlaid
from conduit.database.watch import Crowd

if TYPE_CHECKING:
    from conduit.database.database import Database

COUNTER_KEY = b"c"
COUNTER_MIRROR_KEY = b"conduit_py.reserved"
"""Our copy of the reservation. If it differs from Conduit's key, Conduit has written in between."""
RESERVE = 4096
"""How many counts one reservation on disk covers."""


class Batch:
    """Writes to be applied together; a `Source` and `Sink`. Made by `Database.batch`, used as a `with` block without an `await` inside.

    An `await` that lets the loop run would show others a world in which this deed is half done. It is noticed: the block then ends in a
    `RuntimeError` and nothing is written.
    """

    __slots__ = (
        "_changes",
        "_count_before",
        "_hooks",
        "_trees",
        "_tripped",
        "_tripwire",
        "cache_overlay",
        "cache_pool",
        "crowds",
        "db",
        "reserved",
        "wakes",
    )

    def __init__(self, db: Database) -> None:
        self.db = db
        self.cache_overlay: defaultdict[str, dict[Any, Any]] = defaultdict(dict)
        self.cache_pool: CachePool = db.cache_pool
        self.wakes: set[Hashable] = set()
        self.crowds: list[Crowd] = []
        self.reserved = db._reserved
        self._count_before = db._count
        self._changes = Changes()
        self._trees = self._changes.trees
        self._hooks: list[Callable[[], None]] = []
        self._tripwire: asyncio.Handle | None = None
        self._tripped = False

    def __enter__(self) -> Batch:
        db = self.db
        if db._open_batch is not None:
            raise RuntimeError("a batch is open already: batches do not nest and hold no await")
        db._check_writable()
        # Whatever suspends this task lets the loop come to this callback first.
        loop = asyncio._get_running_loop()
        if loop is not None:
            self._tripwire = loop.call_soon(self._trip)
        db._open_batch = self
        return self

    def _trip(self) -> None:
        self._tripped = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        db = self.db
        db._open_batch = None
        # A hook may hold the batch. They must not hold each other, or all that was written stays until the collector comes.
        hooks, self._hooks = self._hooks, []
        if self._tripwire is not None:
            self._tripwire.cancel()
        if kind is not None:
            db._count = self._count_before
            return
        try:
            if self._tripped:
                raise RuntimeError("an await inside a batch: nothing was written")
            db._commit(self)
        except BaseException:
            db._count = self._count_before
            raise
        for hook in hooks:
            hook()

    def get(self, tree: str, key: bytes) -> bytes | None:
        """Return the value of `key` as this batch leaves it, or `None`."""
        writes = self._trees.get(tree)
        if writes is not None and key in writes:
            return writes[key]
        return self.db.engine.get(tree, key)

    def get_many(self, tree: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys` as this batch leaves them."""
        found = self.db.engine.get_many(tree, keys)
        writes = self._trees.get(tree)
        if writes is None:
            return found
        return [writes.get(key, value) for key, value in zip(keys, found, strict=True)]

    def scan(
        self, tree: str, first: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries with `first <= key < end` as this batch leaves them now."""
        stored = self.db.engine.scan(tree, first, end, reverse=reverse)
        own = self._changes.between(tree, first, end)
        return overlaid(stored, own, reverse) if own else stored

    def put(self, tree: str, key: bytes, value: bytes) -> None:
        """Set `key`."""
        writes = self._trees.get(tree)
        if writes is None:
            writes = self._trees[tree] = {}
        writes[key] = value

    def put_all(self, tree: str, keys: Iterable[bytes], value: bytes) -> None:
        """Set each of `keys` to `value`."""
        self._trees.setdefault(tree, {}).update(dict.fromkeys(keys, value))

    def delete(self, tree: str, key: bytes) -> None:
        """Remove `key`, if it is there."""
        self._trees.setdefault(tree, {})[key] = None

    def next_count(self) -> int:
        """Return a fresh count; what is written under it belongs into this batch."""
        db = self.db
        if db._count >= self.reserved:
            self.reserved = db._count + RESERVE
            reserved = self.reserved.to_bytes(8, "big")
            self.put("global", COUNTER_KEY, reserved)
            self.put("global", COUNTER_MIRROR_KEY, reserved)
        db._count += 1
        return db._count

    def wake(self, *keys: Hashable) -> None:
        """Wake whoever waits on `keys` once this batch is durable."""
        self.wakes.update(keys)

    def wake_crowd(self, keys: Crowd) -> None:
        """Release whoever waits on one of `keys`, once this batch is durable. What they are to look at has a key of its own, which `wake` notes."""
        self.crowds.append(keys)

    def on_commit(self, hook: Callable[[], None]) -> None:
        """Call `hook` right after this batch was applied; not at all if it is dropped."""
        self._hooks.append(hook)

    def writes(self) -> Writes:
        """Return what was written, by tree."""
        return self._trees
