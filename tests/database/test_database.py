"""Batches, durability, the counter and the end of a database."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from pathlib import Path

import pytest

from conduit.database import trees
from conduit.database.database import COUNTER_KEY, COUNTER_MIRROR_KEY, RESERVE, Batch, Database
from conduit.database.engine import Writes
from conduit.database.errors import DiskFull, EngineFault, KeyTooLong
from conduit.database.memory import MemoryEngine
from conduit.database.open import open_database
from conduit.database.space import Space, free_bytes
from conduit.database.trees import TREE_NAMES
from conduit.utils.tasks import Tasks
from tests.database.conftest import TREES


class GatedEngine(MemoryEngine):
    """An engine whose sync takes as long as the test wants, and fails if it is told to."""

    name = "gated"

    def __init__(self) -> None:
        super().__init__(TREES)
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.sync_error: Exception | None = None
        self.apply_error: Exception | None = None

    def sync(self) -> None:
        self.begun.release()
        self.may_end.acquire()
        if self.sync_error is not None:
            raise self.sync_error
        super().sync()

    def apply(self, writes: Writes) -> None:
        if self.apply_error is not None:
            raise self.apply_error
        super().apply(writes)


def put(db: Database, key: bytes = b"k", value: bytes = b"v", *wakes: str) -> None:
    """Write one entry in a batch of its own."""
    with db.batch() as batch:
        batch.put("a", key, value)
        batch.wake(*wakes)


async def begun(engine: GatedEngine) -> None:
    """Wait until the engine's next sync has begun."""
    await asyncio.to_thread(engine.begun.acquire)


async def let_go(db: Database, engine: GatedEngine, times: int = 10) -> None:
    """Let every sync end and close the database."""
    for _ in range(times):
        engine.may_end.release()
    await db.close()


@pytest.fixture
def engine() -> GatedEngine:
    """Return an engine whose syncs the test lets end."""
    return GatedEngine()


@pytest.fixture
def db(engine: GatedEngine) -> Database:
    """Return a database on it."""
    return Database(engine)


# --- batches -------------------------------------------------------------------------------------------------------


@pytest.fixture
def memory() -> Database:
    """Return a database in memory."""
    return Database(MemoryEngine(TREES))


def test_batch_sees_its_own_writes(memory: Database) -> None:
    """By key, many keys and in scans both ways, at every bound; others see them after the block."""
    with memory.batch() as batch:
        for key in (b"1", b"3", b"5", b"7"):
            batch.put("a", key, b"old")
    with memory.batch() as batch:
        batch.put("a", b"3", b"new")
        batch.put("a", b"4", b"new")
        batch.delete("a", b"5")
        batch.delete("a", b"6")
        batch.put("a", b"0", b"new")
        batch.put("a", b"9", b"1")
        batch.delete("a", b"9")
        assert batch.get("a", b"3") == b"new"
        assert batch.get("a", b"5") is None
        assert batch.get_many("a", [b"1", b"5", b"4"]) == [b"old", None, b"new"]
        whole = [(b"0", b"new"), (b"1", b"old"), (b"3", b"new"), (b"4", b"new"), (b"7", b"old")]
        assert list(batch.scan("a", b"", None)) == whole
        assert list(batch.scan("a", b"", None, reverse=True)) == whole[::-1]
        assert list(batch.scan("a", b"1", b"4")) == whole[1:3]
        assert list(batch.scan("a", b"4", b"8", reverse=True)) == [whole[4], whole[3]]
        batch.put("a", b"2", b"later")
        assert (b"2", b"later") in list(batch.scan("a", b"", None))
        assert memory.get("a", b"4") is None
    assert memory.get("a", b"4") == b"new"


def test_scan_of_a_batch_is_steady_while_the_batch_writes(memory: Database) -> None:
    """Deleting what a scan finds does not disturb it."""
    with memory.batch() as batch:
        for number in range(20):
            batch.put("a", b"%02d" % number, b"")
    with memory.batch() as batch:
        batch.put("a", b"20", b"")
        for key, _ in batch.scan("a", b"", None):
            batch.delete("a", key)
    assert list(memory.scan("a", b"", None)) == []


def test_batch_left_by_an_exception_leaves_nothing(memory: Database) -> None:
    """Writes, counts, hooks and wake-ups of a dropped batch are gone."""
    before = memory.current_count()
    called: list[str] = []
    with pytest.raises(ZeroDivisionError), memory.batch() as batch:
        batch.put("a", b"k", b"v")
        batch.next_count()
        batch.on_commit(lambda: called.append("hook"))
        raise ZeroDivisionError
    assert memory.get("a", b"k") is None
    assert memory.current_count() == before
    assert called == []


class Hook:
    """A hook that holds its batch."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __call__(self) -> None:
        assert self.batch.get("a", b"k") == b"v"


@pytest.mark.parametrize("fails", [False, True])
def test_a_batch_and_its_hooks_are_forgotten_when_it_ends(memory: Database, fails: bool) -> None:
    """They do not hold each other, and all that was written, until the collector comes."""
    gc.disable()
    try:
        with contextlib.suppress(ZeroDivisionError), memory.batch() as batch:
            batch.put("a", b"k", b"v")
            hook = Hook(batch)
            batch.on_commit(hook)
            if fails:
                raise ZeroDivisionError
        held = weakref.ref(hook)
        del hook, batch
        assert held() is None
    finally:
        gc.enable()


def test_hooks_run_after_the_writes_are_there(memory: Database) -> None:
    """A hook reads what its batch has written."""
    seen: list[bytes | None] = []
    with memory.batch() as batch:
        batch.put("a", b"k", b"v")
        batch.on_commit(lambda: seen.append(memory.get("a", b"k")))
    assert seen == [b"v"]


def test_batches_do_not_nest(memory: Database) -> None:
    """A second batch inside the first is refused; the first goes on."""
    with memory.batch() as batch:
        with pytest.raises(RuntimeError, match="do not nest"), memory.batch():
            pass
        batch.put("a", b"k", b"v")
    assert memory.get("a", b"k") == b"v"


async def test_await_inside_a_batch_raises_and_writes_nothing(memory: Database) -> None:
    """Whether or not anybody else used the time."""
    with pytest.raises(RuntimeError, match="await inside a batch"), memory.batch() as batch:
        batch.put("a", b"k", b"v")
        count = batch.next_count()
        await asyncio.sleep(0)
    assert memory.get("a", b"k") is None
    assert memory.current_count() == count - 1

    async def slow() -> None:
        with memory.batch():
            await asyncio.sleep(0)

    task = asyncio.create_task(slow())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="hold no await"):
        put(memory)
    with pytest.raises(RuntimeError, match="await inside a batch"):
        await task
    put(memory)
    await memory.close()


def test_refused_key_drops_the_batch_and_breaks_nothing(memory: Database) -> None:
    """A key that is too long is the caller's mistake, not the engine's."""
    with pytest.raises(KeyTooLong), memory.batch() as batch:
        batch.put("a", b"k", b"v")
        batch.put("b", b"k" * 2000, b"v")
    assert memory.get("a", b"k") is None
    put(memory)


# --- durability ----------------------------------------------------------------------------------------------------


async def test_durable_waits_for_a_sync_that_began_after_the_batch(db: Database, engine: GatedEngine) -> None:
    """Batches applied during a sync share the next one, and their writers wait for that."""
    put(db, b"1")
    first = asyncio.create_task(db.durable())
    await begun(engine)
    waiting = []
    for number in range(5):
        put(db, b"2%d" % number)
        waiting.append(asyncio.create_task(db.durable()))
    assert not db.is_durable
    engine.may_end.release()
    await first
    assert engine.syncs == 1
    await begun(engine)
    assert not any(task.done() for task in waiting)
    engine.may_end.release()
    await asyncio.gather(*waiting)
    assert engine.syncs == 2
    assert db.is_durable
    await db.durable()
    assert db.statistics()["largest_group"] == 5
    await let_go(db, engine)


async def test_cancelled_waiter_does_not_disturb_the_others(db: Database, engine: GatedEngine) -> None:
    """Somebody who goes away while a sync is in flight takes nobody along."""
    put(db)
    gone, stays = asyncio.create_task(db.durable()), asyncio.create_task(db.durable())
    await begun(engine)
    gone.cancel()
    engine.may_end.release()
    await stays
    assert gone.cancelled()
    await let_go(db, engine)


async def test_wakes_wait_until_their_batch_is_durable(db: Database, engine: GatedEngine) -> None:
    """The sync of an earlier batch does not let a later batch's wake-up through."""
    with db.watch.register(["early"]) as early, db.watch.register(["late"]) as late:
        put(db, b"1", b"", "early")
        await begun(engine)
        put(db, b"2", b"", "late")
        assert not await early.wait(0)
        engine.may_end.release()
        assert await early.wait()
        await begun(engine)
        assert not await late.wait(0)
        engine.may_end.release()
        assert await late.wait()
    await let_go(db, engine)


async def test_wake_without_writes_comes_at_once_if_nothing_is_pending(db: Database, engine: GatedEngine) -> None:
    """A batch that only wakes needs no sync, but does not overtake the batches before it."""
    with db.watch.register(["k"]) as waiter:
        with db.batch() as batch:
            batch.wake("k")
        assert await waiter.wait(0)
        put(db)
        with db.batch() as batch:
            batch.wake("k")
        assert not await waiter.wait(0)
        engine.may_end.release()
        assert await waiter.wait()
    await let_go(db, engine)


async def test_failed_sync_ends_everything(db: Database, engine: GatedEngine) -> None:
    """Whoever waits is told, nobody is woken, the fault is reported once, and nothing is written any more."""
    faults: list[BaseException] = []
    db.on_fault = faults.append
    error = EngineFault("no space")
    engine.sync_error = error
    with db.watch.register(["k"]) as waiter:
        put(db, b"1", b"", "k")
        task = asyncio.create_task(db.durable())
        await begun(engine)
        engine.may_end.release()
        with pytest.raises(EngineFault, match="no space"):
            await task
        assert not await waiter.wait(0)
    assert faults == [error]
    with pytest.raises(EngineFault):
        put(db)
    with pytest.raises(EngineFault):
        await db.durable()
    assert not db.is_durable
    engine.sync_error = None
    await db.close()


async def test_failed_write_ends_everything(db: Database, engine: GatedEngine) -> None:
    """The batch raises, its counts are given back, and the fault is reported."""
    faults: list[BaseException] = []
    db.on_fault = faults.append
    engine.apply_error = EngineFault("input/output error")
    count = db.current_count()
    with pytest.raises(EngineFault, match="input/output"), db.batch() as batch:
        batch.next_count()
    assert faults == [engine.apply_error]
    assert db.current_count() == count
    engine.apply_error = None
    with pytest.raises(EngineFault, match="has failed"):
        put(db)
    await db.close()


async def test_engine_that_survives_a_kill_is_not_synced_without_fsync(engine: GatedEngine) -> None:
    """With `fsync=False` such an engine's writes count as durable; another engine's are still synced."""
    engine.survives_kill = True
    db = Database(engine, fsync=False)
    with db.watch.register(["k"]) as waiter:
        put(db, b"1", b"", "k")
        assert await waiter.wait(0)
    await db.durable()
    assert engine.syncs == 0
    await db.close()
    other = GatedEngine()
    second = Database(other, fsync=False)
    put(second)
    assert not second.is_durable
    await let_go(second, other)


@pytest.mark.parametrize("fsync", [True, False])
async def test_many_writers_share_syncs(disk_kind: str, tmp_path: Path, fsync: bool) -> None:
    """Every write is there in the end, after far fewer syncs than writes."""
    db = open_database(tmp_path, disk_kind, fsync=fsync)

    async def write(name: int) -> None:
        for number in range(20):
            with db.batch() as batch:
                trees.userid_displayname.put(batch, f"@{name}-{number}:localhost", "x")
            await db.durable()

    await asyncio.gather(*(write(name) for name in range(20)))
    figures = db.statistics()
    assert figures["batches"] == 401
    assert figures["syncs"] < 300 or not fsync
    await db.close()
    db = open_database(tmp_path, disk_kind)
    assert len(list(trees.userid_displayname.keys(db))) == 400
    await db.close()


def test_full_disk_refuses_the_batch_and_breaks_nothing(tmp_path: Path) -> None:
    """Nothing is written while too little room is left; when there is room again it goes on."""
    space = Space(tmp_path, min_free_bytes=1 << 62)
    db = Database(MemoryEngine(TREES), space=space)
    with pytest.raises(DiskFull):
        put(db)
    assert db.get("a", b"k") is None
    space.min_free_bytes = 0
    put(db)
    assert db.get("a", b"k") == b"v"


async def test_what_runs_in_the_background_goes_on_while_requests_are_refused_for_want_of_room(tmp_path: Path) -> None:
    """So it comes to an end, and the server does not; when there is hardly any room left it is refused as well."""
    free = free_bytes(tmp_path)
    space = Space(tmp_path, min_free_bytes=2 * free)
    db = Database(MemoryEngine(TREES), space=space)
    tasks = Tasks()

    async def write() -> None:
        put(db)

    with pytest.raises(DiskFull):
        await write()
    await tasks.spawn(write(), name="a deed")
    assert db.get("a", b"k") == b"v"
    with pytest.raises(DiskFull):
        await write()
    space.min_free_bytes = 8 * free
    with pytest.raises(DiskFull):
        await tasks.spawn(write(), name="another")


# --- the counter ---------------------------------------------------------------------------------------------------


def test_counts_ascend_and_are_reserved_ahead(memory: Database) -> None:
    """Counts are reserved on disk before they are used, in Conduit's row and in our copy of it."""
    with memory.batch() as batch:
        assert [batch.next_count() for _ in range(3)] == [1, 2, 3]
    assert memory.next_count() == 4
    for key in (COUNTER_KEY, COUNTER_MIRROR_KEY):
        assert memory.get("global", key) == RESERVE.to_bytes(8, "big")
    with memory.batch() as batch:
        counts = [batch.next_count() for _ in range(2 * RESERVE)]
    assert counts == list(range(5, 5 + 2 * RESERVE))
    stored = memory.get("global", COUNTER_KEY)
    assert stored is not None
    assert int.from_bytes(stored, "big") >= counts[-1] == memory.current_count()


def test_volatile_counts_reserve_by_themselves(memory: Database) -> None:
    """A count that is never stored is reserved all the same, also within an open batch."""
    assert [memory.next_count() for _ in range(RESERVE + 1)][-1] == RESERVE + 1
    assert memory.get("global", COUNTER_KEY) == (2 * RESERVE).to_bytes(8, "big")
    with memory.batch() as batch:
        assert memory.next_count() == RESERVE + 2
        assert batch.next_count() == RESERVE + 3


def test_reservation_of_a_dropped_batch_is_made_again(memory: Database) -> None:
    """A dropped batch takes its reservation along."""
    with pytest.raises(ZeroDivisionError), memory.batch() as batch:
        batch.next_count()
        raise ZeroDivisionError
    assert memory.get("global", COUNTER_KEY) is None
    with memory.batch() as batch:
        assert batch.next_count() == 1
    assert memory.get("global", COUNTER_KEY) == RESERVE.to_bytes(8, "big")


def test_counts_never_come_twice_over_restarts(disk_kind: str, tmp_path: Path) -> None:
    """After each opening the counter goes on beyond everything that it may have given before."""
    newest = 0
    for _ in range(3):
        db = open_database(tmp_path, disk_kind)
        for _ in range(3):
            count = db.next_count()
            assert count > newest
            newest = count
        db.close_now()


# --- the end -------------------------------------------------------------------------------------------------------


async def test_close_makes_everything_durable_and_wakes_who_waits(db: Database, engine: GatedEngine) -> None:
    """A batch on its way is finished, waiters return, later batches are refused, and the directory is let go last."""
    put(db)
    released: list[bool] = []
    db._released = lambda: released.append(engine._closed)
    with db.watch.register(["k"]) as waiter:
        closing = asyncio.create_task(db.close())
        await begun(engine)
        with pytest.raises(EngineFault, match="closed"):
            put(db)
        assert released == []
        engine.may_end.release()
        await closing
        assert await waiter.wait(0)
    assert engine.syncs == 1
    assert released == [True]
    await db.close()
    db.close_now()
    assert released == [True]


def test_tools_without_a_loop_sync_and_close(disk_kind: str, tmp_path: Path) -> None:
    """`sync_now` and `close_now` do what `durable` and `close` do."""
    db = open_database(tmp_path, disk_kind)
    with db.batch() as batch:
        trees.userid_displayname.put(batch, "@a:localhost", "A")
    assert not db.is_durable
    db.sync_now()
    assert db.is_durable
    with db.batch() as batch:
        trees.userid_displayname.put(batch, "@b:localhost", "B")
    db.close_now()
    db = open_database(tmp_path, disk_kind)
    assert list(trees.userid_displayname.keys(db)) == ["@a:localhost", "@b:localhost"]
    db.close_now()


async def test_checkpoint_of_a_running_database_opens(disk_kind: str, tmp_path: Path) -> None:
    """A backup holds everything applied before it and opens like any directory."""
    db = open_database(tmp_path / "db", disk_kind)
    with db.batch() as batch:
        trees.userid_displayname.put(batch, "@a:localhost", "A")
    await db.checkpoint(tmp_path / "backup")
    copy = open_database(tmp_path / "backup", disk_kind)
    assert trees.userid_displayname.get(copy, "@a:localhost") == "A"
    await copy.close()
    await db.close()


def test_statistics_cover_engine_syncs_and_caches() -> None:
    """Operators get one flat set of figures."""
    db = Database(MemoryEngine(TREE_NAMES))
    put_count = db.statistics()["batches"]
    with db.batch() as batch:
        trees.userid_displayname.put(batch, "@a:localhost", "A")
    figures = db.statistics()
    assert figures["batches"] == put_count + 1
    assert {"disk_bytes", "syncs", "sync_seconds", "longest_sync_seconds", "cache_bytes", "count"} <= figures.keys()
