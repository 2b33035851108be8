"""The C library's heap: memory that is freed goes back to the system, where the library can be asked for it.

Left to itself glibc learns from the first large piece to keep the next ones, for each thread: the 19 MiB that hashing a password takes would stay for each
thread that ever hashed one. Other C libraries have no such calls, and no such habit.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, Final

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Names in glibc's `malloc.h`."""
LARGE: Final = 8 << 20
"""Pieces of this many bytes are returned as soon as they are freed."""
ARENAS: Final = 2
"""How many heaps the threads share; hardly two of them work at a time."""


@cache
def _function(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return lambda *arguments: 0


def set_up() -> bool:
    """Bound what the heap keeps; called before there are threads. Tell whether the C library knows how."""
    wanted = ((_M_MMAP_THRESHOLD, LARGE), (_M_TRIM_THRESHOLD, LARGE), (_M_ARENA_MAX, ARENAS))
    done = [_function("mallopt")(name, value) for name, value in wanted]
    return all(done)


def trim() -> bool:
    """Return what is free to the system, which takes some milliseconds; tell whether anything was."""
    return bool(_function("malloc_trim")(0))
