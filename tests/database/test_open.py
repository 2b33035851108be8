"""Opening directories: new ones, our own, and everything that must be refused with one line and left as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest
from rocksdict import Options, Rdict

from conduit.database import trees
from conduit.database.directory import LOCK_FILE
from conduit.database.errors import CannotOpen, Damaged, DiskFull, Foreign, Locked, TooNew
from conduit.database.migrations import SCHEMA, SCHEMA_KEY, VERSION_KEY
from conduit.database.open import open_database
from conduit.database.rocksdb import SYNCED_FILE
from conduit.database.space import Space, free_bytes

OTHER = {"rocksdb": "lmdb", "lmdb": "rocksdb"}


def make(directory: Path, kind: str, entries: int = 0) -> None:
    """Leave a closed database of `kind` in `directory`."""
    db = open_database(directory, kind)
    for start in range(0, entries, 1000):
        with db.batch() as batch:
            for number in range(start, start + 1000):
                trees.userid_displayname.put(batch, f"@{number}:localhost", "x" * 100)
    db.close_now()


def contents(directory: Path) -> dict[str, bytes]:
    """Return every file in `directory` with its bytes; of the lock file, only that it is there."""
    found = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    return {name: b"" if name == LOCK_FILE else data for name, data in found.items()}


def refused(directory: Path, kind: str, error: type[CannotOpen], match: str) -> None:
    """Open `directory` and expect `error` with one line, and not a byte changed."""
    before = contents(directory)
    with pytest.raises(error, match=match) as caught:
        open_database(directory, kind)
    assert "\n" not in str(caught.value)
    assert str(directory) in str(caught.value)
    assert contents(directory) == before


def test_new_directory_is_made_with_its_versions(disk_kind: str, tmp_path: Path) -> None:
    """Missing parents are made too; Conduit's version and our schema are in it from the start, and nothing is disturbed."""
    db = open_database(tmp_path / "far" / "away", disk_kind)
    assert db.get("global", VERSION_KEY) == (18).to_bytes(8, "big")
    assert db.get("global", SCHEMA_KEY) == SCHEMA.to_bytes(8, "big")
    assert db.engine.name == disk_kind
    db.close_now()


def test_own_directory_opens_again(disk_kind: str, tmp_path: Path) -> None:
    """What was written is there; an empty directory and one with media in it count as new."""
    (tmp_path / "db" / "media").mkdir(parents=True)
    make(tmp_path / "db", disk_kind, 1000)
    db = open_database(tmp_path / "db", disk_kind, create=False)
    assert trees.userid_displayname.get(db, "@7:localhost") == "x" * 100
    db.close_now()


def test_rocksdb_opens_without_detours(tmp_path: Path) -> None:
    """No threads are started for files that are not there, and no options are left that the next start would read for nothing."""
    db = open_database(tmp_path)
    (noted,) = tmp_path.glob("OPTIONS-*")
    assert "max_file_opening_threads=1\n" in noted.read_text()
    db.close_now()
    assert list(tmp_path.glob("OPTIONS-*")) == []
    open_database(tmp_path).close_now()


def test_memory_needs_no_directory() -> None:
    """The engine for tests opens like the others."""
    db = open_database(Path("no-such-directory"), "memory")
    assert db.get("global", VERSION_KEY) == (18).to_bytes(8, "big")
    db.close_now()


def test_absent_database_is_not_made_for_tools(disk_kind: str, tmp_path: Path) -> None:
    """Who only wants to look at a database makes none."""
    with pytest.raises(Foreign, match="holds no database"):
        open_database(tmp_path / "none", disk_kind, create=False)
    assert list(tmp_path.iterdir()) == []


def test_unknown_backend_is_refused(tmp_path: Path) -> None:
    """A name that is no backend says which ones there are."""
    with pytest.raises(CannotOpen, match="rocksdb or lmdb"):
        open_database(tmp_path, "sqlite")


# --- somebody else's -----------------------------------------------------------------------------------------------


def test_other_backend_is_refused(disk_kind: str, tmp_path: Path) -> None:
    """The message names both ways out."""
    make(tmp_path, OTHER[disk_kind], 1000)
    refused(tmp_path, disk_kind, Foreign, "db convert")


@pytest.mark.parametrize(("name", "match"), [("conduit.db", "SQLite"), ("db", "sled")])
def test_conduits_other_backends_are_refused(disk_kind: str, tmp_path: Path, name: str, match: str) -> None:
    """A directory of SQLite or sled is told by its files, as Conduit does."""
    (tmp_path / name).write_bytes(b"something")
    refused(tmp_path, disk_kind, Foreign, match)


def test_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """A RocksDB or LMDB directory with other trees is not filled with ours."""
    (tmp_path / "rocks").mkdir()
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    Rdict(str(tmp_path / "rocks"), options, column_families={"blocks": Options(raw_mode=True)}).close()
    refused(tmp_path / "rocks", "rocksdb", Foreign, "neither this server's nor Conduit's")
    (tmp_path / "lmdb").mkdir()
    env = lmdb.open(str(tmp_path / "lmdb"), max_dbs=2, lib_version=1)
    env.open_db(b"blocks")
    env.close()
    refused(tmp_path / "lmdb", "lmdb", Foreign, "neither this server's nor Conduit's")


def test_file_in_place_of_the_directory_is_refused(disk_kind: str, tmp_path: Path) -> None:
    """A path that is a file says so."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Foreign, match="not a directory"):
        open_database(tmp_path / "file", disk_kind)
    with pytest.raises(Foreign, match="not a directory"):
        open_database(tmp_path / "file" / "db", disk_kind)


@pytest.mark.parametrize(
    ("key", "value", "error", "match"),
    [
        (SCHEMA_KEY, SCHEMA + 1, TooNew, "newer version of this server"),
        (VERSION_KEY, 19, TooNew, "newer Conduit"),
        (VERSION_KEY, 17, Foreign, "start Conduit"),
        (VERSION_KEY, None, Foreign, "unknown"),
    ],
)
def test_other_version_is_refused(
    disk_kind: str, tmp_path: Path, key: bytes, value: int | None, error: type[CannotOpen], match: str
) -> None:
    """A database of a newer or much older version is left to that version."""
    db = open_database(tmp_path, disk_kind)
    with db.batch() as batch:
        if value is None:
            batch.delete("global", key)
        else:
            batch.put("global", key, value.to_bytes(8, "big"))
    db.close_now()
    refused(tmp_path, disk_kind, error, match)


# --- damaged -------------------------------------------------------------------------------------------------------


def largest(directory: Path, pattern: str) -> Path:
    """Return the largest file that fits; of manifests the newest, as an old one may be about to go."""
    return max(directory.glob(pattern), key=lambda path: path.name if "MANIFEST" in pattern else path.stat().st_size)


def cut(pattern: str) -> Callable[[Path], None]:
    """Return what halves the largest file that fits `pattern`."""

    def damage(directory: Path) -> None:
        path = largest(directory, pattern)
        os.truncate(path, path.stat().st_size // 2)

    return damage


def remove(pattern: str) -> Callable[[Path], None]:
    """Return what removes the largest file that fits `pattern`."""

    def damage(directory: Path) -> None:
        largest(directory, pattern).unlink()

    return damage


def overwrite(pattern: str, at: float) -> Callable[[Path], None]:
    """Return what changes some bytes of the largest file that fits `pattern`."""

    def damage(directory: Path) -> None:
        path = largest(directory, pattern)
        data = bytearray(path.read_bytes())
        start = int(len(data) * at)
        data[start : start + 16] = bytes(byte ^ 0x5A for byte in data[start : start + 16])
        path.write_bytes(data)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        remove("CURRENT"),
        remove("MANIFEST-*"),
        remove("*.sst"),
        cut("*.sst"),
        overwrite("MANIFEST-*", 0.3),
        overwrite("*.sst", 0.999),
        overwrite("CURRENT", 0.0),
    ],
)
def test_damaged_rocksdb_directory_is_refused(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """Missing, cut and changed files are noticed at the start, without a trace left."""
    make(tmp_path, "rocksdb", 5000)
    damage(tmp_path)
    refused(tmp_path, "rocksdb", Damaged, "backup")


@pytest.mark.parametrize("damage", [cut("data.mdb"), overwrite("data.mdb", 0.0)])
def test_damaged_lmdb_file_is_refused(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """A file that is cut off, which would kill the process when read, and one without its head."""
    make(tmp_path, "lmdb", 5000)
    damage(tmp_path)
    if damage.__qualname__.startswith("overwrite"):
        data = bytearray((tmp_path / "data.mdb").read_bytes())
        data[:8192] = bytes(8192)
        (tmp_path / "data.mdb").write_bytes(data)
    refused(tmp_path, "lmdb", Damaged, "backup")


_KILLED = """
import os, signal, sys
from pathlib import Path
from conduit.database import trees
from conduit.database.open import open_database
from conduit.database.rocksdb import SYNCED_FILE
db = open_database(Path(sys.argv[1]), sys.argv[2])
for number in range(2000):
    with db.batch() as batch:
        trees.userid_displayname.put(batch, f"@{number}:localhost", "x" * 100)
db.sync_now()
print("written", flush=True)
if sys.argv[3] == "wait":
    sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_log_that_lacks_what_was_synced_is_refused(tmp_path: Path) -> None:
    """A killed server's log with changed bytes in its middle is damage, and so is one cut short; what came after the last sync may go."""
    killed = subprocess.run([sys.executable, "-c", _KILLED, tmp_path, "rocksdb", "die"], check=False)
    assert killed.returncode == -signal.SIGKILL
    log = largest(tmp_path, "*.log")
    whole = log.read_bytes()
    overwrite("*.log", 0.4)(tmp_path)
    refused(tmp_path, "rocksdb", Damaged, "lacks [0-9]+ entries that were on disk. Restore it from a backup")
    synced = (tmp_path / SYNCED_FILE).read_bytes()
    log.write_bytes(whole[:-20])
    refused(tmp_path, "rocksdb", Damaged, "lacks 1 entries")
    (tmp_path / SYNCED_FILE).write_bytes((int.from_bytes(synced, "big") - 1).to_bytes(8, "big"))
    db = open_database(tmp_path, "rocksdb")
    assert trees.userid_displayname.has(db, "@1998:localhost")
    assert not trees.userid_displayname.has(db, "@1999:localhost")
    db.close_now()


@pytest.mark.parametrize("noted", [b"", b"short", None])
def test_log_with_a_hole_opens_up_to_it(tmp_path: Path, noted: bytes | None) -> None:
    """A failure of power loses any part of what was not synced, also the note of what was: everything before the first hole is there."""
    subprocess.run([sys.executable, "-c", _KILLED, tmp_path, "rocksdb", "die"], check=False)
    log = largest(tmp_path, "*.log")
    data = bytearray(log.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = bytes(4096)
    log.write_bytes(data)
    (tmp_path / SYNCED_FILE).unlink()
    if noted is not None:
        (tmp_path / SYNCED_FILE).write_bytes(noted)
    db = open_database(tmp_path, "rocksdb")
    found = [int(user[1:].partition(":")[0]) for user in trees.userid_displayname.keys(db)]
    assert 900 < len(found) < 1100
    assert sorted(found) == list(range(len(found)))
    db.close_now()


# --- in use, read-only, full ---------------------------------------------------------------------------------------


def test_directory_in_use_is_refused(disk_kind: str, tmp_path: Path) -> None:
    """The same process cannot open it twice, nor another one, which is told who has it; afterwards it is free."""
    child = subprocess.Popen(
        [sys.executable, "-c", _KILLED, tmp_path, disk_kind, "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"written\n"
        with pytest.raises(Locked, match=f"process id {child.pid}"):
            open_database(tmp_path, disk_kind)
        child.kill()
    db = open_database(tmp_path, disk_kind)
    assert trees.userid_displayname.has(db, "@1999:localhost")
    with pytest.raises(Locked):
        open_database(tmp_path, disk_kind)
    db.close_now()
    open_database(tmp_path, disk_kind).close_now()


def test_directory_in_use_by_conduit_is_refused(tmp_path: Path) -> None:
    """Conduit takes no lock of ours: RocksDB's own tells."""
    make(tmp_path, "rocksdb")
    families = {name: Options(raw_mode=True) for name in Rdict.list_cf(str(tmp_path), Options(raw_mode=True))}
    conduit = Rdict(str(tmp_path), Options(raw_mode=True), column_families=families)
    refused(tmp_path, "rocksdb", Locked, "perhaps Conduit")
    conduit.close()


def test_read_only_directory_is_refused(disk_kind: str) -> None:
    """A directory that belongs to somebody else is told before anything is tried, one that cannot even be read likewise."""
    with tempfile.TemporaryDirectory() as name, as_nobody(Path(name)):
        with pytest.raises(CannotOpen, match="read-only"):
            open_database(Path(name), disk_kind)
        with pytest.raises(CannotOpen, match="cannot be made"):
            open_database(Path(name) / "db", disk_kind)
    with (
        tempfile.TemporaryDirectory() as name,
        as_nobody(Path(name), 0o300),
        pytest.raises(CannotOpen, match="cannot be read"),
    ):
        open_database(Path(name), disk_kind)


@contextmanager
def as_nobody(directory: Path, mode: int = 0o555) -> Iterator[None]:
    """Take away the right to write in `directory`, root's too."""
    directory.chmod(mode)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        directory.chmod(0o700)


def test_directory_that_takes_no_files_is_refused(disk_kind: str) -> None:
    """A file system that only shows the kernel's own files takes no database, not even root's."""
    with pytest.raises(CannotOpen, match=r"cannot be (written|made)"):
        open_database(Path("/proc/self"), disk_kind)
    with pytest.raises(CannotOpen, match="cannot be made"):
        open_database(Path("/proc/self/db"), disk_kind)


def test_space_is_checked_before_it_is_gone(tmp_path: Path) -> None:
    """A disk with less than the least room raises, one with more does not."""
    free = free_bytes(tmp_path)
    Space(tmp_path, min_free_bytes=free // 2).check()
    with pytest.raises(DiskFull, match="nothing was written"):
        Space(tmp_path, min_free_bytes=free * 2).check()
