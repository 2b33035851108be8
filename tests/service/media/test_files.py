"""Media bytes on disk: nothing that a row names may be lost, nothing else may stay."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from conduit.protocol.errors import TooLarge
from conduit.service.media.files import MediaFiles, Stored
from tests.support.clock import settle

PIECE = 1 << 20
"""What is gathered before a thread writes it."""


async def pieces(*data: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    """Yield `data`, then fail with `error`."""
    for piece in data:
        yield piece
    if error is not None:
        raise error


async def store(files: MediaFiles, data: bytes) -> Stored:
    """Store bytes for which no row is written."""
    async with files.storing_bytes(data) as stored:
        return stored


def on_disk(files: MediaFiles) -> set[Path]:
    """Return every file below the folder."""
    return {path for path in files.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, 3 * PIECE + 7])
async def test_stored_bytes_lie_under_their_digest(files: MediaFiles, size: int) -> None:
    """Whatever the size, the file holds the bytes, and lies where Conduit would put it."""
    data = os.urandom(size)
    stored = await store(files, data)
    text = sha256(data).hexdigest()
    assert stored == (sha256(data).digest(), size)
    assert on_disk(files) == {files.root / text[:2] / text[2:4] / text[4:]}
    assert await files.read(stored.sha256) == data


@pytest.mark.parametrize(("length", "depth", "expected"), [(2, 0, []), (1, 3, [1, 1, 1]), (63, 1, [63])])
async def test_structure_of_folders_is_as_configured(
    tmp_path: Path, length: int, depth: int, expected: list[int]
) -> None:
    """Any spread over folders works, and a sweep finds the files in it."""
    files = MediaFiles(tmp_path, length=length, depth=depth)
    stored = await store(files, b"x")
    (path,) = on_disk(files)
    assert [len(part) for part in path.relative_to(tmp_path).parts[:-1]] == expected
    assert await files.sweep(lambda digest: digest == stored.sha256) == 0
    assert await files.sweep(lambda digest: False) == 1
    assert not on_disk(files)
    files.close()


class Disk:
    """Notes what is synced and renamed, in order; may hold up syncing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[tuple[str, Path]] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.reached = threading.Event()
        sync, rename = os.fsync, Path.rename

        def noted_sync(descriptor: int) -> None:
            self.log.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink()))
            self.reached.set()
            assert self.go_on.wait(10)
            sync(descriptor)

        def noted_rename(path: Path, target: Path) -> Path:
            renamed = rename(path, target)
            self.log.append(("rename", target))
            return renamed

        monkeypatch.setattr(os, "fsync", noted_sync)
        monkeypatch.setattr(Path, "rename", noted_rename)


async def test_file_is_safe_before_its_row_is_written(files: MediaFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the bytes are synced, then renamed, then every folder on the way is synced, and only then the block runs."""
    disk = Disk(monkeypatch)
    async with files.storing(pieces(b"a" * PIECE, b"rest"), 10**7) as stored:
        path = files.path_of(stored.sha256)
        (_, incoming), *rest = disk.log
        assert incoming.parent == files.root / ".incoming"
        folders = [path.parent, path.parent.parent, files.root, files.root.parent]
        assert rest == [("rename", path), *(("sync", folder) for folder in folders)]


async def test_bytes_that_are_there_are_synced_again_before_another_row(
    files: MediaFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another's rename may not have reached the disk yet, nor the folders of an earlier process."""
    stored = await store(files, b"x")
    disk = Disk(monkeypatch)
    path = files.path_of((await store(files, b"x")).sha256)
    assert path == files.path_of(stored.sha256)
    assert disk.log == [("sync", path.parent)]
    disk.log.clear()
    later = MediaFiles(files.root)
    await store(later, b"x")
    later.close()
    folders = [path.parent, path.parent.parent, files.root, files.root.parent]
    assert disk.log == [("sync", folder) for folder in folders]


async def test_new_folders_are_synced_up_to_one_that_lasts(files: MediaFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known to be on disk is not synced again; a folder that somebody has removed is."""
    first = await store(files, b"x")
    # Bytes of the same first folder, and not the same second one.
    others = (str(number).encode() for number in range(10_000))
    data = next(other for other in others if sha256(other).digest()[0] == first.sha256[0])
    disk = Disk(monkeypatch)
    path = files.path_of((await store(files, data)).sha256)
    assert [folder for what, folder in disk.log if what == "sync"][1:] == [path.parent, path.parent.parent]
    path.unlink()
    path.parent.rmdir()
    disk.log.clear()
    await store(files, data)
    assert [folder for what, folder in disk.log if what == "sync"][1:] == [path.parent, path.parent.parent]


@pytest.mark.parametrize("size", [1000, PIECE, 2 * PIECE + 1])
async def test_upload_beyond_the_limit_leaves_nothing(files: MediaFiles, size: int) -> None:
    """As many bytes as allowed are taken; one more is refused, wherever the writing stands."""
    async with files.storing(pieces(b"x" * size), size):
        pass
    before = on_disk(files)
    with pytest.raises(TooLarge):
        async with files.storing(pieces(b"x" * size, b"y"), size):
            pytest.fail("the block must not run")
    assert on_disk(files) == before


@pytest.mark.parametrize("size", [1, PIECE, 2 * PIECE])
async def test_upload_that_breaks_off_leaves_nothing(files: MediaFiles, size: int) -> None:
    """A connection that ends early is no file."""
    with pytest.raises(ConnectionError):
        async with files.storing(pieces(b"x" * size, error=ConnectionError()), 10**7):
            pytest.fail("the block must not run")
    assert not on_disk(files)


async def test_cancelled_upload_is_waited_for_and_swept(files: MediaFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that is writing goes on to its end before anybody else gets hold of the same bytes."""
    disk = Disk(monkeypatch)
    files.root.mkdir()
    disk.go_on.clear()
    upload = asyncio.ensure_future(store(files, b"x"))
    await asyncio.to_thread(disk.reached.wait, 10)
    upload.cancel()
    again = asyncio.ensure_future(store(files, b"x"))
    await settle()
    assert not upload.done()
    assert not again.done()
    disk.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await upload
    stored = await again
    assert on_disk(files) == {files.path_of(stored.sha256)}


async def test_failed_disk_leaves_no_half_file(files: MediaFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """When syncing fails, the upload fails and there is neither a file nor its remains."""
    files.root.mkdir()

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        await store(files, b"x")
    assert not on_disk(files)


async def test_sweep_takes_what_no_row_names_and_nothing_else(files: MediaFiles) -> None:
    """Remains of uploads and unknown files go; known ones stay, and so does whatever is not ours."""
    known, unknown = await store(files, b"known"), await store(files, b"unknown")
    remains = files.root / ".incoming" / "abc"
    remains.write_bytes(b"half")
    foreign = files.path_of(known.sha256).parent / "notes.txt"
    foreign.write_text("mine")
    assert await files.sweep(lambda digest: digest == known.sha256) == 1
    assert on_disk(files) == {files.path_of(known.sha256), foreign}
    assert not files.path_of(unknown.sha256).exists()


async def test_sweep_without_a_folder_finds_nothing(files: MediaFiles) -> None:
    """A server that never had media starts all the same."""
    assert await files.sweep(lambda digest: False) == 0


async def test_sweep_leaves_an_upload_under_way_alone(files: MediaFiles) -> None:
    """The file is whole although a sweep came while it was being written."""

    async def slow() -> AsyncIterator[bytes]:
        yield b"a" * PIECE
        assert await files.sweep(lambda digest: False) == 0
        yield b"b"

    async with files.storing(slow(), 10**7) as stored:
        assert await files.read(stored.sha256) == b"a" * PIECE + b"b"
    assert stored.sha256 == sha256(b"a" * PIECE + b"b").digest()


async def test_deletion_waits_for_whoever_stores_the_same_bytes(files: MediaFiles) -> None:
    """It asks again when it is its turn: the new row keeps the file."""
    known: set[bytes] = set()
    async with files.storing_bytes(b"x") as stored:
        deletion = asyncio.ensure_future(files.delete(stored.sha256, known.__contains__))
        await settle()
        assert not deletion.done()
        known.add(stored.sha256)
    assert not await deletion
    assert await files.read(stored.sha256) == b"x"


async def test_bytes_stored_while_they_are_deleted_are_there_afterwards(
    files: MediaFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upload waits for the deletion, finds the file gone and writes it."""
    first = await store(files, b"x")
    begun, go_on = threading.Event(), threading.Event()
    unlink = Path.unlink

    def slow_unlink(path: Path, missing_ok: bool = False) -> None:
        begun.set()
        assert go_on.wait(10)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", slow_unlink)
    deletion = asyncio.ensure_future(files.delete(first.sha256, lambda digest: False))
    await asyncio.to_thread(begun.wait, 10)
    upload = asyncio.ensure_future(store(files, b"x"))
    await settle()
    assert not upload.done()
    go_on.set()
    assert await deletion
    assert (await upload).sha256 == first.sha256
    assert await files.read(first.sha256) == b"x"


async def test_deleting_twice_is_once(files: MediaFiles) -> None:
    """A file that is gone already is gone."""
    stored = await store(files, b"x")
    for _ in range(2):
        assert await files.delete(stored.sha256, lambda digest: False)
    with pytest.raises(FileNotFoundError):
        await files.read(stored.sha256)
