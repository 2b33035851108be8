"""Helper processes end with the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil

_PARENT = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from conduit.utils import helper_process

pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=helper_process.begin)
print(pool.submit(os.getpid).result(), flush=True)
time.sleep(60)
"""


def test_helper_that_waits_ends_with_a_server_that_is_killed_and_heeds_no_interrupt() -> None:
    """Ctrl+C goes to all processes of a terminal: the helper leaves it to the server; a crash of that it notices."""
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        helper = int(parent.stdout.readline())
        os.kill(helper, signal.SIGINT)
        assert psutil.Process(helper).status() != psutil.STATUS_ZOMBIE
        parent.kill()
        # The helper has the output too: its end is the end of the output.
        parent.stdout.read()
    assert not psutil.pid_exists(helper) or psutil.Process(helper).status() == psutil.STATUS_ZOMBIE
