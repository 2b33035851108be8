"""A database directory from outside: whose it is, what it holds, and that nobody else has it open.

Everything here looks before it touches: whatever is refused stays as it was.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conduit.database.errors import CannotOpen, Damaged, Foreign, Locked
from conduit.database.lmdb import DATA_FILE, LIB_VERSION
from conduit.database.trees import TREE_NAMES

LOCK_FILE = "conduit_py.lock"
_NAMES = {"rocksdb": "RocksDB", "lmdb": "LMDB"}


class DirectoryLock:
    """Holds a directory for this process until `release`, or until the process is gone."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_FILE
        self._is_new = not self._path.exists()
        self._file = -1
        while self._file < 0:
            self._file = self._take(directory)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, b"%d\n" % os.getpid(), 0)

    def _take(self, directory: Path) -> int:
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CannotOpen(f"{directory} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it may have taken the file away meanwhile (`withdraw`): then it locks nothing.
            if _is_file(self._path, file):
                return file
        except BlockingIOError:
            holder = os.pread(file, 20, 0).decode("ascii", "replace").strip()
            os.close(file)
            who = f" (process id {holder})" if holder else ""
            raise Locked(f"{directory} is in use by another process{who}") from None
        os.close(file)
        return -1

    def release(self) -> None:
        """Let others have the directory. Twice is once."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1

    def withdraw(self) -> None:
        """Release, and leave no trace of having been here."""
        if self._is_new and self._file >= 0:
            self._path.unlink(missing_ok=True)
        self.release()


def _is_file(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def backend_of(directory: Path) -> str | None:
    """Return the backend whose files `directory` holds, or `None` if there are none.

    Raises `Foreign` for the files of Conduit's other backends, and `Damaged` for a RocksDB directory without its head.
    """
    try:
        names = {entry.name for entry in os.scandir(directory)}
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise Foreign(f"{directory} is not a directory") from error
    except OSError as error:
        raise CannotOpen(f"{directory} cannot be read: {error.strerror}") from error
    if "conduit.db" in names:
        raise Foreign(
            f"{directory} holds a database of Conduit's SQLite backend, which is not supported: convert it to RocksDB with "
            "conduit_toolbox first"
        )
    if DATA_FILE in names:
        return "lmdb"
    if "CURRENT" in names:
        return "rocksdb"
    if "IDENTITY" in names or any(name.endswith(".sst") or name.startswith("MANIFEST-") for name in names):
        raise Damaged(f"{directory} holds a RocksDB database whose file CURRENT is missing: restore it from a backup")
    if "db" in names:
        raise Foreign(f"{directory} holds a database of Conduit's sled backend, which is not supported")
    return None


def require_backend(directory: Path, backend: str) -> bool:
    """Tell whether `directory` holds a database of `backend`. Raises `Foreign` if it holds one of the other."""
    found = backend_of(directory)
    if found is not None and found != backend:
        raise Foreign(
            f"{directory} holds a database of {_NAMES[found]}, and database_backend is {backend}: set it to {found}, or copy the "
            f"database with: conduit db convert --to {backend} --into NEW_DIRECTORY"
        )
    return found is not None


def require_writable(directory: Path) -> None:
    """Make `directory` if it is missing. Raises `CannotOpen` if it cannot be made or written."""
    try:
        # For its owner alone: the signing key and all messages are in it.
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotOpen(f"{directory} cannot be made: {error.strerror}") from error
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise CannotOpen(f"{directory} cannot be written: it is read-only, or belongs to somebody else")


def sync_names(directory: Path) -> None:
    """Put the names of the database's files on disk, and the directory's own name: syncing a file covers what it holds, not that it can be found."""
    _sync_folder(directory)
    _sync_folder(directory.parent)


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return  # somebody else's, who has made the names in it
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_globals(directory: Path, backend: str) -> Mapping[bytes, bytes]:
    """Return the tree `global` of the database in `directory` without changing anything there. Raises `Damaged`."""
    return _lmdb_globals(directory) if backend == "lmdb" else _rocksdb_globals(directory)


def _rocksdb_globals(directory: Path) -> dict[bytes, bytes]:
    from rocksdict import AccessType, Options, Rdict

    from conduit.database.rocksdb import SYNCED_FILE, no_new_config, synced_sequence

    with tempfile.TemporaryDirectory() as logs, no_new_config(directory):
        options = Options(raw_mode=True)
        # Its diary would otherwise be turned over in the directory itself.
        options.set_db_log_dir(logs)
        try:
            names = Rdict.list_cf(str(directory), Options(raw_mode=True))
            _require_own_trees(directory, names)
            families = {name: Options(raw_mode=True) for name in names if name in ("default", "global")}
            db = Rdict(str(directory), options, column_families=families, access_type=AccessType.read_only(False))
        except CannotOpen:
            raise
        except Exception as error:
            raise rocksdb_error(directory, error) from error
        try:
            lost = synced_sequence(directory) - db.latest_sequence_number()
            if lost > 0:
                raise Damaged(
                    f"{directory} is damaged: its log lacks {lost} entries that were on disk. Restore it from a backup "
                    f"(and if this is one, put back into its old place, remove the file {SYNCED_FILE})"
                )
            if "global" not in families:
                return {}
            tree = db.get_column_family("global")
            try:
                entries: Any = tree.items()
                return dict(entries)
            finally:
                tree.close()
        finally:
            db.close()


def _require_own_trees(directory: Path, names: Iterable[str]) -> None:
    if "global" not in names and not {"default", *TREE_NAMES}.issuperset(names):
        raise Foreign(f"{directory} holds a database, but neither this server's nor Conduit's")


@contextmanager
def rocksdb_lock(directory: Path) -> Iterator[None]:
    """Raise `Locked` if a process without our own lock, such as Conduit, has the RocksDB directory open. Opening for reading would not notice."""
    path = directory / "LOCK"
    if not path.exists():
        yield
        return
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Locked(f"{directory} is in use by another process, perhaps Conduit") from error
        yield


def rocksdb_error(directory: Path, error: Exception) -> CannotOpen:
    """Return what RocksDB's refusal to open `directory` means."""
    text = " ".join(str(error).split())
    if "While lock file" in text or "lock hold by current process" in text:
        return Locked(f"{directory} is in use by another process, perhaps Conduit")
    if "Corruption" in text or "No such file" in text:
        return Damaged(f"{directory} is damaged: {text}. Restore it from a backup")
    return CannotOpen(f"{directory} cannot be opened: {text}")


@contextmanager
def untouched_log(directory: Path) -> Iterator[None]:
    """Put RocksDB's diary back as it was if opening fails: an attempt begins a new one."""
    before = {path.name for path in directory.glob("LOG*")}
    try:
        yield
    except BaseException:
        old = [path for path in directory.glob("LOG.old.*") if path.name not in before]
        for path in old:
            path.replace(directory / "LOG")
        if not old and "LOG" not in before:
            (directory / "LOG").unlink(missing_ok=True)
        raise


def _lmdb_globals(directory: Path) -> dict[bytes, bytes]:
    import lmdb

    path = directory / DATA_FILE
    if path.stat().st_size == 0:
        return {}  # LMDB, too, takes an empty file for a new one
    try:
        env = lmdb.open(str(directory), readonly=True, lock=False, max_dbs=1, lib_version=LIB_VERSION)
    except lmdb.Error as error:
        raise lmdb_error(directory, error) from error
    try:
        pages = int(env.info()["last_pgno"]) + 1
        if path.stat().st_size < pages * int(env.stat()["psize"]):
            raise Damaged(f"{path} is cut off: restore it from a backup")
        return _entries(env)
    except lmdb.Error as error:
        raise lmdb_error(directory, error) from error
    finally:
        env.close()


def _entries(env: Any) -> dict[bytes, bytes]:
    import lmdb

    _require_own_trees(Path(env.path()), [name.decode("utf-8", "replace") for name in env.dbs()])
    try:
        tree = env.open_db(b"global", create=False)
    except lmdb.NotFoundError:
        return {}
    with env.begin(db=tree) as transaction:
        return dict(transaction.cursor())


def lmdb_error(directory: Path, error: Exception) -> CannotOpen:
    """Return what LMDB's refusal to open `directory` means."""
    import lmdb

    path = directory / DATA_FILE
    if isinstance(error, lmdb.VersionMismatchError):
        return Foreign(f"{path} is an LMDB file of another format than this server's")
    if isinstance(error, lmdb.InvalidError | lmdb.CorruptedError | lmdb.PageNotFoundError):
        return Damaged(f"{path} is damaged, or no LMDB file of this server: {error}. Restore it from a backup")
    return CannotOpen(f"{directory} cannot be opened: {error}")
