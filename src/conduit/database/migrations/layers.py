"""States as Conduit stores them: stacks of layers, each a difference to the one below. Read here, and extended by one event."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import OrderedDict

from conduit.database import trees
from conduit.database.layouts import StateDiff
from conduit.database.migrations.bulk import Bulk

_PAIR = 16
_KEPT = 2000
"""Stacks in memory. They share their lower layers."""
_DEEPEST = 64
"""Conduit makes no stack deeper than a handful of layers; a deeper one goes round in a circle."""

Layer = tuple[bytes, bytes]
"""Sorted pairs that are added, and that are removed."""


class Layers:
    """Reads and extends states. A state is a number; 0 is the empty one."""

    def __init__(self, bulk: Bulk) -> None:
        self._bulk = bulk
        self._stacks: OrderedDict[int, tuple[Layer, ...] | None] = OrderedDict()

    def is_known(self, state: int) -> bool:
        """Tell whether the whole stack of a state is there."""
        return self._stack(state) is not None

    def ids(self, state: int) -> dict[int, int]:
        """Return a whole state: short state key -> short event."""
        found: dict[int, int] = {}
        for added, removed in self._stack(state) or ():
            for key, _ in struct.iter_unpack(">QQ", removed):
                found.pop(key, None)
            found.update(struct.iter_unpack(">QQ", added))
        return found

    def look_up(self, state: int, key: int) -> int | None:
        """Return the short event of a short state key in a state, or `None`."""
        wanted = key.to_bytes(8, "big")
        for added, removed in reversed(self._stack(state) or ()):
            pair = _find(added, wanted)
            if pair is not None:
                return int.from_bytes(pair[8:], "big")
            if removed and _find(removed, wanted) is not None:
                return None
        return None

    def after(self, before: int, key: int, event: int, candidate: int | None, *, compare: bool = False) -> int:
        """Return the state that follows `before` by `event`: `candidate` if that is seen to be it, else a new one.

        What is seen is the layer that Conduit writes for a single event; `compare` looks at the whole states instead.
        """
        old = self.look_up(before, key)
        if old == event:
            return before
        if candidate:
            if self._is_step(before, key, event, candidate):
                return candidate
            if compare and self.ids(candidate) == {**self.ids(before), key: event}:
                return candidate
        state = self._bulk.next_count()
        removed = b"" if old is None else struct.pack(">QQ", key, old)
        trees.shortstatehash_statediff.put(
            self._bulk, state, StateDiff(before, struct.pack(">QQ", key, event), removed)
        )
        return state

    def _is_step(self, before: int, key: int, event: int, candidate: int) -> bool:
        diff = trees.shortstatehash_statediff.get(self._bulk, candidate)
        if diff is None or diff.parent != before or diff.added != struct.pack(">QQ", key, event):
            return False
        return all(removed == key for removed, _ in struct.iter_unpack(">QQ", diff.removed))

    def _stack(self, state: int, depth: int = 0) -> tuple[Layer, ...] | None:
        if not state:
            return ()
        if state in self._stacks:
            self._stacks.move_to_end(state)
            return self._stacks[state]
        diff = trees.shortstatehash_statediff.get(self._bulk, state)
        below = None if diff is None or depth > _DEEPEST else self._stack(diff.parent, depth + 1)
        stack = None if diff is None or below is None else (*below, (_sorted(diff.added), _sorted(diff.removed)))
        self._stacks[state] = stack
        if len(self._stacks) > _KEPT:
            self._stacks.popitem(last=False)
        return stack


def _sorted(pairs: bytes) -> bytes:
    return b"".join(sorted(pairs[at : at + _PAIR] for at in range(0, len(pairs), _PAIR)))


def _find(pairs: bytes, key: bytes) -> bytes | None:
    index = bisect_left(range(len(pairs) // _PAIR), key, key=lambda at: pairs[at * _PAIR : at * _PAIR + 8])
    pair = pairs[index * _PAIR : index * _PAIR + _PAIR]
    return pair if pair.startswith(key) else None
