"""Opening a directory as a database: made if it is new, checked and brought up to date if it is not, refused with one clear line otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from conduit.database.database import Database
from conduit.database.directory import (
    DirectoryLock,
    lmdb_error,
    read_globals,
    require_backend,
    require_writable,
    rocksdb_error,
    untouched_log,
)
from conduit.database.engine import Engine
from conduit.database.errors import CannotOpen, DiskFull, Foreign, TooNew
from conduit.database.memory import MemoryEngine
from conduit.database.migrations import SCHEMA, SCHEMA_KEY, VERSION_KEY, bring_up_to_date
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
        if not stored:
            return _fresh(db)
        bring_up_to_date(db)
    except BaseException:
        db.close_now()
        raise
    return db


def _fresh(db: Database) -> Database:
    with db.batch() as batch:
        batch.put("global", VERSION_KEY, VERSION.to_bytes(8, "big"))
        batch.put("global", SCHEMA_KEY, SCHEMA.to_bytes(8, "big"))
    db.sync_now()
    return db


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


def _open_engine(directory: Path, backend: str, cache_bytes: int, max_open_files: int, fsync: bool) -> Engine:
    if backend == "lmdb":
        import lmdb

        from conduit.database.lmdb import LmdbEngine

        try:
            return LmdbEngine(directory, TREE_NAMES, fsync=fsync)
        except lmdb.DiskError as error:
            raise DiskFull(f"no room is left on the disk of {directory}") from error
        except lmdb.Error as error:
            raise lmdb_error(directory, error) from error
    from conduit.database.rocksdb import RocksEngine

    buffer_bytes = min(max(int(cache_bytes * _BUFFER_PART), _MIN_BUFFER_BYTES), _MAX_BUFFER_BYTES)
    try:
        with untouched_log(directory):
            return RocksEngine(
                directory,
                TREE_NAMES,
                cache_bytes=max(cache_bytes - buffer_bytes, 1 << 20),
                buffer_bytes=buffer_bytes,
                max_open_files=max_open_files,
            )
    except Exception as error:
        raise rocksdb_error(directory, error) from error
