"""Requests under way that several may wait for, and answers that are good for a while.

Whoever asks for what is being fetched already waits for that, and a fetch goes on when those who waited for it have given up: what it brings is
kept for the next one who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, NamedTuple, TypeVar

import structlog

from conduit.protocol.errors import MatrixError
from conduit.service.outbound.errors import RemoteError
from conduit.utils.tasks import Tasks

T = TypeVar("T")

log = structlog.get_logger(__name__)

MAX_NOTES = 100
"""How many notes wait for one piece of work, unless it says otherwise."""


class Flights:
    """Work that is under way, by key; no key more than once at a time."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}
        self._notes: dict[Hashable, list[Any]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def is_under_way(self, key: Hashable) -> bool:
        """Tell whether the work of `key` is going on."""
        task = self._under_way.get(key)
        return task is not None and not task.done()

    def leave_note(self, key: Hashable, note: Any, *, most: int = MAX_NOTES) -> bool:
        """Tell the work of `key` of something that it takes with `take_notes` before it ends; `False` if it is not under way.

        Beyond `most` notes that wait a further one is dropped.
        """
        if not self.is_under_way(key):
            return False
        notes = self._notes.setdefault(key, [])
        if len(notes) < most:
            notes.append(note)
        return True

    def take_notes(self, key: Hashable) -> list[Any]:
        """Return what the work of `key` was told since it last asked. Work that ends right after this misses nothing."""
        return self._notes.pop(key, [])

    def start(self, tasks: Tasks, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[Any]:
        """Return the task of `key`, started unless it is under way. It never raises: its result is what `make` returned, or a `_Failed`."""
        task = self._under_way.get(key)
        if task is None or task.done():
            task = tasks.spawn(_caught(make), name=str(key))
            self._under_way[key] = task
            task.add_done_callback(lambda ended: self._ended(key, ended))
        return task

    def _ended(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        if self._under_way.get(key) is task:
            del self._under_way[key]
            self._notes.pop(key, None)

    async def join(
        self, tasks: Tasks, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]], *, seconds: float | None = None
    ) -> T:
        """Return what the work of `key` brings, started unless it is under way; raises what it raises, and `TimeoutError` after `seconds`.

        The work goes on whether or not anybody waits for it.
        """
        task = self.start(tasks, key, make)
        done, _ = await asyncio.wait((task,), timeout=seconds)
        if not done:
            raise TimeoutError(f"{key} takes longer than {seconds} s")
        result = task.result()
        if isinstance(result, _Failed):
            raise result.error
        return result  # type: ignore[no-any-return]


class _Failed(NamedTuple):
    error: Exception


async def _caught(make: Callable[[], Coroutine[Any, Any, T]]) -> T | _Failed:
    try:
        return await make()
    except (RemoteError, MatrixError, TimeoutError) as error:
        return _Failed(error)
    except Exception as error:
        # Whoever waits is told. What another server has sent must not end this one.
        log.error("flight_failed", exc_info=error)
        return _Failed(error)


class _Kept(NamedTuple):
    until_ms: int
    weight: int
    value: Any


class Recent:
    """Answers that are good for a while, within a budget of bytes; the oldest go first."""

    def __init__(self, budget: int = 16 << 20) -> None:
        self._budget = budget
        self._weight = 0
        self._kept: dict[Hashable, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, now_ms: int) -> Any:
        """Return what is kept under `key`, or `None`."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if now_ms >= kept.until_ms:
            self.forget(key)
            return None
        return kept.value

    def put(self, key: Hashable, value: Any, *, until_ms: int, weight: int = 200) -> None:
        """Keep `value` until then, or until newer ones need its place. `weight` is about its size in bytes."""
        self.forget(key)
        if weight > self._budget:
            return
        self._kept[key] = _Kept(until_ms, weight, value)
        self._weight += weight
        while self._weight > self._budget:
            self.forget(next(iter(self._kept)))

    def forget(self, key: Hashable) -> None:
        """Drop what is kept under `key`."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._weight -= kept.weight
