"""The second engine: LMDB, one named database a tree, commits gathered and made in another thread.

A commit with sync blocks for the disk, and LMDB lets one thread begin, fill and commit a transaction. So `apply` only adds to the
changes *gathering* in memory; `sync`, on its thread, takes them over as the changes *committing*, writes them in one synchronous
transaction and drops them:

    apply ──► gathering ──sync──► committing ──transaction──► file
                  └────────── reads look here, in this order ─────┘

Why reads are right at any instant, whatever the other thread does. A read takes the pair (committing, gathering) first
and opens its transaction afterwards. A change is in the pair, or its commit came before the pair was taken and so before the transaction began: it
is seen either way. If it is in both, both say the same, unless a newer change in `gathering` says otherwise; and the newer one wins.

No transaction outlives the call that opened it: an open one keeps the file from reusing pages, and a paused scan may be
paused for long. A scan reads in chunks, each in a transaction of its own. To let it see one moment of its tree all the same,
`apply` hands every paused scan of the tree the values that it is about to replace in the part still to be read; the scan puts these back over what the next chunk finds.

The file has LMDB's second format (`lib_version=1`), for its longer keys.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any
from weakref import WeakSet

import lmdb

from conduit.database.engine import Writes, check_keys
from conduit.database.errors import EngineFault
from conduit.database.overlay import Changes, overlaid

Entry = tuple[bytes, bytes]

DATA_FILE = "data.mdb"
LIB_VERSION = 1
_MAP_BYTES = (1 << 40, 1 << 36, 1 << 33)
"""The largest possible size of the file; the next one is tried where the machine does not grant so much address space."""
_FIRST_CHUNK, _CHUNK = 4, 256
_GATHER_BYTES = 64 << 20
"""When so much has gathered, `apply` itself commits: memory stays bounded when nobody awaits durability."""
_KEY = itemgetter(0)


class LmdbEngine:
    """An LMDB directory. See `conduit.database.engine` for the contract."""

    name = "lmdb"
    survives_kill = False

    def __init__(self, directory: Path, trees: Sequence[str], *, fsync: bool = True, read_only: bool = False) -> None:
        """Open `directory`; the file is made if it is not there, unless `read_only`, which leaves it as it is and wants `trees` to be there."""
        self._path = directory / DATA_FILE
        self._env = _open(directory, len(trees), fsync, read_only)
        if not read_only:
            # Readers that died with a killed process would keep old pages alive.
            self._env.reader_check()
        self._databases: dict[str, Any]
        if read_only:
            # Each in a transaction of its own: the end of one that only reads would close what it has opened.
            self._databases = {tree: self._env.open_db(tree.encode(), create=False) for tree in trees}
        else:
            with self._env.begin(write=True) as transaction:
                self._databases = {tree: self._env.open_db(tree.encode(), txn=transaction) for tree in trees}
        self._pair = (Changes(), Changes())
        self._gathered_bytes = 0
        self._paused: dict[str, WeakSet[_Scan]] = {}
        self._gathering = threading.Lock()
        self._committing = threading.Lock()
        self._broken: str | None = None

    def get(self, tree: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or `None`."""
        committing, gathering = self._pair
        writes = gathering.trees.get(tree)
        if writes is not None and key in writes:
            return writes[key]
        writes = committing.trees.get(tree)
        if writes is not None and key in writes:
            return writes[key]
        try:
            with self._env.begin(db=self._databases[tree]) as transaction:
                value: bytes | None = transaction.get(key)
        except lmdb.BadValsizeError:
            return None  # a key that could not have been written
        except lmdb.Error as error:
            raise self._read_error(tree, error) from error
        return value

    def get_many(self, tree: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        layers = [writes for changes in self._pair if (writes := changes.trees.get(tree))]
        try:
            with self._env.begin(db=self._databases[tree]) as transaction:
                found: list[bytes | None] = [transaction.get(key) for key in keys]
        except lmdb.BadValsizeError:
            return [self.get(tree, key) for key in keys]
        except lmdb.Error as error:
            raise self._read_error(tree, error) from error
        for layer in layers:
            found = [layer.get(key, value) for key, value in zip(keys, found, strict=True)]
        return found

    def scan(self, tree: str, first: bytes, end: bytes | None, *, reverse: bool = False) -> Iterator[Entry]:
        """Return the entries with `first <= key < end`, as they are now."""
        database = self._databases[tree]
        if end is not None and end <= first:
            return iter(())
        scan = _Scan(self, tree, database, first, end, reverse)
        chunk = scan.read(_FIRST_CHUNK)
        if scan.done:
            return iter(chunk)
        paused = self._paused.get(tree)
        if paused is None:
            paused = self._paused[tree] = WeakSet()
        paused.add(scan)
        return _walk(scan, chunk)

    def apply(self, writes: Writes) -> None:
        """Gather `writes`; seen by reads at once, in the file with the next `sync`."""
        self._check_usable()
        check_keys(writes)
        if not self._databases.keys() >= writes.keys():
            raise KeyError(*(writes.keys() - self._databases.keys()))
        if self._paused:
            self._keep_for_scans(writes)
        size = 0
        with self._gathering:
            gathering = self._pair[1].trees
            for tree, changes in writes.items():
                if tree in gathering:
                    gathering[tree].update(changes)
                else:
                    gathering[tree] = dict(changes)
                size += sum(map(len, changes)) + sum(map(len, filter(None, changes.values())))
            self._gathered_bytes += size
        if self._gathered_bytes > _GATHER_BYTES:
            self.sync()

    def sync(self) -> None:
        """Block, with other threads running, until what has gathered is in the file and on disk."""
        with self._committing:
            self._check_usable()
            with self._gathering:
                gathered = self._pair[1]
                if not gathered.trees:
                    return
                self._pair = (gathered, Changes())
                self._gathered_bytes = 0
            try:
                self._write(gathered)
            except lmdb.Error as error:
                self._broken = f"writing failed: {error}"
                raise EngineFault(self._broken) from error
            with self._gathering:
                self._pair = (Changes(), self._pair[1])

    def checkpoint(self, directory: Path) -> None:
        """Write a copy of one moment into `directory`, which must not exist. May run in another thread."""
        self.sync()
        try:
            directory.mkdir()
            self._env.copy(str(directory), compact=True)
        except (lmdb.Error, OSError) as error:
            raise EngineFault(f"the checkpoint failed: {error}") from error

    def statistics(self) -> dict[str, float]:
        """Return bytes on disk and in memory; pages in the system's cache are not counted."""
        self._check_usable()
        stat = os.stat(self._path)
        with self._env.begin() as transaction:
            entries = sum(transaction.stat(database)["entries"] for database in self._databases.values())
        return {
            "disk_bytes": stat.st_blocks * 512,
            "memory_bytes": self._gathered_bytes,
            "file_bytes": stat.st_size,
            "entries": entries,
        }

    def close(self) -> None:
        """Commit and release the directory. A scan that goes on raises."""
        if self._broken == "closed":
            return
        try:
            if self._broken is None:
                self.sync()
        finally:
            self._broken = "closed"
            self._env.close()

    def _write(self, gathered: Changes) -> None:
        with self._env.begin(write=True) as transaction:
            for tree, changes in gathered.trees.items():
                database = self._databases[tree]
                for key, value in sorted(changes.items(), key=_KEY):
                    if value is None:
                        transaction.delete(key, db=database)
                    else:
                        transaction.put(key, value, db=database)

    def _keep_for_scans(self, writes: Writes) -> None:
        for tree, changes in writes.items():
            paused = self._paused.get(tree)
            if paused is None:
                continue
            scans = [scan for scan in paused if not scan.done]
            if not scans:
                del self._paused[tree]
            for scan in scans:
                for key in changes:
                    scan.keep(key)

    def _check_usable(self) -> None:
        if self._broken is not None:
            raise EngineFault(f"the database cannot be used: {self._broken}")

    def _read_error(self, tree: str, error: Exception) -> EngineFault:
        self._check_usable()
        return EngineFault(f"reading the tree {tree} failed: {error}")


class _Scan:
    """A scan between two chunks: what is still to be read, and what was replaced there since it began."""

    __slots__ = ("__weakref__", "_database", "_end", "_engine", "_first", "_replaced", "_reverse", "_tree", "done")

    def __init__(
        self, engine: LmdbEngine, tree: str, database: Any, first: bytes, end: bytes | None, reverse: bool
    ) -> None:
        self._engine = engine
        self._tree = tree
        self._database = database
        self._first = first
        self._end = end
        self._reverse = reverse
        self._replaced = Changes()
        self.done = False

    def keep(self, key: bytes) -> None:
        """Remember the value of `key`, which is about to be replaced, if it is still to be read."""
        if key < self._first or (self._end is not None and key >= self._end):
            return
        replaced = self._replaced.trees.setdefault(self._tree, {})
        if key not in replaced:
            replaced[key] = self._engine.get(self._tree, key)

    def read(self, count: int) -> list[Entry]:
        """Return about `count` further entries; none only when it is `done`."""
        chunk: list[Entry] = []
        while not chunk and not self.done:
            # The pair first, the transaction afterwards: see the module's text.
            committing, gathering = self._engine._pair
            chunk, self.done = self._read_stored(count)
            if self.done:
                first, end = self._first, self._end
            elif self._reverse:
                first, end = chunk[-1][0], self._end
                self._end = first
            else:
                first, end = self._first, chunk[-1][0] + b"\x00"
                self._first = end
            for changes in (committing, gathering, self._replaced):
                changed = changes.between(self._tree, first, end)
                if changed:
                    chunk = list(overlaid(iter(chunk), changed, self._reverse))
        return chunk

    def _read_stored(self, count: int) -> tuple[list[Entry], bool]:
        """Return the next stored entries, and whether there are none behind them."""
        try:
            with self._engine._env.begin(db=self._database) as transaction, transaction.cursor() as cursor:
                if not (self._go_to_end(cursor) if self._reverse else self._go_to_start(cursor)):
                    return [], True
                step = cursor.iterprev() if self._reverse else cursor.iternext()
                chunk = list(islice(step, count))
        except lmdb.Error as error:
            raise self._engine._read_error(self._tree, error) from error
        more = len(chunk) == count
        if self._reverse:
            if chunk[-1][0] < self._first:
                return [entry for entry in chunk if entry[0] >= self._first], True
        elif self._end is not None and chunk[-1][0] >= self._end:
            return chunk[: bisect_left(chunk, self._end, key=_KEY)], True
        return chunk, not more

    def _go_to_start(self, cursor: Any) -> bool:
        found: bool = cursor.set_range(self._first) if self._first else cursor.first()
        return found

    def _go_to_end(self, cursor: Any) -> bool:
        if self._end is not None and cursor.set_range(self._end):
            before: bool = cursor.prev()
            return before
        last: bool = cursor.last()
        return last


def _walk(scan: _Scan, chunk: list[Entry]) -> Iterator[Entry]:
    count = _FIRST_CHUNK
    while chunk:
        yield from chunk
        count = min(count * 8, _CHUNK)
        chunk = scan.read(count)


def _open(directory: Path, trees: int, fsync: bool, read_only: bool) -> Any:
    for map_bytes in _MAP_BYTES:
        try:
            return lmdb.open(
                str(directory),
                map_size=map_bytes,
                max_dbs=trees + 256,
                # Without fsync a commit may be lost with the machine's power; the file itself stays whole.
                metasync=fsync,
                mode=0o600,
                lib_version=LIB_VERSION,
                readonly=read_only,
                # Whoever only reads has the directory to himself, by this server's own lock.
                lock=not read_only,
            )
        except lmdb.MemoryError:
            if map_bytes == _MAP_BYTES[-1]:
                raise
    raise AssertionError("no size left to try")


def stored_databases(directory: Path) -> list[str]:
    """Return the names of the databases in the file; none if there is no file."""
    path = directory / DATA_FILE
    if not path.exists() or path.stat().st_size == 0:
        return []
    env = _open(directory, 0, True, True)
    try:
        return [name.decode("utf-8", "replace") for name in env.dbs()]
    finally:
        env.close()
