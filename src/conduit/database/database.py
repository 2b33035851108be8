"""The database: batches, durability, the counter, caches and wake-ups over an engine.

    with db.batch() as batch:          # buffers; reads through the batch see its own writes
        trees.alias_roomid.put(batch, "lobby", room_id)
    await db.durable()                 # returns once the batch is on disk

Code between two awaits runs alone on the loop's thread, so a batch without an `await` inside is seen whole or not at all, by other
requests and by the disk. A batch does not nest. Leaving its block by an exception drops it, the counts drawn in it and the cache entries it made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import structlog

from conduit.database.batch import COUNTER_KEY, COUNTER_MIRROR_KEY, RESERVE, Batch
from conduit.database.cache import CachePool
from conduit.database.engine import Engine
from conduit.database.errors import DatabaseError, EngineFault
from conduit.database.space import Space
from conduit.database.syncer import Syncer
from conduit.database.watch import Watch

__all__ = ["COUNTER_KEY", "COUNTER_MIRROR_KEY", "RESERVE", "Batch", "Database"]

log = structlog.get_logger(__name__)


class Database:
    """An open database. Everything but `durable`, `checkpoint` and `close` is synchronous, and all of it belongs to the loop's thread.

    `fsync=False` trusts the operating system with what was written: it survives the death of the process, not that of the machine. `space` refuses
    batches when the disk is nearly full. `released` is called last of all, when the directory may be opened by somebody else.
    """

    cache_overlay: None = None
    """The database itself has no overlay: what is cached through it is common at once."""

    def __init__(
        self,
        engine: Engine,
        *,
        cache_bytes: int = 64 << 20,
        fsync: bool = True,
        space: Space | None = None,
        released: Callable[[], None] = lambda: None,
    ) -> None:
        self.engine = engine
        stored = engine.get("global", COUNTER_KEY)
        # The counter restarts at what was reserved: nothing between was certainly unused.
        self._count = self._reserved = int.from_bytes(stored, "big") if stored else 0
        self.start_count = self._count
        """The count at which this process began. What is not stored (typing, presence) is newer."""
        self.watch = Watch(lambda: self._count, self._count)
        self.cache_pool = CachePool(cache_bytes)
        self.on_fault: Callable[[BaseException], None] = lambda error: None
        self._space = space
        self._released = released
        self._open_batch: Batch | None = None
        self._fault: BaseException | None = None
        self._closed = False
        syncs = fsync or not engine.survives_kill
        self._syncer = Syncer(
            engine.sync if syncs else lambda: None,
            self.watch,
            self._failed,
            in_thread=syncs and engine.name != "memory",
        )

    # --- reading ---------------------------------------------------------------------------------------------------

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
        return self._syncer.durable >= self._syncer.applied

    async def durable(self) -> None:
        """Return once everything applied before this call is on disk.

        One sync is in flight at a time; all batches applied meanwhile share the next. Raises `EngineFault` if the disk failed.
        """
        await self._syncer.wait()

    def sync_now(self) -> None:
        """Block until everything applied is on disk, for tools without a loop."""
        self._check_fault()
        try:
            self._syncer.sync_now()
        except EngineFault as error:
            self._syncer.fail(error)
            raise

    async def checkpoint(self, directory: Path) -> None:
        """Write a copy of one moment, with all that was applied before this call, into `directory`, which must not exist."""
        await self.durable()
        await asyncio.to_thread(self.engine.checkpoint, directory)

    def statistics(self) -> dict[str, float]:
        """Return the figures of the engine, of the syncs and of the caches."""
        pool = self.cache_pool
        return {
            **self.engine.statistics(),
            **self._syncer.figures.as_dict(),
            "count": self._count,
            "cache_bytes": pool.used_bytes,
            "cache_budget_bytes": pool.budget_bytes,
            "cache_entries": pool.count,
            "cache_misses": pool.misses,
        }

    # --- ending ----------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Refuse further batches, make everything durable, wake all waiters, close the engine and let go of the directory. Twice is once."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._fault is None:
                await self._syncer.wait()
        finally:
            self._release()

    def close_now(self) -> None:
        """As `close`, for tools without a loop."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._fault is None:
                self._syncer.sync_now()
        finally:
            self._release()

    def _release(self) -> None:
        self.watch.wake_all()
        self._syncer.stop()
        try:
            self.engine.close()
        finally:
            self._released()

    # --- what batches call -----------------------------------------------------------------------------------------

    def _check_writable(self) -> None:
        self._check_fault()
        if self._closed:
            raise EngineFault("the database is closed")
        if self._space is not None:
            self._space.check()

    def _commit(self, batch: Batch) -> None:
        self._check_fault()
        writes = batch.writes()
        if writes:
            try:
                self.engine.apply(writes)
            except EngineFault as error:
                self._syncer.fail(error)
                raise
            except DatabaseError:
                raise  # refused before anything was written
            except Exception as error:
                self._syncer.fail(error)
                raise EngineFault(f"writing failed: {error}") from error
        self._reserved = batch.reserved
        self.cache_pool.publish(batch.cache_overlay)
        self._syncer.batch_applied(batch.wakes, batch.crowds, wrote=bool(writes))

    def _failed(self, error: BaseException) -> None:
        self._fault = error
        log.critical("database_failed", error=str(error))
        self.on_fault(error)

    def _check_fault(self) -> None:
        if self._fault is not None:
            raise EngineFault(f"the database has failed: {self._fault}")
