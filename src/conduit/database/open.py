"""Opening a directory as a database: made if it is new, checked and brought up to date if it is not, refused with one clear line otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from conduit.database.database import Database
from conduit.database.directory import (
    DirectoryLock,
    lmdb_error,
    read_globals,
    require_backend,
    require_writable,
    rocksdb_error,
    rocksdb_lock,
    sync_names,
    untouched_log,
)
from conduit.database.engine import Engine
from conduit.database.errors import CannotOpen, Damaged, DiskFull, Foreign, TooNew
from conduit.database.memory import MemoryEngine
from conduit.database.migrations import SCHEMA, SCHEMA_KEY, VERSION_KEY, bring_up_to_date
from conduit.database.read_only import ReadOnlyEngine
from conduit.database.space import Space
from conduit.database.trees import TREE_NAMES, VERSION

BACKENDS = ("rocksdb", "lmdb", "memory")
_ENGINE_PART = 0.5
"""RocksDB's part of the memory for caches. LMDB has none of its own: its pages lie in the system's cache."""
_BUFFER_PART = 0.25
_MIN_BUFFER_BYTES, _MAX_BUFFER_BYTES = 8 << 20, 64 << 20


def open_database(
    directory: Path,
    backend: str = "rocksdb",
    *,
    cache_bytes: int = 64 << 20,
    own_factor: float = 1.0,
    max_open_files: int = 1000,
    fsync: bool = True,
    create: bool = True,
) -> Database:
    """Return the database in `directory`, made if there is none and `create` allows it, and brought up to this server's schema.

    `cache_bytes` is shared by all caches, the engine's included; `own_factor` scales this server's part of it. Raises `CannotOpen` (`Locked`, `Foreign`,
    `TooNew`, `Damaged`) with one line for the operator, or `DiskFull`; the directory is then as it was. The backend `memory` ignores `directory`.
    """
    if backend == "memory":
        return _fresh(Database(MemoryEngine(TREE_NAMES), cache_bytes=cache_bytes, fsync=fsync))
    if backend not in BACKENDS:
        raise CannotOpen(f"there is no backend {backend}: choose rocksdb or lmdb")
    exists = require_backend(directory, backend)
    if not exists and not create:
        raise Foreign(f"{directory} holds no database")
    require_writable(directory)
    space = Space(directory)
    space.check()
    lock = DirectoryLock(directory)
    try:
        # Looked at again: another process may have made a database before we had the lock.
        exists = require_backend(directory, backend)
        stored = read_globals(directory, backend) if exists else {}
        _require_known_version(directory, stored)
        engine_bytes = int(cache_bytes * _ENGINE_PART) if backend == "rocksdb" else 0
        engine = _open_engine(directory, backend, engine_bytes, max_open_files, fsync)
        own_bytes = int((cache_bytes - engine_bytes) * own_factor)
        db = Database(engine, cache_bytes=own_bytes, fsync=fsync, space=space, released=lock.release)
    except BaseException:
        lock.withdraw()
        raise
    try:
        sync_names(directory)
        if not stored:
            _require_empty(directory, db)
            return _fresh(db)
        bring_up_to_date(db)
    except BaseException:
        db.close_now()
        raise
    return db


def open_read_only(directory: Path, backend: str = "rocksdb") -> Database:
    """Return the database in `directory` for tools that only read. Not a byte of it is changed, nothing is migrated. Raises as `open_database`."""
    if backend not in ("rocksdb", "lmdb"):
        raise CannotOpen(f"there is no backend {backend}: choose rocksdb or lmdb")
    if not require_backend(directory, backend):
        raise Foreign(f"{directory} holds no database")
    lock = DirectoryLock(directory)
    try:
        stored = read_globals(directory, backend)
        if not stored:
            raise Foreign(f"{directory} holds no database")
        _require_known_version(directory, stored)
        engine = _open_engine(directory, backend, 64 << 20, 1000, True, read_only=True)
        return Database(engine, cache_bytes=0, fsync=False, released=lock.withdraw)
    except BaseException:
        lock.withdraw()
        raise


def open_engine(directory: Path, backend: str) -> Engine:
    """Return an engine on a directory that the caller holds the lock of, with all trees: to be filled by a copy."""
    return _open_engine(directory, backend, 64 << 20, 1000, True)


def _fresh(db: Database) -> Database:
    with db.batch() as batch:
        batch.put("global", VERSION_KEY, VERSION.to_bytes(8, "big"))
        batch.put("global", SCHEMA_KEY, SCHEMA.to_bytes(8, "big"))
    db.sync_now()
    return db


def _require_empty(directory: Path, db: Database) -> None:
    # A copy writes `global` last of all.
    for tree in TREE_NAMES:
        if next(db.scan(tree, b"", None), None) is not None:
            raise Damaged(f"{directory} holds an unfinished copy of a database: remove it, and convert again")


def _require_known_version(directory: Path, stored: Mapping[bytes, bytes]) -> None:
    if not stored:
        return
    schema = int.from_bytes(stored.get(SCHEMA_KEY, b""), "big")
    if schema > SCHEMA:
        raise TooNew(
            f"{directory} was written by a newer version of this server (its schema is {schema}, this version knows {SCHEMA}): "
            "install that version, or restore a backup"
        )
    version = int.from_bytes(stored.get(VERSION_KEY, b""), "big")
    if version > VERSION:
        raise TooNew(
            f"{directory} was written by a newer Conduit (database version {version}, known are versions up to {VERSION})"
        )
    if version < VERSION:
        raise Foreign(
            f"{directory} has database version {version or 'unknown'}, and {VERSION} is needed: start Conduit 0.10 or 0.11 on it "
            "once, which brings it up to date. The databases of Conduit's forks are not supported"
        )


def _open_engine(
    directory: Path, backend: str, cache_bytes: int, max_open_files: int, fsync: bool, *, read_only: bool = False
) -> Engine:
    if backend == "lmdb":
        return _open_lmdb(directory, fsync, read_only)
    return _open_rocksdb(directory, cache_bytes, max_open_files, read_only)


def _open_lmdb(directory: Path, fsync: bool, read_only: bool) -> Engine:
    import lmdb

    from conduit.database.lmdb import LmdbEngine, stored_databases

    try:
        if not read_only:
            return LmdbEngine(directory, TREE_NAMES, fsync=fsync)
        present = _present(stored_databases(directory))
        return ReadOnlyEngine(LmdbEngine(directory, present, read_only=True), present)
    except lmdb.DiskError as error:
        raise DiskFull(f"no room is left on the disk of {directory}") from error
    except lmdb.Error as error:
        raise lmdb_error(directory, error) from error


def _open_rocksdb(directory: Path, cache_bytes: int, max_open_files: int, read_only: bool) -> Engine:
    from conduit.database.rocksdb import RocksEngine, stored_families

    buffer_bytes = min(max(int(cache_bytes * _BUFFER_PART), _MIN_BUFFER_BYTES), _MAX_BUFFER_BYTES)
    block_bytes = max(cache_bytes - buffer_bytes, 1 << 20)
    try:
        if read_only:
            with rocksdb_lock(directory):
                present = _present(stored_families(directory))
                engine = RocksEngine(directory, present, cache_bytes=block_bytes, read_only=True)
            return ReadOnlyEngine(engine, present)
        with untouched_log(directory):
            return RocksEngine(
                directory,
                TREE_NAMES,
                cache_bytes=block_bytes,
                buffer_bytes=buffer_bytes,
                max_open_files=max_open_files,
            )
    except CannotOpen:
        raise
    except Exception as error:
        raise rocksdb_error(directory, error) from error


def _present(names: Iterable[str]) -> list[str]:
    here = set(names)
    return [name for name in TREE_NAMES if name in here]
