"""Changes that are not written yet, readable by key and in key order."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from heapq import merge
from itertools import islice
from operator import itemgetter

Entry = tuple[bytes, bytes]
_KEY = itemgetter(0)
_FEW = 16
"""So many new keys are put in their places one by one; more are sorted in."""


class Changes:
    """What was put and deleted, by tree. `trees` maps tree, then key to the last value, a deleted key to `None`; write to it freely."""

    __slots__ = ("_orders", "trees")

    def __init__(self) -> None:
        self.trees: dict[str, dict[bytes, bytes | None]] = {}
        self._orders: dict[str, list[bytes]] = {}

    def between(self, tree: str, first: bytes, end: bytes | None) -> list[tuple[bytes, bytes | None]]:
        """Return the changes of `tree` with `first <= key < end` in key order, as they are now."""
        entries = self.trees.get(tree)
        if entries is None:
            return []
        order = self._orders.setdefault(tree, [])
        if len(order) != len(entries):
            # A dictionary keeps the order of arrival, so the keys that came since are its last ones.
            came = list(islice(reversed(entries), len(entries) - len(order)))
            if len(came) <= _FEW:
                for key in came:
                    insort(order, key)
            else:
                order.extend(came)
                order.sort()
        low = bisect_left(order, first)
        high = len(order) if end is None else bisect_left(order, end)
        return [(key, entries[key]) for key in order[low:high]]


def overlaid(stored: Iterator[Entry], changes: list[tuple[bytes, bytes | None]], reverse: bool) -> Iterator[Entry]:
    """Return `stored` as `changes`, which are sorted and lie in the same range, leave it. `stored` is descending if `reverse`."""
    changed = dict(changes)
    kept = (entry for entry in stored if entry[0] not in changed)
    put: list[Entry] = [(key, value) for key, value in changes if value is not None]
    if reverse:
        put.reverse()
    return merge(kept, put, key=_KEY, reverse=reverse) if put else kept
