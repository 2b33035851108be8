"""What several states agree on, and what is in conflict.

Source: rooms/v2, "Unconflicted state map and conflicted state set".
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=Hashable)


def split(state_sets: Sequence[Mapping[K, R]]) -> tuple[dict[K, R], set[R]]:
    """Return the unconflicted state map and the conflicted state set.

    A key is unconflicted when every state has it, with the same event.
    """
    first, *others = state_sets
    unconflicted = dict(first)
    for state in others:
        unconflicted = {key: ref for key, ref in unconflicted.items() if state.get(key) == ref}
    conflicted = {ref for state in state_sets for key, ref in state.items() if key not in unconflicted}
    return unconflicted, conflicted
