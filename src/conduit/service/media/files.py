"""Media bytes on disk: each file once, under the SHA-256 of what it holds.

A file is written under a temporary name, synced, renamed and its folder synced before anybody writes the row that names it; so a row never
points at bytes which a crash could take back. A file without a row is the remains of an interrupted upload and is swept.

    <media>/<2 hex>/<2 hex>/<60 hex>     the spread of Conduit's `directory_structure`
    <media>/.incoming/<random>           uploads under way
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeVar

from conduit.database.errors import DiskFull
from conduit.database.space import Space
from conduit.protocol.errors import TooLarge
from conduit.service.media.thumbnails import Thumbnailer
from conduit.utils.keyed_lock import KeyedLock
from conduit.utils.tokens import random_text

T = TypeVar("T")

_INCOMING = ".incoming"
_GATHER = 1 << 20
"""How much of an upload is gathered before a thread writes it: most uploads are written in one go."""
THREADS = 4


class Stored(NamedTuple):
    """A file that is on disk for good."""

    sha256: bytes
    size: int


class MediaFiles:
    """The folder of media files, and the process that makes thumbnails. Disk work runs in a few threads of its own."""

    def __init__(self, root: Path, *, length: int = 2, depth: int = 2) -> None:
        self.root = root
        self._length = length
        self._depth = depth
        self._locks = KeyedLock()
        self._lasting: set[Path] = set()
        """Folders whose own entry, and those of all above them, are on disk. Grows to what the spread has, some ten thousand."""
        self._under_way: set[Path] = set()
        """Uploads that have not become files yet; a sweep leaves them alone."""
        self.making = KeyedLock()
        """Held while a thumbnail is made, by (server, media id, key): those who ask meanwhile find it made."""
        self.thumbnailer = Thumbnailer()
        self.accesses: dict[bytes, int] = {}
        """SHA-256 -> when it was last served, in seconds since the epoch; gathered here, written now and then."""
        self._space = Space(root)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="media")

    def path_of(self, digest: bytes) -> Path:
        """Return where the file with this SHA-256 lies, whether it exists or not."""
        text = digest.hex()
        folder = self.root
        for level in range(self._depth):
            folder = folder / text[level * self._length : (level + 1) * self._length]
        return folder / text[self._depth * self._length :]

    @contextlib.asynccontextmanager
    async def storing(self, pieces: AsyncIterator[bytes], limit: int) -> AsyncIterator[Stored]:
        """Write what `pieces` yields; the block runs once that is on disk, and is to write the row that names it.

        Raises `TooLarge` beyond `limit` bytes, and `DiskFull`; then, and when `pieces` fails, nothing is left.
        """
        incoming = self.root / _INCOMING / random_text(24)
        self._under_way.add(incoming)
        digest, size = sha256(), 0
        gathered: list[bytes] = []
        held = 0
        try:
            async for piece in pieces:
                size += len(piece)
                if size > limit:
                    raise TooLarge(f"At most {limit} bytes may be uploaded")
                digest.update(piece)
                gathered.append(piece)
                held += len(piece)
                if held >= _GATHER:
                    self._space.check()
                    await self._to_the_end(partial(_append, incoming, gathered))
                    gathered, held = [], 0
            # Held until the row is there: otherwise a deletion of another item with these bytes could come in between.
            async with self._locks(digest.digest()):
                target = self.path_of(digest.digest())
                self._space.check()
                is_new = await self._to_the_end(partial(self._finish, incoming, gathered, target))
                self._under_way.discard(incoming)
                try:
                    yield Stored(digest.digest(), size)
                except DiskFull:
                    # The row was refused. Files that nobody can fetch would take the room that is left.
                    if is_new:
                        await self._to_the_end(partial(_remove, target))
                    raise
        finally:
            if incoming in self._under_way:
                self._under_way.discard(incoming)
                await self._to_the_end(partial(_remove, incoming))

    @contextlib.asynccontextmanager
    async def storing_bytes(self, data: bytes) -> AsyncIterator[Stored]:
        """Write `data`, as `storing` does."""
        async with self.storing(_once(data), len(data)) as stored:
            yield stored

    async def read(self, digest: bytes) -> bytes:
        """Return the bytes of a file; raises `FileNotFoundError`."""
        return await self.in_thread(self.path_of(digest).read_bytes)

    async def stream(self, path: Path) -> tuple[int, AsyncIterator[bytes]]:
        """Return the size of a file and its bytes in pieces. Raises `FileNotFoundError`."""
        size = await self.in_thread(lambda: path.stat().st_size)

        async def pieces() -> AsyncIterator[bytes]:
            file = await self.in_thread(lambda: path.open("rb"))
            try:
                while piece := await self.in_thread(lambda: file.read(_GATHER)):
                    yield piece
            finally:
                file.close()

        return size, pieces()

    async def delete(self, digest: bytes, is_known: Callable[[bytes], bool]) -> bool:
        """Remove a file whose rows are durably gone, unless `is_known` says that a new row names it meanwhile; tell whether it is gone."""
        async with self._locks(digest):
            if is_known(digest):
                return False
            await self.in_thread(partial(_remove, self.path_of(digest)))
            return True

    async def sweep(self, is_known: Callable[[bytes], bool]) -> int:
        """Remove interrupted uploads, and files of which `is_known` says that no row names them; return how many files."""
        await self.in_thread(self._clear_incoming)
        removed = 0
        for index, digest in enumerate(await self.in_thread(lambda: list(self._digests()))):
            if not is_known(digest):
                removed += await self.delete(digest, is_known)
            elif index % 1000 == 999:
                await asyncio.sleep(0)
        return removed

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work on media in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _to_the_end(self, work: Callable[[], T]) -> T:
        """Run work in a thread; when cancelled, wait for it all the same: what follows relies on nobody writing any more.

        Raises `DiskFull` if there is no room for it.
        """
        running = asyncio.ensure_future(self.in_thread(work))
        try:
            return await asyncio.shield(running)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(f"no room is left on the disk of {self.root}") from error
            raise
        except asyncio.CancelledError:
            await asyncio.wait((running,))
            running.exception()
            raise

    def close(self) -> None:
        """Wait for the disk work under way and end the helper process."""
        self.thumbnailer.close()
        self._threads.shutdown()

    def _finish(self, incoming: Path, rest: Sequence[bytes], target: Path) -> bool:
        """Give the upload its name for good, all of it on disk; tell whether these bytes were not there yet. Runs in a thread."""
        is_new = not target.exists()
        if not is_new:
            # The same bytes, synced before their rename; whether the rename itself is on disk, the syncs below see to.
            _remove(incoming)
        else:
            _append(incoming, rest, sync=True)
            try:
                incoming.rename(target)
            except FileNotFoundError:
                self._lasting.discard(target.parent)
                target.parent.mkdir(parents=True, exist_ok=True)
                incoming.rename(target)
        folder = target.parent
        _sync_folder(folder)
        # The folders above hold nothing new, unless the one below was made just now or by an earlier process that did not come to this.
        made = [folder]
        while folder not in self._lasting and folder != self.root:
            folder = folder.parent
            _sync_folder(folder)
            made.append(folder)
        if folder == self.root and folder not in self._lasting:
            with contextlib.suppress(PermissionError):
                # The root itself may be new. Where its folder may not be looked into, somebody else has made it.
                _sync_folder(folder.parent)
        self._lasting.update(made)
        return is_new

    def _clear_incoming(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            for path in (self.root / _INCOMING).iterdir():
                if path not in self._under_way:
                    path.unlink()

    def _digests(self) -> Iterator[bytes]:
        if not self.root.is_dir():
            return
        for folder, _, names in os.walk(self.root):
            parts = Path(folder).relative_to(self.root).parts
            if len(parts) != self._depth or _INCOMING in parts:
                continue
            for name in names:
                with contextlib.suppress(ValueError):
                    digest = bytes.fromhex("".join(parts) + name)
                    if len(digest) == 32:
                        yield digest


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _append(path: Path, pieces: Iterable[bytes], *, sync: bool = False) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(descriptor, view) :]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
