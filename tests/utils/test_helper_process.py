"""Helper processes end with the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil

_BUSY = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from conduit.utils import helper_process

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    lifeline, end = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(1, mp_context=context, initializer=helper_process.begin, initargs=(lifeline,))
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 600)
    pool.shutdown(wait=False)
    end.close()
"""


def test_helper_at_work_does_not_hold_up_a_server_that_stops() -> None:
    """It ends when its lifeline is cut; Python itself would wait until its work is done."""
    done = subprocess.run([sys.executable, "-c", _BUSY], stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    helper = int(done.stdout)
    assert not psutil.pid_exists(helper) or psutil.Process(helper).status() == psutil.STATUS_ZOMBIE


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
