"""The database: batches, durability, the counter, caches and wake-ups over an engine.

    with db.batch() as batch:          # buffers; reads through the batch see its own writes
        trees.alias_roomid.put(batch, "lobby", room_id)
    await db.durable()                 # returns once the batch is on disk

Code between two awaits runs alone on the loop's thread, so a batch without an `await` inside is seen whole or not at all, by other
requests and by the disk. A batch does not nest. Leaving its block by an exception drops it, the counts drawn in it and the cache entries it made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from heapq import merge
from types import TracebackType
from typing import Any

import structlog

from conduit.database.cache import CachePool
from conduit.database.engine import Engine
from conduit.database.errors import DatabaseError, EngineFault
from conduit.database.watch import Watch

log = structlog.get_logger(__name__)

COUNTER_KEY = b"c"
COUNTER_MIRROR_KEY = b"conduit_py.reserved"
"""Our copy of the reservation. If it differs from Conduit's key, Conduit has written in between."""
RESERVE = 4096
"""How many counts one reservation on disk covers."""


class Database:
    """An open database. Everything but `durable` is synchronous and belongs to the loop's thread."""

    def __init__(self, engine: Engine, *, cache_bytes: int = 64 << 20, fsync: bool = True) -> None:
        self.engine = engine
        self.cache_pool = CachePool(cache_bytes)
        self.on_fault: Callable[[BaseException], None] = lambda error: None
        self._fsync = fsync
        self._open_batch: Batch | None = None
        self._applied = 0
        self._durable = 0
        self._pending_wakes: list[AbstractSet[Hashable]] = []
        self._durable_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._fault: BaseException | None = None
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sync") if engine.name != "memory" else None
        stored = engine.get("global", COUNTER_KEY)
        # The counter restarts at what was reserved: nothing between was certainly unused.
        self._count = self._reserved = int.from_bytes(stored, "big") if stored else 0
        self.start_count = self._count
        """The count at which this process began. What is not stored (typing, presence) is newer."""
        self.watch = Watch(lambda: self._count, self._count)

    # --- reading ---------------------------------------------------------------------------------------------------

    @property
    def cache_overlay(self) -> None:
        """The database itself has no overlay."""
        return None

    def get(self, tree: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or `None`."""
        return self.engine.get(tree, key)

    def get_many(self, tree: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        return self.engine.get_many(tree, keys)

    def scan(
        self, tree: str, first: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries with `first <= key < end`."""
        return self.engine.scan(tree, first, end, reverse=reverse)

    # --- writing ---------------------------------------------------------------------------------------------------

    def batch(self) -> Batch:
        """Return a batch, to be used as a `with` block without an `await` inside."""
        return Batch(self)

    def current_count(self) -> int:
        """Return the newest count drawn: everything written so far has this count or a lower one."""
        return self._count

    def next_count(self) -> int:
        """Return a fresh count outside of any batch, for what is never stored (typing, presence)."""
        if self._open_batch is not None:
            return self._open_batch.next_count()
        if self._count >= self._reserved:
            with self.batch() as batch:
                return batch.next_count()
        self._count += 1
        return self._count

    @property
    def is_durable(self) -> bool:
        """Tell whether everything applied is on disk."""
        return self._durable >= self._applied

    async def durable(self) -> None:
        """Return once everything applied before this call is on disk.

        One sync is in flight at a time; all batches applied meanwhile share the next. Raises `EngineFault` if the disk failed.
        """
        self._raise_fault()
        if self._durable >= self._applied:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._durable_waiters.append((self._applied, done))
        self._start_flusher()
        await done

    def sync_now(self) -> None:
        """Block until everything applied is on disk, for tools without a loop."""
        self._raise_fault()
        self.engine.sync()
        self._became_durable(self._applied)

    async def close(self) -> None:
        """Sync, wake all waiters and close the engine."""
        if self._closed:
            return
        try:
            if self._fault is None:
                await self.durable()
        finally:
            self._closed = True
            self.watch.wake_all()
            if self._flusher is not None:
                await asyncio.gather(self._flusher, return_exceptions=True)
            if self._thread is not None:
                self._thread.shutdown()
            self.engine.close()

    def close_now(self) -> None:
        """Sync and close, for tools without a loop."""
        if not self._closed:
            self._closed = True
            if self._thread is not None:
                self._thread.shutdown()
            self.engine.close()

    # --- what batches call -----------------------------------------------------------------------------------------

    def _commit(self, batch: Batch) -> None:
        self._raise_fault()
        ops = batch.ops()
        if ops:
            try:
                self.engine.apply(ops)
            except DatabaseError:
                raise
            except Exception as error:
                self._fail(error)
                raise EngineFault(f"writing failed: {error}") from error
            self._applied += 1
        self._reserved = batch.reserved
        self.cache_pool.publish(batch.cache_overlay)
        if batch.wakes:
            # Noted at once, released when durable: who reads in between sees the news and answers once it is durable.
            self.watch.note(batch.wakes)
            self._pending_wakes.append(batch.wakes)
        if self._durable < self._applied or batch.wakes:
            self._start_flusher()

    def _start_flusher(self) -> None:
        if self._thread is None or not self._fsync:
            self._flush_inline()
            return
        if self._flusher is not None and not self._flusher.done():
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # a tool without a loop: it calls sync_now or close
        self._flusher = loop.create_task(self._flush(), name="database-sync")

    def _flush_inline(self) -> None:
        # Nothing to wait for, but wake-ups and waiters still run in the loop, after the deed that caused them.
        if self._fault is None and self._thread is None:
            self.engine.sync()
        self._became_durable(self._applied)

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._durable < self._applied or self._pending_wakes:
                target = self._applied
                await loop.run_in_executor(self._thread, self.engine.sync)
                self._became_durable(target)
        except Exception as error:
            self._fail(error)

    def _became_durable(self, applied: int) -> None:
        self._durable = applied
        wakes, self._pending_wakes = self._pending_wakes, []
        for keys in wakes:
            self.watch.release(keys)
        waiters, self._durable_waiters = self._durable_waiters, []
        for target, done in waiters:
            if target > applied:
                self._durable_waiters.append((target, done))
            elif not done.done():
                done.set_result(None)

    def _fail(self, error: BaseException) -> None:
        if self._fault is not None:
            return
        self._fault = error
        log.critical("database_failed", error=str(error))
        waiters, self._durable_waiters = self._durable_waiters, []
        for _, done in waiters:
            if not done.done():
                done.set_exception(EngineFault(f"the disk failed: {error}"))
        self.on_fault(error)

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise EngineFault(f"the database has failed: {self._fault}")


class Batch:
    """Writes to be applied together; a `Source` and `Sink`. Made by `Database.batch`."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.cache_overlay: dict[tuple[str, Any], Any] = {}
        self.wakes: set[Hashable] = set()
        self.reserved = db._reserved
        self._count_before = db._count
        self._writes: dict[str, dict[bytes, bytes | None]] = {}
        self._hooks: list[Callable[[], None]] = []
        self._task: asyncio.Task[Any] | None = None

    @property
    def cache_pool(self) -> CachePool:
        """The pool shared by all caches."""
        return self.db.cache_pool

    def __enter__(self) -> Batch:
        if self.db._open_batch is not None:
            raise RuntimeError("a batch is open already: batches do not nest and hold no await")
        self.db._raise_fault()
        self.db._open_batch = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db._open_batch = None
        if kind is not None:
            self.db._count = self._count_before
            return
        try:
            self.db._commit(self)
        except BaseException:
            self.db._count = self._count_before
            raise
        for hook in self._hooks:
            hook()

    def get(self, tree: str, key: bytes) -> bytes | None:
        """Return the value of `key` as this batch leaves it, or `None`."""
        writes = self._writes.get(tree)
        if writes is not None and key in writes:
            return writes[key]
        return self.db.engine.get(tree, key)

    def get_many(self, tree: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys` as this batch leaves them."""
        writes = self._writes.get(tree)
        found = self.db.engine.get_many(tree, keys)
        if not writes:
            return found
        return [writes[key] if key in writes else value for key, value in zip(keys, found, strict=True)]

    def scan(
        self, tree: str, first: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries with `first <= key < end` as this batch leaves them now."""
        stored = self.db.engine.scan(tree, first, end, reverse=reverse)
        writes = self._writes.get(tree)
        if not writes:
            return stored
        own = {key: value for key, value in writes.items() if key >= first and (end is None or key < end)}
        return _overlaid(stored, own, reverse) if own else stored

    def put(self, tree: str, key: bytes, value: bytes) -> None:
        """Set `key`."""
        writes = self._writes.get(tree)
        if writes is None:
            writes = self._writes[tree] = {}
        writes[key] = value

    def delete(self, tree: str, key: bytes) -> None:
        """Remove `key`, if it is there."""
        self._writes.setdefault(tree, {})[key] = None

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

    def wake_many(self, keys: AbstractSet[Hashable]) -> None:
        """Wake whoever waits on any of `keys`; cheap for large sets."""
        self.wakes.update(keys)

    def on_commit(self, hook: Callable[[], None]) -> None:
        """Call `hook` right after this batch was applied; not at all if it is dropped."""
        self._hooks.append(hook)

    def ops(self) -> list[tuple[str, bytes, bytes | None]]:
        """Return all writes; the last one of each key."""
        return [(tree, key, value) for tree, writes in self._writes.items() for key, value in writes.items()]


def _overlaid(
    stored: Iterator[tuple[bytes, bytes]], own: dict[bytes, bytes | None], reverse: bool
) -> Iterator[tuple[bytes, bytes]]:
    unchanged = ((key, value) for key, value in stored if key not in own)
    added = sorted(((key, value) for key, value in own.items() if value is not None), reverse=reverse)
    yield from merge(unchanged, added, key=lambda entry: entry[0], reverse=reverse)
