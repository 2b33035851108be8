"""Memory that is freed goes back to the system."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from conduit.utils import heap

CODE = """
import threading
from conduit.utils import heap

def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) >> 10

def take():
    for _ in range(3):
        bytearray(b"x") * (20 << 20)

assert heap.set_up()
before = resident()
threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
small = [bytes(1000) for _ in range(50_000)]
del small
heap.trim()
print(resident() - before)
"""


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="only glibc keeps what is freed")
def test_freed_memory_is_returned() -> None:
    """What several threads had for a moment is not kept by any of them."""
    ended = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True)
    assert int(ended.stdout) < 10


def test_other_libraries_are_left_alone() -> None:
    """A function that the C library lacks does nothing."""
    assert heap._function("no_such_function")(1, 2) == 0
