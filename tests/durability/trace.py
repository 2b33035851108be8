"""What a process asks of the kernel, observed from outside by strace: everything that changes files, and what it says on its sockets."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_CALLS = (
    "open,openat,creat,lseek,write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,ftruncate,truncate,fallocate,"
    "fsync,fdatasync,sync_file_range,msync,sync,syncfs,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,"
    "link,linkat,symlink,symlinkat,copy_file_range,sendfile,splice,mmap,io_uring_setup"
)
_LINE = re.compile(r"(\d+) +(.*)", re.DOTALL)
_WHOLE = re.compile(r"(\w+)\((.*)\) += (-?\w+)(.*)", re.DOTALL)
_HEX = re.compile(r"\\x([0-9a-f]{2})")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"(\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})+|\w+:\[[^\]]*\])>")


class Call(NamedTuple):
    """A system call: what it was told, what it returned, and where in the order of all calls it began and ended."""

    name: str
    arguments: str
    result: int
    returned: str
    """What strace says of the result, such as the path of a descriptor."""
    began: int
    ended: int

    @property
    def texts(self) -> list[bytes]:
        """The strings among the arguments."""
        return [unescape(text) for text in _TEXT.findall(self.arguments)]

    @property
    def target(self) -> tuple[int, str]:
        """The first descriptor and what it stands for: a path, or a socket as `TCP:[here->there]`."""
        match = _DESCRIPTOR.search(self.arguments)
        if match is None:
            return -1, ""
        number = -1 if match[1] == "AT_FDCWD" else int(match[1])
        return number, unescape(match[2]).decode()

    @property
    def tail(self) -> list[str]:
        """The arguments after the last string, as text."""
        return [part.strip() for part in self.arguments.rpartition('"')[2].rpartition("]")[2].split(",")[1:]]


def unescape(text: str) -> bytes:
    """Return the bytes of a string that strace has written in hexadecimal."""
    return bytes.fromhex("".join(_HEX.findall(text))) if text.startswith("\\x") else text.encode()


def why_not(directory: Path) -> str | None:
    """Return why nothing can be observed on this machine, or `None` if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed (scripts/test-deps)"
    tried = subprocess.run([*command(directory / "try"), "true"], capture_output=True, text=True)
    return None if tried.returncode == 0 else f"strace does not work here: {tried.stderr.strip()}"


def command(output: Path) -> list[str]:
    """Return what to put before a command for its calls to be written to `output`."""
    # Strings whole and in hexadecimal, sockets with both ends; other calls run at full speed.
    strings = ("-yy", "-xx", "-s", "16000000")
    return ["strace", "-f", *strings, "--seccomp-bpf", "-o", str(output), "-e", f"trace={_CALLS}"]


def calls(output: Path) -> Iterator[Call]:
    """Return the calls of a finished trace, in the order in which they ended. Failed ones are left out, but for failed syncs."""
    begun: dict[str, tuple[int, str]] = {}
    with output.open() as file:
        for place, line in enumerate(file):
            match = _LINE.match(line.rstrip("\n"))
            if match is None:
                continue
            thread, text = match.groups()
            began = place
            if text.endswith("<unfinished ...>"):
                begun[thread] = place, text.removesuffix("<unfinished ...>").rstrip()
                continue
            if text.startswith("<... "):
                began, head = begun.pop(thread)
                text = head + text.partition(" resumed>")[2]
            whole = _WHOLE.fullmatch(text)
            if whole is None or whole[3] == "?":
                continue  # a signal, or the end of a thread
            result = int(whole[3], 0)
            if result >= 0 or "sync" in whole[1]:
                yield Call(whole[1], whole[2], result, whole[4], began, place)
