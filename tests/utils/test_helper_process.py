"""Helper processes end with the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool

import psutil
import pytest

from conduit.utils.helper_process import Helper

_BUSY = """
import os, time
from conduit.utils.helper_process import Helper

if __name__ == "__main__":
    helper = Helper()
    print(helper.pool.submit(os.getpid).result(), flush=True)
    helper.pool.submit(time.sleep, 600)
    helper.end()
"""


def test_helper_at_work_does_not_hold_up_a_server_that_stops() -> None:
    """It ends when its lifeline is cut; Python itself would wait until its work is done."""
    done = subprocess.run([sys.executable, "-c", _BUSY], stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    helper = int(done.stdout)
    assert not psutil.pid_exists(helper) or psutil.Process(helper).status() == psutil.STATUS_ZOMBIE


_PARENT = """
import os, time
from conduit.utils.helper_process import Helper

helper = Helper()
print(helper.pool.submit(os.getpid).result(), flush=True)
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


def _set_up() -> None:
    os.environ["SET_UP"] = "yes"


def _refuse() -> None:
    raise OSError("not here")


def test_helper_is_set_up_before_its_first_work() -> None:
    """What the set-up does holds for all that is computed; where it fails nothing is."""
    helper = Helper(_set_up)
    assert helper.pool.submit(os.getenv, "SET_UP").result() == "yes"
    helper.end()
    broken = Helper(_refuse)
    with pytest.raises(BrokenProcessPool):
        broken.pool.submit(os.getpid).result()
    broken.end()


def test_helper_has_ended_when_its_end_returns() -> None:
    """Idle, at work, or never started; what it was at is given up."""
    Helper().end()
    for work in (None, 600):
        helper = Helper()
        process = helper.pool.submit(os.getpid).result()
        given = None if work is None else helper.pool.submit(time.sleep, work)
        helper.end()
        assert not psutil.pid_exists(process)
        if given is not None:
            with pytest.raises((BrokenProcessPool, CancelledError)):
                given.result(0)
