"""Sets and mappings that never change, and of which a slightly different copy is cheap.

A room of ten thousand members gets a new value at each join. Copying all for one would make joins slow, and changing the shared value in place
would show a batch that is not committed yet, or pull the floor from under a reader who is iterating. So a value is a large frozen base with
a small difference on top; when the difference outgrows the square root of the base the two are merged. A copy costs about the
square root of the size.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_LEAST = 16
"""A difference of up to this many entries is never merged."""


def _too_large(changes: int, base: int) -> bool:
    return changes > _LEAST and changes * changes > base


class LayeredSet(AbstractSet[K], Generic[K]):
    """A frozen set. `having` and `lacking` return changed copies; `frozen` and `parts` are for speed."""

    __slots__ = ("_added", "_base", "_frozen", "_removed")

    def __init__(self, items: Iterable[K] = ()) -> None:
        self._base: frozenset[K] = frozenset(items)
        self._added: frozenset[K] = frozenset()
        self._removed: frozenset[K] = frozenset()
        self._frozen: frozenset[K] | None = self._base

    def __contains__(self, item: object) -> bool:
        return item in self._added or (item in self._base and item not in self._removed)

    def __len__(self) -> int:
        return len(self._base) + len(self._added) - len(self._removed)

    def __iter__(self) -> Iterator[K]:
        return iter(self.frozen())

    def frozen(self) -> frozenset[K]:
        """Return the same as an ordinary frozen set, made when first asked for."""
        if self._frozen is None:
            self._frozen = (self._base | self._added) - self._removed
        return self._frozen

    def parts(self) -> tuple[frozenset[K], ...]:
        """Return frozen sets that together hold all items, and perhaps some that were taken out."""
        return (self._base, self._added) if self._added else (self._base,)

    def having(self, item: K) -> LayeredSet[K]:
        """Return a set that also holds `item`."""
        if item in self:
            return self
        if item in self._base:
            return self._copy(self._added, self._removed - {item})
        return self._copy(self._added | {item}, self._removed)

    def lacking(self, item: K) -> LayeredSet[K]:
        """Return a set without `item`."""
        if item not in self:
            return self
        if item in self._added:
            return self._copy(self._added - {item}, self._removed)
        return self._copy(self._added, self._removed | {item})

    def _copy(self, added: frozenset[K], removed: frozenset[K]) -> LayeredSet[K]:
        copy: LayeredSet[K] = LayeredSet.__new__(LayeredSet)
        if _too_large(len(added) + len(removed), len(self._base)):
            copy._base = copy._frozen = (self._base | added) - removed
            copy._added = copy._removed = frozenset()
        else:
            copy._base, copy._added, copy._removed, copy._frozen = self._base, added, removed, None
        return copy


class LayeredMap(Mapping[K, V], Generic[K, V]):
    """A frozen mapping, no value of which is `None`. `having` and `lacking` return changed copies."""

    __slots__ = ("_base", "_changes", "_size", "_whole")

    def __init__(self, entries: dict[K, V]) -> None:
        self._base: dict[K, V] = entries
        self._changes: dict[K, V | None] = {}
        self._size = len(entries)
        self._whole: dict[K, V] | None = entries

    def __getitem__(self, key: K) -> V:
        value = self._changes.get(key) if key in self._changes else self._base.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def get(self, key: K, default: Any = None) -> Any:
        """Return the value of `key`, or `default`."""
        value = self._changes.get(key) if key in self._changes else self._base.get(key)
        return default if value is None else value

    def __contains__(self, key: object) -> bool:
        return self.get(key) is not None  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[K]:
        return iter(self.whole())

    def whole(self) -> dict[K, V]:
        """Return the same as an ordinary dictionary, made when first asked for. It is shared: do not change it."""
        if self._whole is None:
            whole = dict(self._base)
            for key, value in self._changes.items():
                if value is None:
                    whole.pop(key, None)
                else:
                    whole[key] = value
            self._whole = whole
        return self._whole

    def having(self, key: K, value: V) -> LayeredMap[K, V]:
        """Return a mapping in which `key` has `value`."""
        return self._copy(key, value)

    def lacking(self, key: K) -> LayeredMap[K, V]:
        """Return a mapping without `key`."""
        return self._copy(key, None)

    def _copy(self, key: K, value: V | None) -> LayeredMap[K, V]:
        copy: LayeredMap[K, V] = LayeredMap.__new__(LayeredMap)
        copy._size = self._size + (value is not None) - (self.get(key) is not None)
        if self._changes and self._whole is not None:
            # Somebody asked for the whole: it is as good a base, and the difference starts anew.
            copy._base, copy._changes = self._whole, {key: value}
        else:
            copy._base, copy._changes = self._base, {**self._changes, key: value}
        copy._whole = None
        if _too_large(len(copy._changes), len(copy._base)):
            copy._base, copy._changes = dict(copy.whole()), {}
            copy._whole = copy._base
        return copy
