"""A disk that keeps what it must and nothing else: what is left of a directory when the power fails.

Told all that a process does to its files (`tests.durability.trace`), it knows at every moment which bytes, file sizes and directory entries a completed
sync has covered. What POSIX promises, and no more: a write is kept if an fsync or fdatasync of the file began after it had returned, or at once with
O_DSYNC; a name is kept if its directory was synced afterwards, and so were the directories above it. Of everything else chance decides: either
in order, so that the later writes to a file are lost and the last one left may be cut anywhere; or each write may be kept, lost, or torn between
sectors, for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeAlias

from tests.durability.trace import Call, unescape

_SECTOR = 512
_WRITES = {"write", "pwrite64", "writev", "pwritev", "pwritev2"}
_SYNCS = {"fsync", "fdatasync"}
_NOTHING = {"lseek", "msync", "sync_file_range", "sendto", "sendmsg", "rmdir"}


@dataclass(slots=True)
class _Change:
    """One write, truncation, or change of a directory's entries, that need not be on the disk yet."""

    returned: int
    offset: int = 0
    data: bytes = b""
    size: int | None = None
    names: dict[str, Node | None] = field(default_factory=dict)


@dataclass(slots=True)
class File:
    """A file: what is certainly on the disk, and what may be."""

    kept: bytearray = field(default_factory=bytearray)
    changes: list[_Change] = field(default_factory=list)
    size: int = 0

    def image(self, random: Random | None, in_order: bool) -> bytes:
        """Return what is left of it; without `random` only what must be."""
        left = bytearray(self.kept)
        if random is None:
            return bytes(left)
        if not in_order:
            for change in self.changes:
                _apply(left, change, random)
            return bytes(left)
        for change in self.changes[: random.randint(0, len(self.changes))]:
            last = change
            _apply_all(left, change)
        if len(left) > len(self.kept) and last.data:
            del left[max(len(self.kept), len(left) - random.randrange(len(last.data))) :]
        return bytes(left)


@dataclass(slots=True)
class Folder:
    """A directory: the entries that are certainly on the disk, and changes that may be."""

    kept: dict[str, Node] = field(default_factory=dict)
    now: dict[str, Node] = field(default_factory=dict)
    changes: list[_Change] = field(default_factory=list)


Node: TypeAlias = File | Folder


def _apply_all(left: bytearray, change: _Change) -> None:
    if change.size is not None:
        _resize(left, change.size)
    else:
        _write(left, change.offset, change.data)


def _apply(left: bytearray, change: _Change, random: Random) -> None:
    fate = random.choice(("kept", "lost", "torn"))
    if fate == "lost":
        return
    if change.size is not None:
        _resize(left, change.size)
        return
    for start in range(0, len(change.data), _SECTOR):
        if fate == "kept" or random.random() < 0.5:
            _write(left, change.offset + start, change.data[start : start + _SECTOR])


def _write(left: bytearray, offset: int, data: bytes) -> None:
    if len(left) < offset:
        left.extend(bytes(offset - len(left)))
    left[offset : offset + len(data)] = data


def _resize(left: bytearray, size: int) -> None:
    del left[size:]
    left.extend(bytes(size - len(left)))


class Disk:
    """The directory `root` (there, and durable with all above it) and whatever is done below."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._top = Folder()
        self._positions: dict[int, int] = {}
        self._at_once: set[int] = set()
        self.syncs = 0

    def play(self, call: Call) -> None:
        """Take note of a call. To be told in the order in which calls end."""
        name = call.name
        if name in ("open", "openat", "creat"):
            self._open(call)
        elif name in _WRITES:
            self._write(call)
        elif name in _SYNCS:
            self._sync(call)
        elif name == "lseek":
            self._positions[call.target[0]] = call.result
        elif name in ("rename", "renameat", "renameat2"):
            old, new = (text.decode() for text in call.texts)
            self._rename(old, new, call.ended)
        elif name in ("unlink", "unlinkat") and self._find(path := call.texts[0].decode()) is not None:
            self._enter(path, None, call.ended)
        elif name in ("mkdir", "mkdirat"):
            path = call.texts[0].decode()
            if self._find(path) is None:
                self._enter(path, Folder(), call.ended)
        elif name == "ftruncate" or (name == "fallocate" and "KEEP_SIZE" not in call.arguments):
            self._truncate(call)
        elif name not in _NOTHING:
            self._check_harmless(call)

    def _open(self, call: Call) -> None:
        path = unescape(call.returned.strip()[1:-1]).decode()
        if not self._is_mine(path):
            return
        node = self._find(path)
        if node is None and ("O_CREAT" in call.arguments or call.name == "creat"):
            node = File()
            self._enter(path, node, call.ended)
        if isinstance(node, File):
            if "O_TRUNC" in call.arguments:
                node.size = 0
                node.changes.append(_Change(call.ended, size=0))
            self._positions[call.result] = node.size if "O_APPEND" in call.arguments else 0
            self._at_once.discard(call.result)
            if "O_DSYNC" in call.arguments or "O_SYNC" in call.arguments:
                self._at_once.add(call.result)

    def _write(self, call: Call) -> None:
        number, path = call.target
        node = self._find(path)
        if not isinstance(node, File):
            assert not self._is_mine(path), f"a file that was there before: {path}"
            return
        data = b"".join(call.texts)[: call.result]
        assert len(data) == call.result, "strace has cut what was written"
        if call.name.startswith("p"):
            offset = int(call.tail[1 if call.name == "pwrite64" else -1 if call.name == "pwritev" else -2], 0)
        else:
            offset = self._positions.get(number, node.size)
            self._positions[number] = offset + len(data)
        node.size = max(node.size, offset + len(data))
        if number in self._at_once:
            _write(node.kept, offset, data)
        else:
            node.changes.append(_Change(call.ended, offset, data))

    def _sync(self, call: Call) -> None:
        assert call.result == 0, call
        self.syncs += 1
        node = self._find(call.target[1])
        if node is None:
            return
        covered = [change for change in node.changes if change.returned < call.began]
        node.changes = [change for change in node.changes if change.returned >= call.began]
        for change in covered:
            if isinstance(node, Folder):
                _rename_in(node.kept, change.names)
            else:
                _apply_all(node.kept, change)

    def _truncate(self, call: Call) -> None:
        node = self._find(call.target[1])
        if isinstance(node, File):
            numbers = [int(part, 0) for part in call.arguments.split(",")[1:] if part.strip().isdigit()]
            size = max(node.size, sum(numbers[-2:])) if call.name == "fallocate" else numbers[-1]
            node.size = size
            node.changes.append(_Change(call.ended, size=size))

    def _rename(self, old: str, new: str, ended: int) -> None:
        node = self._find(old)
        if node is None:
            return
        if old.rpartition("/")[0] == new.rpartition("/")[0]:
            # Within one directory both names change together.
            folder = self._folder_of(new, ended)
            change = _Change(ended, names={_name(old): None, _name(new): node})
            folder.changes.append(change)
            _rename_in(folder.now, change.names)
        else:
            self._enter(new, node, ended)
            self._enter(old, None, ended)

    def _enter(self, path: str, node: Node | None, ended: int) -> None:
        if self._is_mine(path):
            folder = self._folder_of(path, ended)
            folder.changes.append(_Change(ended, names={_name(path): node}))
            _rename_in(folder.now, {_name(path): node})

    def _check_harmless(self, call: Call) -> None:
        mine = any(self._is_mine(path) for path in (call.target[1], *(text.decode() for text in call.texts)))
        if call.name == "mmap":
            mine = (
                mine
                and "PROT_WRITE" in call.arguments
                and "MAP_SHARED" in call.arguments
                and "lock" not in call.target[1]
            )
        assert not mine, f"a call whose effect is not known: {call}"

    def _is_mine(self, path: str) -> bool:
        return path.startswith(self._root + "/") and not path.endswith(" (deleted)")

    def _find(self, path: str) -> Node | None:
        if path == self._root:
            return self._top
        if not self._is_mine(path):
            return None
        node: Node | None = self._top
        for name in path[len(self._root) + 1 :].split("/"):
            node = node.now.get(name) if isinstance(node, Folder) else None
        return node

    def _folder_of(self, path: str, ended: int) -> Folder:
        parent = path.rpartition("/")[0]
        folder = self._find(parent)
        if folder is None:
            # Another thread has made it: that call has had its effect, as this one shows, and is not yet seen to end.
            folder = Folder()
            self._enter(parent, folder, ended)
        assert isinstance(folder, Folder), path
        return folder

    def keeps(self, text: bytes) -> bool:
        """Tell whether a file whose name is certainly on the disk certainly holds `text`."""
        return any(text in file.kept for file in _files(self._top))

    def leave(self, into: Path, random: Random | None = None, *, in_order: bool = True) -> None:
        """Write what is left after a failure of power now into the new directory `into`.

        Without `random` all that need not be kept is lost; with it, chance decides.
        """
        _leave(self._top, into, random, in_order)


def _files(folder: Folder) -> Iterator[File]:
    for node in folder.kept.values():
        if isinstance(node, Folder):
            yield from _files(node)
        else:
            yield node


def _leave(folder: Folder, into: Path, random: Random | None, in_order: bool) -> None:
    into.mkdir()
    names = dict(folder.kept)
    for change in folder.changes if random is not None else ():
        assert random is not None
        if random.random() < 0.5:
            _rename_in(names, change.names)
    for name, node in names.items():
        if isinstance(node, Folder):
            _leave(node, into / name, random, in_order)
        else:
            (into / name).write_bytes(node.image(random, in_order))


def _rename_in(names: dict[str, Node], changed: dict[str, Node | None]) -> None:
    for name, node in changed.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _name(path: str) -> str:
    return path.rpartition("/")[2]
