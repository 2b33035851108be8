"""Caches: values derived from trees, within one budget of bytes, never ahead of the disk's order of events.

A cache is declared beside what it derives (`NAMES = Cached("names", load=..., weigh=...)`) and lives in the database. Reading
through an open batch never sees, nor leaves behind, a value that the batch may yet drop: what the batch has changed is read through
the batch and becomes common only when it commits.

Most of what the server does is reading caches, so a hit is made of two look-ups in dictionaries and one mark. Who goes first when the budget is spent is
therefore not kept in order at each hit: entries stand in a queue, and one that was read since it was last looked at goes to its end again ("second
chance").
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from conduit.database.tree import Sink, Source

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_ENTRY_BYTES = 200
"""What the bookkeeping of one entry costs."""
_MAX_CHANCES = 10_000
"""How many entries get a second chance at a time: to pass over all that have been read would take tens of milliseconds."""
_MAX_STALE = 1000
"""How many dropped entries may stand in the queue, beside as many as there are entries."""


class _Entry:
    __slots__ = ("cache", "key", "value", "was_read", "weight")

    def __init__(self, cache: str, key: Any, value: Any, weight: int) -> None:
        self.cache = cache
        self.key = key
        self.value = value
        self.weight = weight
        self.was_read = False
        """Since it was last looked at."""


class CachePool:
    """All caches of a database: one budget for all."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self.misses = 0
        self.count = 0
        """How many values are held."""
        self.entries: defaultdict[str, dict[Any, _Entry]] = defaultdict(dict)
        """By the name of the cache, then by key."""
        self._queue: deque[_Entry] = deque()

    def get(self, cache: str, key: Any) -> Any:
        """Return the value of `key`, or `MISSING`."""
        entry = self.entries[cache].get(key)
        if entry is None:
            self.misses += 1
            return MISSING
        entry.was_read = True
        return entry.value

    def put(self, cache: str, key: Any, value: Any, weight: int) -> None:
        """Keep `value`; entries that are not read go until the budget holds."""
        entries = self.entries[cache]
        weight += _ENTRY_BYTES
        old = entries.get(key)
        if weight > self.budget_bytes:
            if old is not None:
                self.drop(cache, key)
            return
        if old is not None:
            # It stays where it is in the queue.
            self.used_bytes += weight - old.weight
            old.value = value
            old.weight = weight
        else:
            entry = entries[key] = _Entry(cache, key, value, weight)
            self._queue.append(entry)
            self.used_bytes += weight
            self.count += 1
        if self.used_bytes > self.budget_bytes:
            self._make_room()

    def publish(self, changes: dict[str, dict[Any, Any]]) -> None:
        """Take over what a committed batch has changed: cache -> key -> value, or `MISSING` for what is to be loaded anew."""
        for cache, values in changes.items():
            weigh = _WEIGH[cache]
            for key, value in values.items():
                if value is MISSING:
                    self.drop(cache, key)
                else:
                    self.put(cache, key, value, weigh(value))

    def drop(self, cache: str, key: Any) -> None:
        """Forget `key`."""
        entry = self.entries[cache].pop(key, None)
        if entry is None:
            return
        self.used_bytes -= entry.weight
        self.count -= 1
        # It still stands in the queue, without its value.
        entry.value = entry.key = MISSING
        if len(self._queue) > 2 * self.count + _MAX_STALE:
            self._queue = deque(entry for entry in self._queue if entry.key is not MISSING)

    def clear(self) -> None:
        """Forget everything."""
        self.entries.clear()
        self._queue.clear()
        self.used_bytes = 0
        self.count = 0

    def _make_room(self) -> None:
        queue = self._queue
        chances = _MAX_CHANCES
        while self.used_bytes > self.budget_bytes:
            entry = queue.popleft()
            if entry.key is MISSING:
                continue
            if entry.was_read and chances:
                chances -= 1
                entry.was_read = False
                queue.append(entry)
                continue
            del self.entries[entry.cache][entry.key]
            self.used_bytes -= entry.weight
            self.count -= 1


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
    def cache_overlay(self) -> defaultdict[str, dict[Any, Any]] | None:
        """What this batch has changed: cache -> key -> value, or `MISSING` for what is to be loaded anew; `None` for the database."""
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
        name = self.name
        overlay = source.cache_overlay
        if overlay is not None and name in overlay:
            changed = overlay[name]
            if key in changed:
                value: V = changed[key]
                if value is MISSING:
                    value = changed[key] = self._load(source, key)
                return value
        pool = source.cache_pool
        # `CachePool.get` written out: this is the busiest line of the server.
        entry = pool.entries[name].get(key)
        if entry is not None:
            entry.was_read = True
            return entry.value  # type: ignore[no-any-return]
        pool.misses += 1
        value = self._load(source, key)
        if overlay is None:
            pool.put(name, key, value, self._weigh(value))
        else:
            # The load may have seen rows of this batch: common only after the commit.
            overlay[name][key] = value
        return value

    def peek(self, source: CacheSource, key: K) -> V | None:
        """Return the value for `key` if it is held, else `None`; loads nothing."""
        overlay = source.cache_overlay
        changed = None if overlay is None else overlay.get(self.name)
        value = changed[key] if changed is not None and key in changed else source.cache_pool.get(self.name, key)
        return None if value is MISSING else value

    def get_many(self, source: CacheSource, keys: Sequence[K], *, keep: bool = True) -> list[V]:
        """Return the values for `keys` in their order; those that are not held are loaded in one go.

        `keep` says whether they are held from then on: reads of many thousands would push everything else out.
        """
        name = self.name
        overlay = source.cache_overlay
        changed = {} if overlay is None else overlay.get(name, {})
        held = source.cache_pool.entries[name]
        found: list[Any] = []
        missing: list[int] = []
        for index, key in enumerate(keys):
            if key in changed:
                value = changed[key]
            else:
                entry = held.get(key)
                if entry is None:
                    value = MISSING
                else:
                    entry.was_read = True
                    value = entry.value
            if value is MISSING:
                missing.append(index)
            found.append(value)
        if missing:
            source.cache_pool.misses += len(missing)
            wanted = [keys[index] for index in missing]
            if self._load_many is not None:
                loaded = self._load_many(source, wanted)
            else:
                loaded = [self._load(source, key) for key in wanted]
            for index, key, value in zip(missing, wanted, loaded, strict=True):
                found[index] = value
                if keep:
                    self.fill(source, key, value)
        return found

    def fill(self, source: CacheSource, key: K, value: V) -> None:
        """Keep a value that was read through `source` by other means than the loader."""
        overlay = source.cache_overlay
        if overlay is None:
            source.cache_pool.put(self.name, key, value, self._weigh(value))
        else:
            overlay[self.name][key] = value

    def set(self, batch: CacheSink, key: K, value: V) -> None:
        """Let `value` stand for `key`, in this batch at once and for all when it commits."""
        overlay = batch.cache_overlay
        assert overlay is not None, "caches change through a batch"
        overlay[self.name][key] = value

    def forget(self, batch: CacheSink, key: K) -> None:
        """Load `key` anew when it is next read, in this batch at once and for all when it commits."""
        self.set(batch, key, MISSING)
