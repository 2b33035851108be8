"""Copying a database into the other backend."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conduit.database import convert as module
from conduit.database import trees
from conduit.database.convert import Converted, convert
from conduit.database.errors import CannotOpen, DiskFull, EngineFault, Foreign, Locked
from conduit.database.open import open_database, open_read_only
from tests.database.conduit_directory import Conduit
from tests.database.test_open import OTHER, contents

ENTRIES = 2500
HOLD = """
import sys
from pyrex import PyRocksDBExtended
db = PyRocksDBExtended(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def source(disk_kind: str, tmp_path: Path) -> Path:
    """Return a directory of each kind with entries and media."""
    directory = tmp_path / "source"
    db = open_database(directory, disk_kind)
    with db.batch() as batch:
        for number in range(ENTRIES):
            trees.userid_displayname.put(batch, f"@{number}:localhost", "x" * (number % 300))
        trees.roomstate.put(batch, (1, 2), 3)
    db.close_now()
    for name in ("media/ab/cd/file", "media/top"):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"bytes of " + name.encode())
    return directory


def test_copy_holds_every_entry_and_the_source_is_untouched(disk_kind: str, source: Path, tmp_path: Path) -> None:
    """And back again: the second copy holds the same. Progress reaches its end at each stage; media are linked."""
    before = contents(source)
    told: list[tuple[str, int, int]] = []
    there = tmp_path / "there"
    converted = convert(
        source,
        disk_kind,
        there,
        OTHER[disk_kind],
        media=source / "media",
        progress=lambda doing, done, total: told.append((doing, done, total)),
    )
    assert converted == Converted(ENTRIES + 3, 2)
    assert contents(source) == before
    assert {doing for doing, done, total in told if done == total} == {"copying", "comparing", "media"}
    assert (there / "media/ab/cd/file").samefile(source / "media/ab/cd/file")
    convert(there, OTHER[disk_kind], tmp_path / "back", disk_kind)
    for directory, kind in ((there, OTHER[disk_kind]), (tmp_path / "back", disk_kind)):
        db = open_database(directory, kind)
        assert len(list(trees.userid_displayname.keys(db))) == ENTRIES
        assert trees.roomstate.get(db, (1, 2)) == 3
        db.close_now()


def test_used_directories_are_refused(disk_kind: str, source: Path, tmp_path: Path) -> None:
    """A target with anything in it, one inside of the source, and a source that is in use or no database."""
    with pytest.raises(Foreign, match="not an empty directory"):
        convert(source, disk_kind, tmp_path, OTHER[disk_kind])
    with pytest.raises(Foreign, match="lies within"):
        convert(source, disk_kind, source / "new", OTHER[disk_kind])
    (tmp_path / "empty").mkdir()
    with pytest.raises(Foreign, match="holds no database"):
        convert(tmp_path / "empty", disk_kind, tmp_path / "new", OTHER[disk_kind])
    with pytest.raises(Foreign, match="database_backend is"):
        convert(source, OTHER[disk_kind], tmp_path / "new", disk_kind)
    db = open_database(source, disk_kind)
    with pytest.raises(Locked):
        convert(source, disk_kind, tmp_path / "new", OTHER[disk_kind])
    db.close_now()
    assert not (tmp_path / "new").exists()


def test_failed_copy_is_removed(disk_kind: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little room is told beforehand; a copy that differs is not left behind."""
    monkeypatch.setattr(module, "MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(DiskFull):
        convert(source, disk_kind, tmp_path / "new", OTHER[disk_kind])
    monkeypatch.undo()
    copy = module._copy

    def forgetful(*arguments: object) -> int:
        entries = copy(*arguments)  # type: ignore[arg-type]
        engine = arguments[1]
        engine.apply({"roomstate": {trees.roomstate.key.encode((1, 2)): None}})  # type: ignore[attr-defined]
        return entries

    monkeypatch.setattr(module, "_copy", forgetful)
    with pytest.raises(EngineFault, match="differs from the original in the tree roomstate"):
        convert(source, disk_kind, tmp_path / "new", OTHER[disk_kind])
    assert not (tmp_path / "new").exists()


def test_unfinished_copy_does_not_open(disk_kind: str, source: Path, tmp_path: Path) -> None:
    """A copy that was killed lacks its last tree, and is not taken for a new database."""
    convert(source, disk_kind, tmp_path / "new", OTHER[disk_kind])
    db = open_database(tmp_path / "new", OTHER[disk_kind])
    with db.batch() as batch:
        for key, _ in db.scan("global", b"", None):
            batch.delete("global", key)
    db.close_now()
    with pytest.raises(CannotOpen, match="unfinished copy"):
        open_database(tmp_path / "new", OTHER[disk_kind])


def test_media_are_copied_where_they_cannot_be_linked(
    disk_kind: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As onto another disk."""

    def no_links(*paths: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_links)
    convert(source, disk_kind, tmp_path / "new", OTHER[disk_kind], media=source / "media")
    copied = tmp_path / "new/media/ab/cd/file"
    assert copied.read_bytes() == b"bytes of media/ab/cd/file"
    assert not copied.samefile(source / "media/ab/cd/file")


def test_reading_only_changes_nothing(disk_kind: str, source: Path) -> None:
    """Nothing can be written, trees that are not there are empty, and the files stay as they are."""
    before = contents(source)
    db = open_read_only(source, disk_kind)
    assert len(list(trees.userid_displayname.keys(db))) == ENTRIES
    assert trees.userid_displayname.get_many(db, ["@1:localhost", "@none:localhost"]) == ["x", None]
    with pytest.raises(EngineFault, match="reading only"), db.batch() as batch:
        batch.put("userid_password", b"k", b"v")
    db.close_now()
    assert contents(source) == before
    shutil.rmtree(source)


def test_reading_only_a_directory_of_conduit(tmp_path: Path) -> None:
    """Our trees are not there and read as empty; one that another process has open is refused."""
    conduit = Conduit()
    alice = conduit.user("alice", token="t")
    conduit.create(alice)
    conduit.save(tmp_path / "db")
    before = contents(tmp_path / "db")
    db = open_read_only(tmp_path / "db")
    assert trees.userid_password.has(db, alice)
    assert trees.membership.get(db, (alice, "!r")) is None
    assert trees.membership.get_many(db, [(alice, "!r")]) == [None]
    assert list(trees.membership.scan(db)) == []
    db.close_now()
    assert contents(tmp_path / "db") == before
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "db"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        with pytest.raises(Locked, match="perhaps Conduit"):
            open_read_only(tmp_path / "db")
        child.kill()
