"""Room on the disk: a full disk is noticed before it is full."""

from __future__ import annotations

import os
import time
from pathlib import Path

from conduit.database.errors import DiskFull
from conduit.utils.tasks import in_background

MIN_FREE_BYTES = 64 << 20
"""Below this no request writes anything more: logs, compaction and the last words of a process need room as well."""
_BACKGROUND_SHARE = 4
"""What runs in the background goes on down to this part of it, so that it can bring to an end what it is at: it is not much once no request brings more."""
_LOOK_EVERY_S = 1.0


def free_bytes(directory: Path) -> int:
    """Return how many bytes this process may still write on the disk of `directory`, or of where it is to be."""
    while not directory.exists():
        directory = directory.parent
    stat = os.statvfs(directory)
    return stat.f_bavail * stat.f_frsize


class Space:
    """Guards the room left on the disk of `directory`."""

    def __init__(self, directory: Path, *, min_free_bytes: int = MIN_FREE_BYTES) -> None:
        self.directory = directory
        self.min_free_bytes = min_free_bytes
        self._next_look = 0.0

    def check(self) -> None:
        """Raise `DiskFull` if too little room is left. Looks at the disk once a second, and each time while it is full."""
        now = time.monotonic()
        if now < self._next_look:
            return
        free = free_bytes(self.directory)
        if free >= self.min_free_bytes:
            self._next_look = now + _LOOK_EVERY_S
            return
        needed = self.min_free_bytes // _BACKGROUND_SHARE if in_background.get() else self.min_free_bytes
        if free < needed:
            raise DiskFull(
                f"only {free >> 20} MiB are left on the disk of {self.directory}, at least {needed >> 20} MiB "
                "are needed: nothing was written"
            )
