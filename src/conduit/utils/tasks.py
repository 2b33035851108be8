"""Background tasks that cannot fail in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

in_background: Final[ContextVar[bool]] = ContextVar("in_background", default=False)
"""Whether what runs is a task of `Tasks`, or called by one: there is nobody who could be told that it failed and try again."""


class Tasks:
    """The tasks of one server. A task that raises is logged and reported to `on_failure`, which ends the server."""

    def __init__(self, on_failure: Callable[[BaseException], None] | None = None) -> None:
        self.on_failure: Callable[[BaseException], None] = on_failure or (lambda error: None)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coro: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Start `coro` and return its task. Nobody need await it: its failure is this object's business.

        Once `close` was called nothing starts any more; the coroutine is closed and a cancelled task returned.
        """
        context = copy_context()
        context.run(in_background.set, True)
        task = asyncio.get_running_loop().create_task(coro, name=name, context=context)
        if self._closing:
            task.cancel()
            return task
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("task_failed", task=task.get_name(), exc_info=error)
            self.on_failure(error)

    async def close(self) -> None:
        """Cancel all tasks and return once they have ended. Failures on the way out are logged, not raised."""
        self._closing = True
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
