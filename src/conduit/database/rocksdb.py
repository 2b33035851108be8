"""The default engine: RocksDB, one column family a tree, every column family sharing one block cache and one log.

What the binding (rocksdict) forces on this file:

* A write holds the interpreter's lock and a synchronous one would hold it through the fsync. So `apply` writes to the log
  without sync, on the loop's thread, and `sync` flushes the log, which lets other threads run.
* Its ready-made iterators end without a word at a damaged block. Scans therefore walk the bare iterator and ask for its status at the end.
* `ReadOptions.set_iterate_lower_bound` sets the upper bound. Scans check their lower bound themselves.
* `Rdict.close` leaves the database open while an iterator or a column family lives. The engine knows its scans and ends them first. An iterator
  must not leave its thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from weakref import WeakKeyDictionary

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Checkpoint,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
)

from conduit.database.engine import MAX_KEY_BYTES, Writes
from conduit.database.errors import EngineFault, KeyTooLong

SYNCED_FILE = "conduit_py.synced"
_MIB = 1 << 20
_BLOOM_BITS = 10
_ARENA_BYTES = 32 << 10
"""A column family's smallest piece of memory. Most of the trees hold little, and each takes at least one piece."""
_TREE_BUFFER_BYTES = 16 * _MIB
_MAX_LOG_BYTES = 128 * _MIB
"""When the write-ahead log exceeds this, the trees that hold it back are written out. Bounds the time that a start after a crash takes."""


class RocksEngine:
    """A RocksDB directory. See `conduit.database.engine` for the contract."""

    name = "rocksdb"
    survives_kill = True

    def __init__(
        self,
        directory: Path,
        trees: Sequence[str],
        *,
        cache_bytes: int = 64 * _MIB,
        buffer_bytes: int = 48 * _MIB,
        max_open_files: int = 1000,
        read_only: bool = False,
    ) -> None:
        """Open `directory`; made if it is not there, unless `read_only`, which leaves every file as it is and wants `trees` to be there."""
        self._directory = directory
        self._read_only = read_only
        self._cache = Cache(cache_bytes)
        self._broken: str | None = None
        self._logs = TemporaryDirectory() if read_only else None
        options = self._database_options(buffer_bytes, max_open_files)
        if self._logs is not None:
            options.set_db_log_dir(self._logs.name)
        stored = stored_families(directory)
        # RocksDB opens all column families or none; those which the catalogue does not know stay as they are.
        names = [*dict.fromkeys((*trees, *stored))]
        families = {name: self._tree_options() for name in names if name != "default"}
        access = AccessType.read_only(False) if read_only else AccessType.read_write()
        with no_new_config(directory) if read_only else nullcontext():
            self._db = Rdict(str(directory), options, column_families=families, access_type=access)
        # See `synced_sequence`.
        self._synced = (
            -1 if read_only else os.open(directory / SYNCED_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        )
        self._families = {tree: self._db.get_column_family(tree) for tree in trees}
        self._handles = {tree: self._db.get_column_family_handle(tree) for tree in trees}
        # Emptied when the engine breaks or closes, so that the hot path needs no check of its own.
        self._get: dict[str, Callable[[Any], Any]] = {tree: family.get for tree, family in self._families.items()}
        self._cursor: dict[str, Callable[..., Any]] = {tree: family.iter for tree, family in self._families.items()}
        self._scans: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()

    def get(self, tree: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or `None`."""
        try:
            value: bytes | None = self._get[tree](key)
        except Exception as error:
            raise self._read_error(tree, error) from error
        return value

    def get_many(self, tree: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        try:
            values: list[bytes | None] = self._get[tree](list(keys))
        except Exception as error:
            raise self._read_error(tree, error) from error
        return values

    def scan(
        self, tree: str, first: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries with `first <= key < end`, as they are now."""
        if end is not None and end <= first:
            return iter(())
        try:
            options = ReadOptions()
            if end is not None:
                options.set_iterate_upper_bound(end)
            cursor = self._cursor[tree](options)
            if reverse:
                cursor.seek_to_last()
            else:
                cursor.seek(first)
        except Exception as error:
            raise self._read_error(tree, error) from error
        held = [cursor, options]
        entries = self._descend(tree, held, first) if reverse else self._ascend(tree, held)
        self._scans[entries] = held
        return chain(entries, self._after_scan())

    def _after_scan(self) -> Iterator[tuple[bytes, bytes]]:
        # A scan that `close` has ended must not look like one that came to its end.
        if self._broken is not None:
            self._check_usable()
        return
        yield

    # The cursor reads the upper bound from memory that belongs to the options: whoever steps the one must hold the other. Both come in a list,
    # which `close` can empty: from Python 3.13 on, ending a generator that has not begun leaves it its arguments.

    def _ascend(self, tree: str, held: list[Any]) -> Iterator[tuple[bytes, bytes]]:
        cursor = held[0]
        valid, key, value, step = cursor.valid, cursor.key, cursor.value, cursor.next
        while valid():
            yield key(), value()
            step()
        self._check_scan(tree, cursor)

    def _descend(self, tree: str, held: list[Any], first: bytes) -> Iterator[tuple[bytes, bytes]]:
        cursor = held[0]
        valid, value, step = cursor.valid, cursor.value, cursor.prev
        while valid():
            key = cursor.key()
            if key < first:
                return
            yield key, value()
            step()
        self._check_scan(tree, cursor)

    def _check_scan(self, tree: str, cursor: Any) -> None:
        try:
            cursor.status()
        except Exception as error:
            raise self._read_error(tree, error) from error

    def apply(self, writes: Writes) -> None:
        """Write `writes` atomically to the log and to memory; on disk after the next `sync`."""
        self._check_usable()
        batch = WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for tree, changes in writes.items():
            handle = self._handles[tree]
            for key, value in changes.items():
                if not 0 < len(key) <= MAX_KEY_BYTES:
                    raise KeyTooLong(f"tree {tree}: key of {len(key)} bytes")
                if value is None:
                    delete(key, handle)
                else:
                    put(key, value, handle)
        try:
            self._db.write(batch)
        except Exception as error:
            raise self._break("writing", error) from error

    def sync(self) -> None:
        """Block, with other threads running, until the log is on disk."""
        self._check_usable()
        try:
            sequence: int = self._db.latest_sequence_number()
            self._db.flush_wal(True)
            os.pwrite(self._synced, sequence.to_bytes(8, "big"), 0)
        except Exception as error:
            raise self._break("syncing", error) from error

    def checkpoint(self, directory: Path) -> None:
        """Write a copy of one moment into `directory`, which must not exist. May run in another thread."""
        self._check_usable()
        try:
            # Flushed first, with other threads running: the checkpoint itself would flush holding the interpreter's lock.
            for family in self._families.values():
                family.flush()
            Checkpoint(self._db).create_checkpoint(str(directory))
        except Exception as error:
            raise EngineFault(f"the checkpoint failed: {error}") from error

    def statistics(self) -> dict[str, float]:
        """Return bytes on disk and in memory, and how far compaction is behind."""
        self._check_usable()
        figures = {
            "disk_bytes": _size_of_files(self._directory),
            "block_cache_bytes": self._cache.get_usage(),
            "write_buffer_bytes": self._sum("rocksdb.cur-size-all-mem-tables"),
            "table_reader_bytes": self._sum("rocksdb.estimate-table-readers-mem"),
            "pending_compaction_bytes": self._sum("rocksdb.estimate-pending-compaction-bytes"),
            "entries": self._sum("rocksdb.estimate-num-keys"),
        }
        memory = figures["block_cache_bytes"] + figures["write_buffer_bytes"] + figures["table_reader_bytes"]
        return {**figures, "memory_bytes": memory}

    def close(self) -> None:
        """End all scans, write everything out and release the directory."""
        if self._broken == "closed":
            return
        self._broken = self._broken or "closed"
        for entries, held in list(self._scans.items()):
            entries.close()
            held.clear()
        self._get, self._cursor, self._handles = {}, {}, {}
        families, self._families = self._families, {}
        if self._broken == "closed" and not self._read_only:
            self._db.flush_wal(True)
        for family in families.values():
            family.close()
        self._db.close()
        if self._broken == "closed" and not self._read_only:
            _remove_options(self._directory)
        self._broken = "closed"
        if self._logs is not None:
            self._logs.cleanup()
        if self._synced >= 0:
            os.close(self._synced)

    def _sum(self, name: str) -> int:
        return sum(family.property_int_value(name) or 0 for family in self._families.values())

    def _check_usable(self) -> None:
        if self._broken is not None:
            raise EngineFault(f"the database cannot be used: {self._broken}")

    def _break(self, doing: str, error: Exception) -> EngineFault:
        self._broken = f"{doing} failed: {error}"
        self._get, self._cursor = {}, {}
        return EngineFault(self._broken)

    def _read_error(self, tree: str, error: Exception) -> Exception:
        if self._broken is not None:
            return EngineFault(f"the database cannot be used: {self._broken}")
        if tree not in self._families:
            return KeyError(tree)
        return EngineFault(f"reading the tree {tree} failed: {error}")

    def _database_options(self, buffer_bytes: int, max_open_files: int) -> Options:
        options = self._tree_options()
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        options.set_db_write_buffer_size(buffer_bytes)
        options.set_max_total_wal_size(_MAX_LOG_BYTES)
        options.set_max_open_files(max_open_files)
        # Files are opened by so many threads for each tree, which start even where there are none: 2,300 threads for a start.
        options.set_max_file_opening_threads(1)
        options.set_max_background_jobs(max(2, min(6, os.cpu_count() or 2)))
        # A failure of power may leave the part of the log that was not synced with holes: everything before the first hole holds.
        # Whether that is all that was acknowledged, `synced_sequence` tells before the directory is opened.
        options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
        options.set_bytes_per_sync(_MIB)
        options.set_keep_log_file_num(3)
        options.set_max_log_file_size(4 * _MIB)
        options.set_stats_dump_period_sec(0)
        options.set_stats_persist_period_sec(0)
        options.set_skip_stats_update_on_db_open(True)
        return options

    def _tree_options(self) -> Options:
        table = BlockBasedOptions()
        table.set_block_cache(self._cache)
        table.set_bloom_filter(_BLOOM_BITS, False)
        table.set_cache_index_and_filter_blocks(True)
        table.set_pin_l0_filter_and_index_blocks_in_cache(True)
        options = Options(raw_mode=True)
        options.set_block_based_table_factory(table)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_bottommost_compression_type(DBCompressionType.zstd())
        options.set_level_compaction_dynamic_level_bytes(True)
        options.set_write_buffer_size(_TREE_BUFFER_BYTES)
        options.set_arena_block_size(_ARENA_BYTES)
        # A write stall would stop the loop: let level 0 grow before writers are slowed down.
        options.set_level_zero_slowdown_writes_trigger(40)
        options.set_level_zero_stop_writes_trigger(80)
        return options


def synced_sequence(directory: Path) -> int:
    """Return the number of a write that is known to have been synced, with all before it; 0 if none is known.

    It is noted after each sync, without a sync of its own: after a failure of power it may be older, never newer. A log that ends before it
    has lost what was acknowledged, which RocksDB alone cannot tell from what a crash leaves.
    """
    try:
        noted = (directory / SYNCED_FILE).read_bytes()
    except FileNotFoundError:
        return 0
    return int.from_bytes(noted, "big") if len(noted) == 8 else 0


def stored_families(directory: Path) -> list[str]:
    """Return the names of the column families in `directory`; none if there is no database."""
    if not (directory / "CURRENT").exists():
        return []
    names: list[str] = Rdict.list_cf(str(directory), Options(raw_mode=True))
    return names


def _remove_options(directory: Path) -> None:
    """Remove the options that RocksDB has noted of a database that is closed.

    Everybody who opens it gives their own. The binding reads the noted ones all the same, which takes 40 ms each time with so many trees.
    """
    for path in directory.glob("OPTIONS-*"):
        path.unlink(missing_ok=True)


@contextmanager
def no_new_config(directory: Path) -> Iterator[None]:
    """Take away the file that the binding leaves in every directory that it opens, for reading too, unless it was there."""
    path = directory / "rocksdict-config.json"
    is_new = not path.exists()
    try:
        yield
    finally:
        if is_new:
            path.unlink(missing_ok=True)


def _size_of_files(directory: Path) -> int:
    total = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                if entry.is_file(follow_symlinks=False):
                    total += entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                continue  # compaction removed it meanwhile
    return total
