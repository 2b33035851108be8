"""What every helper process of the server does first, as the initializer of its pool."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection, wait
from typing import Any


def begin(lifeline: Connection | None = None) -> None:
    """Let the helper end with the server, however that ends, and leave Ctrl+C to it.

    With the reading end of a pipe as a `lifeline` it also ends, whatever it is at, when the server closes the writing end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()


def _end_with_parent(lifeline: Connection | None) -> None:
    # A pool's process that waits for work does not notice when nobody is left to give it any.
    parent = multiprocessing.parent_process()
    ends: list[Any] = [] if parent is None else [parent.sentinel]
    if lifeline is not None:
        ends.append(lifeline)
    if ends:
        wait(ends)
        os._exit(1)
