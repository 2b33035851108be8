"""Copying a database into another backend, or into a fresh directory of the same one.

The source is only read. The copy is compared with it entry by entry after it was closed and opened again; its tree `global`, without which it does not
open, is written last. If anything fails the copy is removed.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from conduit.database.database import Database
from conduit.database.directory import DirectoryLock, require_writable
from conduit.database.engine import Engine
from conduit.database.errors import CannotOpen, DiskFull, EngineFault, Foreign
from conduit.database.open import open_engine, open_read_only
from conduit.database.space import MIN_FREE_BYTES, free_bytes
from conduit.database.trees import TREE_NAMES

Progress = Callable[[str, int, int], None]
"""Told what is being done ("copying", "comparing" or "media"), how much of it is done, and about how much there is."""

_BATCH_BYTES = 4 << 20
_TELL_EVERY = 2000


@dataclass(frozen=True, slots=True)
class Converted:
    """What was copied."""

    entries: int
    files: int
    """Media files, linked or copied."""


def convert(
    source: Path,
    source_backend: str,
    into: Path,
    backend: str,
    *,
    media: Path | None = None,
    progress: Progress = lambda doing, done, total: None,
) -> Converted:
    """Copy the database in `source` into the new or empty directory `into`, as `backend`, and return what was copied.

    `media` is the directory of the media if it lies within `source`: its files are linked, or copied, to `media` in `into`. Raises `CannotOpen` if either
    directory cannot be used, `DiskFull` if there is too little room, and `EngineFault` if the copy differs.
    """
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise Foreign(f"{into} is not an empty directory")
    if into.resolve().is_relative_to(source.resolve()):
        raise Foreign(f"{into} lies within the directory that is to be copied")
    db = open_read_only(source, source_backend)
    try:
        require_writable(into)
        try:
            _require_room(db, into)
            lock = DirectoryLock(into)
            try:
                return _convert(db, into, backend, media, progress)
            finally:
                lock.withdraw()
        except BaseException:
            # Nothing was here before.
            shutil.rmtree(into, ignore_errors=True)
            raise
    finally:
        db.close_now()


def _require_room(db: Database, into: Path) -> None:
    needed = int(db.engine.statistics()["disk_bytes"] * 2) + MIN_FREE_BYTES
    if free_bytes(into) < needed:
        raise DiskFull(
            f"the copy may need {needed >> 20} MiB, and {free_bytes(into) >> 20} MiB are left on the disk of {into}"
        )


def _convert(db: Database, into: Path, backend: str, media: Path | None, progress: Progress) -> Converted:
    total = int(db.engine.statistics().get("entries", 0))
    copy = open_engine(into, backend)
    try:
        entries = _copy(db, copy, total, progress)
    finally:
        copy.close()
    copy = open_engine(into, backend)
    try:
        _compare(db, copy, entries, progress)
    finally:
        copy.close()
    files = _carry_media(media, into / "media", progress) if media is not None and media.is_dir() else 0
    return Converted(entries, files)


def _copy(db: Database, copy: Engine, total: int, progress: Progress) -> int:
    done = 0
    for tree in [*(name for name in TREE_NAMES if name != "global"), "global"]:
        gathered: dict[bytes, bytes | None] = {}
        size = 0
        for key, value in db.scan(tree, b"", None):
            gathered[key] = value
            size += len(key) + len(value)
            done += 1
            if size > _BATCH_BYTES:
                copy.apply({tree: gathered})
                copy.sync()
                gathered, size = {}, 0
            if done % _TELL_EVERY == 0:
                progress("copying", done, max(total, done))
        copy.apply({tree: gathered})
        # Everything else is on disk before `global` is written.
        copy.sync()
    progress("copying", done, done)
    return done


def _compare(db: Database, copy: Engine, total: int, progress: Progress) -> None:
    done = 0
    for tree in TREE_NAMES:
        for ours, theirs in zip_longest(db.scan(tree, b"", None), copy.scan(tree, b"", None)):
            if ours != theirs:
                key = (ours or theirs)[0]
                raise EngineFault(f"the copy differs from the original in the tree {tree} at {key[:80]!r}")
            done += 1
            if done % _TELL_EVERY == 0:
                progress("comparing", done, total)
    progress("comparing", done, total)


def _carry_media(media: Path, into: Path, progress: Progress) -> int:
    files = list(_files(media))
    for done, relative in enumerate(files):
        target = into / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        _link_or_copy(media / relative, target)
        if done % 100 == 0:
            progress("media", done, len(files))
    os.sync()
    progress("media", len(files), len(files))
    return len(files)


def _files(directory: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(directory):
        for name in names:
            yield (Path(folder) / name).relative_to(directory)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
        return
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise CannotOpen(f"{target} cannot be made: {error.strerror}") from error
    shutil.copy2(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
