"""Helper processes: what would hold the event loop for long is computed beside the server, by a process that ends with it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing.connection import Connection


class Helper:
    """A process that computes one thing at a time. It starts with the first, and `initialise` runs in it before that.

    It leaves Ctrl+C to the server, and ends with it, however that ends.
    """

    def __init__(self, initialise: Callable[[], None] | None = None) -> None:
        # Seldom needed, and not cheap to import.
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        # A forked child would inherit the database's locks and files.
        context = multiprocessing.get_context("spawn")
        self._lifeline, self._end = context.Pipe(duplex=False)
        self.pool: ProcessPoolExecutor = ProcessPoolExecutor(
            1, mp_context=context, initializer=_begin, initargs=(self._lifeline, initialise)
        )
        """Where work is given to it. What it was at when it ended fails with `BrokenProcessPool`."""

    def end(self) -> None:
        """End the process, whatever it is at, and return once it has ended: after some milliseconds."""
        self._end.close()
        # Python looks after all pools at its exit, and does not bear one whose own thread is just ending.
        self.pool.shutdown(cancel_futures=True)
        self._lifeline.close()


# --- in the helper process -----------------------------------------------------------------------------------------


def _begin(lifeline: Connection, initialise: Callable[[], None] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    if initialise is not None:
        initialise()


def _end_with_parent(lifeline: Connection) -> None:
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    # A pool's process that waits for work does not notice when nobody is left to give it any.
    parent = parent_process()
    ends: list[Any] = [lifeline] if parent is None else [lifeline, parent.sentinel]
    wait(ends)
    os._exit(1)
