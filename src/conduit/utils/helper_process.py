"""What every helper process of the server does first, as the initializer of its pool."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def begin() -> None:
    """Let the helper end with the server, however that ends, and leave Ctrl+C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A pool's process that waits for work does not notice when nobody is left to give it any.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
