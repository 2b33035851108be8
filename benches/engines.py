"""Micro-bench: what the engines and group commit cost.

    python -m benches.engines [--engine rocksdb|lmdb|memory] [--rounds 20000]

CPU times are microseconds of the thread that calls; writes per second and latencies are wall clock, of batches of 8 entries in 8 trees. "Busy" has
four tasks beside the writers that compute without a pause, as a server under full load does.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import uvloop

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.open import open_database

NAMES = [tree.name for tree in trees.TREES[20:28]]
VALUE = b"v" * 300
NUMBERS = count(1)


def database_of(name: str, directory: Path) -> Database:
    """Return an empty database."""
    return Database(MemoryEngine(trees.TREE_NAMES)) if name == "memory" else open_database(directory, name)


def write(db: Database) -> None:
    """Write a batch."""
    with db.batch() as batch:
        for name in NAMES:
            batch.put(name, b"%016d" % next(NUMBERS), VALUE)


def cpu(name: str, repeat: int, deed: Callable[[int], object]) -> None:
    """Print what `deed` costs on average."""
    began = time.thread_time()
    for number in range(repeat):
        deed(number)
    print(f"  {name:<28}{(time.thread_time() - began) / repeat * 1e6:8.2f} µs")


def calls(db: Database, rounds: int) -> None:
    """Print the cost of single calls."""
    name = NAMES[0]
    stored = [b"%08d" % number for number in range(rounds)]
    with db.batch() as batch:
        for key in stored:
            batch.put(name, key, VALUE)
    db.sync_now()

    def empty(number: int) -> None:
        with db.batch():
            pass

    def overlaid(number: int) -> None:
        with db.batch() as batch:
            batch.put(name, stored[number], VALUE)
            list(batch.scan(name, stored[number], b"%08d" % (number + 10)))

    cpu("get", rounds, lambda number: db.get(name, stored[number * 7919 % rounds]))
    cpu("get, absent", rounds, lambda number: db.get(name, b"absent"))
    cpu("get_many of 50", rounds // 50, lambda number: db.get_many(name, stored[number * 50 : number * 50 + 50]))
    cpu("scan of 1", rounds, lambda number: next(db.scan(name, stored[number], None)))
    cpu("scan of 10", rounds // 4, lambda number: list(db.scan(name, stored[number], b"%08d" % (number + 10))))
    cpu(
        "scan of 10, backwards", rounds // 4, lambda n: list(db.scan(name, stored[n], b"%08d" % (n + 10), reverse=True))
    )
    cpu("scan of 1000", rounds // 1000, lambda number: list(db.scan(name, stored[number], b"%08d" % (number + 1000))))
    cpu("empty batch", rounds, empty)
    cpu("batch of 8 puts", rounds // 8, lambda number: write(db))
    cpu("put, and scan of 10 over it", rounds // 8, overlaid)
    db.sync_now()


async def commits(db: Database, writers: int, each: int, *, busy: bool) -> None:
    """Print how many durable batches there are a second."""
    latencies: list[float] = []
    done = asyncio.Event()

    async def writer() -> None:
        for _ in range(each):
            began = time.perf_counter()
            write(db)
            await db.durable()
            latencies.append(time.perf_counter() - began)
            await asyncio.sleep(0)

    async def compute() -> None:
        while not done.is_set():
            ends = time.thread_time() + 0.0005
            while time.thread_time() < ends:
                pass
            await asyncio.sleep(0)

    others = [asyncio.ensure_future(compute()) for _ in range(4 if busy else 0)]
    before, began = db.statistics(), time.perf_counter()
    await asyncio.gather(*(writer() for _ in range(writers)))
    seconds = time.perf_counter() - began
    done.set()
    await asyncio.gather(*others)
    after = db.statistics()
    latencies.sort()
    syncs = max(after["syncs"] - before["syncs"], 1)
    print(
        f"  {writers:>4} writers{', busy' if busy else '':<6} {len(latencies) / seconds:8.0f}/s"
        f"   p50 {latencies[len(latencies) // 2] * 1e3:6.2f} ms   p99 {latencies[len(latencies) * 99 // 100] * 1e3:7.2f} ms"
        f"   {len(latencies) / syncs:5.1f} a sync of {(after['sync_seconds'] - before['sync_seconds']) / syncs * 1e3:5.2f} ms"
    )


async def measure(name: str, rounds: int) -> None:
    """Measure one engine."""
    print(f"\n{name}")
    with tempfile.TemporaryDirectory() as directory:
        db = database_of(name, Path(directory) / "db")
        calls(db, rounds)
        for writers, each in ((1, rounds // 20), (32, rounds // 50), (256, rounds // 200)):
            await commits(db, writers, each, busy=False)
        for writers in (1, 16):
            await commits(db, writers, rounds // 400, busy=True)
        await db.close()


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", choices=("rocksdb", "lmdb", "memory"), action="append")
    parser.add_argument("--rounds", type=int, default=20_000)
    options = parser.parse_args()
    for name in options.engine or ("rocksdb", "lmdb", "memory"):
        uvloop.run(measure(name, options.rounds))


if __name__ == "__main__":
    main()
