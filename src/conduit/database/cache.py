"""Caches: values derived from trees, within one budget of bytes, never ahead of the disk's order of events.

A cache is declared beside what it derives (`NAMES = Cached("names", load=..., weigh=...)`) and lives in the database. Reading
through an open batch never sees, nor leaves behind, a value that the batch may yet drop: what the batch has changed is read through
the batch and becomes common only when it commits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from conduit.database.tree import Sink, Source

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_ENTRY_BYTES = 200
"""What the bookkeeping of one entry costs."""


class CachePool:
    """All caches of a database: one least-recently-used order, one budget."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self.hits = 0
        self.misses = 0
        self._entries: OrderedDict[tuple[str, Any], tuple[Any, int]] = OrderedDict()

    def get(self, slot: tuple[str, Any]) -> Any:
        """Return the value in `slot`, or `MISSING`."""
        entry = self._entries.get(slot)
        if entry is None:
            self.misses += 1
            return MISSING
        self.hits += 1
        self._entries.move_to_end(slot)
        return entry[0]

    def put(self, slot: tuple[str, Any], value: Any, weight: int) -> None:
        """Keep `value`; the entries unused for longest go until the budget holds."""
        self.drop(slot)
        weight += _ENTRY_BYTES
        if weight > self.budget_bytes:
            return
        self._entries[slot] = (value, weight)
        self.used_bytes += weight
        while self.used_bytes > self.budget_bytes:
            _, (_, old) = self._entries.popitem(last=False)
            self.used_bytes -= old

    def publish(self, changes: dict[tuple[str, Any], Any]) -> None:
        """Take over what a committed batch has changed."""
        for slot, value in changes.items():
            if value is MISSING:
                self.drop(slot)
            else:
                self.put(slot, value, _WEIGH[slot[0]](value))

    def drop(self, slot: tuple[str, Any]) -> None:
        """Forget `slot`."""
        entry = self._entries.pop(slot, None)
        if entry is not None:
            self.used_bytes -= entry[1]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.used_bytes = 0


class _Missing:
    pass


MISSING: Any = _Missing()


class CacheSource(Source, Protocol):
    """A `Source` that knows the caches: the database or a batch."""

    @property
    def cache_pool(self) -> CachePool:
        """The pool shared by all caches."""
        ...

    @property
    def cache_overlay(self) -> dict[tuple[str, Any], Any] | None:
        """What this batch has changed: slot -> value, or `MISSING` for a slot to be loaded anew; `None` for the database."""
        ...


class CacheSink(CacheSource, Sink, Protocol):
    """An open batch."""


_WEIGH: dict[str, Callable[[Any], int]] = {}
"""Every declared cache's weighing function by name, for values that a commit publishes."""


class Cached(Generic[K, V]):
    """A cache of `load(source, key)`. `weigh` estimates the bytes that a value holds; names are unique.

    `load_many`, if given, loads several keys in one go for `get_many`; it returns the values in the order of the keys.
    """

    def __init__(
        self,
        name: str,
        *,
        load: Callable[[Any, K], V],
        weigh: Callable[[V], int],
        load_many: Callable[[Any, list[K]], Sequence[V]] | None = None,
    ) -> None:
        _WEIGH[name] = weigh
        self.name = name
        self._load = load
        self._load_many = load_many
        self._weigh = weigh

    def get(self, source: CacheSource, key: K) -> V:
        """Return the value for `key`, loading it if need be. Treat it as frozen: it is shared."""
        slot = (self.name, key)
        overlay = source.cache_overlay
        pool = source.cache_pool
        if overlay is not None and slot in overlay:
            value: V = overlay[slot]
            if value is MISSING:
                value = overlay[slot] = self._load(source, key)
            return value
        # `CachePool.get` written out: this is the busiest line of the server.
        entry = pool._entries.get(slot)
        if entry is not None:
            pool.hits += 1
            pool._entries.move_to_end(slot)
            return entry[0]  # type: ignore[no-any-return]
        pool.misses += 1
        value = self._load(source, key)
        if overlay is None:
            pool.put(slot, value, self._weigh(value))
        else:
            # The load may have seen rows of this batch: common only after the commit.
            overlay[slot] = value
        return value

    def peek(self, source: CacheSource, key: K) -> V | None:
        """Return the value for `key` if it is held, else `None`; loads nothing."""
        slot = (self.name, key)
        overlay = source.cache_overlay
        value = overlay[slot] if overlay is not None and slot in overlay else source.cache_pool.get(slot)
        return None if value is MISSING else value

    def get_many(self, source: CacheSource, keys: Sequence[K]) -> list[V]:
        """Return the values for `keys` in their order; those that are not held are loaded in one go."""
        overlay = source.cache_overlay
        pool = source.cache_pool
        found: list[Any] = []
        missing: list[int] = []
        for index, key in enumerate(keys):
            slot = (self.name, key)
            value = overlay[slot] if overlay is not None and slot in overlay else pool.get(slot)
            if value is MISSING:
                missing.append(index)
            found.append(value)
        if missing:
            wanted = [keys[index] for index in missing]
            if self._load_many is not None:
                loaded = self._load_many(source, wanted)
            else:
                loaded = [self._load(source, key) for key in wanted]
            for index, key, value in zip(missing, wanted, loaded, strict=True):
                found[index] = value
                self.fill(source, key, value)
        return found

    def fill(self, source: CacheSource, key: K, value: V) -> None:
        """Keep a value that was read through `source` by other means than the loader."""
        overlay = source.cache_overlay
        if overlay is None:
            source.cache_pool.put((self.name, key), value, self._weigh(value))
        else:
            overlay[self.name, key] = value

    def set(self, batch: CacheSink, key: K, value: V) -> None:
        """Let `value` stand for `key`, in this batch at once and for all when it commits."""
        overlay = batch.cache_overlay
        assert overlay is not None, "caches change through a batch"
        overlay[self.name, key] = value

    def forget(self, batch: CacheSink, key: K) -> None:
        """Load `key` anew when it is next read, in this batch at once and for all when it commits."""
        self.set(batch, key, MISSING)
