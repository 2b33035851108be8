"""What was acknowledged is there after the process was killed, and after the machine lost what no sync had covered."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.open import open_database
from conduit.database.rocksdb import SYNCED_FILE, RocksEngine
from conduit.database.trees import TREE_NAMES

ROUNDS = 30 if os.environ.get("TEST_DEPTH") == "full" else 4

WRITER = """
import asyncio, os, sys
from pathlib import Path
from tests.database.test_durability import write
from conduit.database.open import open_database

async def main():
    db = open_database(Path(sys.argv[1]), sys.argv[2])
    async def writer():
        while True:
            number = write(db)
            await db.durable()
            os.write(1, b"%d\\n" % number)
    await asyncio.gather(*(writer() for _ in range(8)))

asyncio.run(main())
"""

SETS = (trees.userid_displayname, trees.userid_avatarurl, trees.userid_blurhash)


def write(db: Database) -> int:
    """Write a deed: rows in several trees under one fresh count, which is returned."""
    with db.batch() as batch:
        number = batch.next_count()
        for tree in SETS:
            tree.put(batch, f"@{number}:localhost", "x" * (number % 500))
        trees.devicelist_stream.put(batch, number, "@a:localhost")
        # Of an older deed something is taken back, so that there are deletions too.
        trees.devicelist_stream.delete(batch, max(number - 100, 0))
    return number


def deeds(db: Database) -> set[int]:
    """Return the numbers of the deeds that are there, each of them whole."""
    found = [{int(user[1:].partition(":")[0]) for user in tree.keys(db)} for tree in SETS]
    assert found[0] == found[1] == found[2]
    for number in found[0]:
        assert trees.userid_avatarurl.get(db, f"@{number}:localhost") == "x" * (number % 500)
    stream = set(trees.devicelist_stream.keys(db))
    assert stream <= found[0]
    assert not {number for number in stream if number + 100 in found[0]}
    return found[0]


def test_acknowledged_deeds_survive_a_kill(disk_kind: str, tmp_path: Path) -> None:
    """Killed at random instants, again and again: every acknowledged deed is there, none is there in part, and no count comes twice."""
    chance = random.Random(7)
    acknowledged: set[int] = set()
    for _ in range(ROUNDS):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path / "db", disk_kind],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        with child:
            assert child.stdout is not None
            for _ in range(chance.randint(1, 400)):
                line = child.stdout.readline()
                number = int(line)
                assert number not in acknowledged
                acknowledged.add(number)
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().splitlines(keepends=True)
            acknowledged.update(int(line) for line in rest if line.endswith(b"\n"))
        db = open_database(tmp_path / "db", disk_kind)
        found = deeds(db)
        assert acknowledged <= found
        assert db.current_count() >= max(found)
        db.close_now()


class Cut(RocksEngine):
    """An engine that knows which part of its log a completed sync has covered for certain."""

    covered: dict[str, int]

    def sync(self) -> None:
        sizes = {path.name: path.stat().st_size for path in self._directory.glob("*.log")}
        super().sync()
        self.covered = sizes


@pytest.mark.parametrize("writers", [1, 6])
async def test_acknowledged_deeds_survive_the_loss_of_what_was_not_synced(tmp_path: Path, writers: int) -> None:
    """At each acknowledgement the log, cut to what the last sync before it has covered, holds the deed."""
    open_database(tmp_path / "db").close_now()
    engine = Cut(tmp_path / "db", TREE_NAMES, buffer_bytes=1 << 20)
    db = Database(engine)
    acknowledged: set[int] = set()
    copies: list[tuple[Path, set[int]]] = []

    async def writer() -> None:
        for step in range(30):
            number = write(db)
            await db.durable()
            acknowledged.add(number)
            if step % 15 == 7:
                copy = tmp_path / f"copy{len(copies)}"
                shutil.copytree(tmp_path / "db", copy)
                (copy / SYNCED_FILE).unlink()  # never synced itself, so it may be gone
                for path in copy.glob("*.log"):
                    os.truncate(path, engine.covered.get(path.name, 0))
                copies.append((copy, set(acknowledged)))

    await asyncio.gather(*(writer() for _ in range(writers)))
    await db.close()
    for copy, expected in copies:
        again = open_database(copy)
        assert expected <= deeds(again)
        await again.close()
