"""How states are stored: as layers of differences, in Conduit's format.

A state is a set of pairs (short state key, short event), 16 bytes each, and has a number of its own, the short state hash. Its row names the
number of a parent state and the pairs that are added to and removed from that; a parent of 0 is the empty state. A stack of layers is at most
`MAX_LAYERS` deep, so a chain of small changes is merged as it grows: the bytes written stay far below a whole state per change.

Pairs are sorted within a layer, so one state key is found by bisection, without loading a whole state. Rows written by
Conduit are not sorted; they are sorted when they are read.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from hashlib import sha256
from itertools import chain

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.codec import U64
from conduit.database.database import Batch
from conduit.database.errors import Corrupt
from conduit.database.layouts import StateDiff

MAX_LAYERS = 4
"""How many layers a state consists of at most."""
_PAIR = 16
_LINE = 2
"""Weight of differences for a state that the next one will build on (see `_place`)."""
_ASIDE = 1_000_000
"""The same for a state off the room's line: nothing will be based on it."""


class Layer:
    """One layer of a stack: what it adds to and removes from those below, sorted pairs. `state` is the number it was stored under. Frozen."""

    __slots__ = ("_events", "_keys", "added", "removed", "state")

    def __init__(self, state: int, added: bytes, removed: bytes) -> None:
        self.state = state
        self.added = added
        self.removed = removed
        self._keys: array[int] | None = None
        self._events: array[int] | None = None

    def find(self, statekey: int) -> int | None:
        """Return the short event that the layer gives to a short state key, or `None`."""
        added = self.added
        if len(added) <= _PAIR:  # what most layers are: one change
            return U64.decode(added[8:]) if added.startswith(U64.encode(statekey)) else None
        keys, events = self._keys, self._events
        if keys is None or events is None:
            numbers = array("Q", added)
            if sys.byteorder == "little":
                numbers.byteswap()
            keys, events = self._keys, self._events = numbers[::2], numbers[1::2]
        at = bisect_left(keys, statekey)
        return events[at] if at < len(keys) and keys[at] == statekey else None

    def removes(self, statekey: int) -> bool:
        """Tell whether the layer takes away what those below give to a short state key."""
        removed, key = self.removed, U64.encode(statekey)
        index = bisect_left(range(len(removed) // _PAIR), key, key=lambda at: removed[at * _PAIR : at * _PAIR + 8])
        return removed.startswith(key, index * _PAIR)


Stack = tuple[Layer, ...]
"""The layers of a state, lowest first."""


def _sorted_pairs(data: bytes) -> bytes:
    keys = struct.unpack(f">{len(data) // 8}Q", data)[::2]
    if sorted(keys) == list(keys):  # no key occurs twice
        return data
    return b"".join(sorted([data[at : at + _PAIR] for at in range(0, len(data), _PAIR)]))


def _load_stack(source: CacheSource, state: int) -> Stack:
    diff = trees.shortstatehash_statediff.get(source, state)
    if diff is None:
        raise Corrupt(trees.shortstatehash_statediff.name, U64.encode(state), "a state is missing")
    layer = Layer(state, _sorted_pairs(diff.added), _sorted_pairs(diff.removed))
    if not diff.parent:
        return (layer,)
    if diff.parent >= state:
        # A parent is always older; anything else could lead round in a circle.
        raise Corrupt(trees.shortstatehash_statediff.name, U64.encode(state), "the parent is newer than the state")
    return (*_STACK.get(source, diff.parent), layer)


def _weigh_stack(stack: Stack) -> int:
    # Lower layers are shared with other stacks; the top one is counted in full.
    return 300 + 2 * len(stack[-1].added) + len(stack[-1].removed) + (len(stack[0].added) >> 2)


_STACK: Cached[int, Stack] = Cached("state_stack", load=_load_stack, weigh=_weigh_stack)


def _load_ids(source: CacheSource, state: int) -> dict[int, int]:
    layers = _STACK.get(source, state)
    if len(layers) > 1:
        below = _IDS.peek(source, layers[-2].state)
        if below is not None:
            return _applied(dict(below), layers[-1])
    ids: dict[int, int] = {}
    for layer in layers:
        _applied(ids, layer)
    return ids


_IDS: Cached[int, dict[int, int]] = Cached("state_ids", load=_load_ids, weigh=lambda ids: 100 + 100 * len(ids))


def _unpack(pairs: bytes) -> Iterable[tuple[int, int]]:
    return struct.iter_unpack(">QQ", pairs)


def _applied(ids: dict[int, int], layer: Layer) -> dict[int, int]:
    for key, _ in _unpack(layer.removed):
        ids.pop(key, None)
    ids.update(_unpack(layer.added))
    return ids


def look_up(source: CacheSource, state: int, statekey: int) -> int | None:
    """Return the short event of a short state key in a state, or `None`; nothing is unpacked. State 0 is empty."""
    if not state:
        return None
    for layer in reversed(_STACK.get(source, state)):
        event = layer.find(statekey)
        if event is not None:
            return event
        if layer.removed and layer.removes(statekey):
            return None
    return None


def ids(source: CacheSource, state: int) -> Mapping[int, int]:
    """Return a whole state: short state key -> short event. It is shared: do not change it."""
    return _IDS.get(source, state) if state else {}


def diff(source: CacheSource, old: int, new: int) -> tuple[dict[int, int], dict[int, int]]:
    """Return (what `new` has and `old` has not, what `old` has and `new` has not), each short state key -> short event.

    A key whose event changed is in both. Costs as much as the layers in which the two differ.
    """
    if old == new:
        return {}, {}
    old_stack = _STACK.get(source, old) if old else ()
    new_stack = _STACK.get(source, new) if new else ()
    common = 0
    for ours, theirs in zip(old_stack, new_stack, strict=False):
        if ours.state != theirs.state:
            break
        common += 1
    base = old_stack[common - 1].state if common else 0
    old_changes = _changes(old_stack[common:])
    new_changes = _changes(new_stack[common:])
    if not base:
        return _lacking(new_changes, old_changes), _lacking(old_changes, new_changes)
    added: dict[int, int] = {}
    removed: dict[int, int] = {}
    for key in {*old_changes, *new_changes}:
        before = old_changes[key] if key in old_changes else look_up(source, base, key)
        after = new_changes[key] if key in new_changes else look_up(source, base, key)
        if before != after:
            if before is not None:
                removed[key] = before
            if after is not None:
                added[key] = after
    return added, removed


def _lacking(entries: Mapping[int, int | None], others: Mapping[int, int | None]) -> dict[int, int]:
    """Return the entries that are not in `others` as well."""
    return {key: event for key, event in entries.items() if event is not None and others.get(key) != event}


def _changes(layers: Iterable[Layer]) -> dict[int, int | None]:
    changes: dict[int, int | None] = {}
    for layer in layers:
        for key, _ in _unpack(layer.removed):
            changes[key] = None
        changes.update(_unpack(layer.added))
    return changes


def with_event(batch: Batch, state: int, statekey: int, event: int) -> int:
    """Return the number of the state that follows `state` when `event` becomes the event of `statekey`: `state` itself if it is already."""
    old = look_up(batch, state, statekey)
    if old == event:
        return state
    key = U64.encode(statekey)
    number = batch.next_count()
    removed = b"" if old is None else key + U64.encode(old)
    _place(batch, number, key + U64.encode(event), removed, _stack(batch, state), _LINE)
    return number


def with_changes(batch: Batch, state: int, changes: Mapping[int, int | None]) -> int:
    """Return the number of the state that `state` becomes when each short state key of `changes` gets its short event, or none: `state` itself if nothing changes."""
    added, removed = [], []
    for key, event in sorted(changes.items()):
        old = look_up(batch, state, key)
        if old == event:
            continue
        if old is not None:
            removed.append(struct.pack(">QQ", key, old))
        if event is not None:
            added.append(struct.pack(">QQ", key, event))
    if not added and not removed:
        return state
    number = batch.next_count()
    _place(batch, number, b"".join(added), b"".join(removed), _stack(batch, state), _LINE)
    return number


def whole(batch: Batch, state: Mapping[int, int], *, near: int = 0, aside: bool = False) -> int:
    """Return the number of a state given as a whole (short state key -> short event), stored if it is new.

    Equal states get equal numbers. `near` is a state that it is likely to resemble, 0 if there is none; `aside` says that nothing
    will build on it.
    """
    pairs = sorted(struct.pack(">QQ", key, event) for key, event in state.items())
    number, is_new = _number(batch, pairs)
    if not is_new:
        return number
    stack = _stack(batch, near)
    if stack:
        before = dict(ids(batch, near))
        added = [pair for pair in pairs if before.pop(U64.decode(pair[:8]), None) != U64.decode(pair[8:])]
        # What is left of `before` is gone; of a changed key, the old pair is taken out too.
        old = ids(batch, near)
        changed = ((key, old[key]) for key in (U64.decode(pair[:8]) for pair in added) if key in old)
        removed = sorted(struct.pack(">QQ", key, event) for key, event in chain(before.items(), changed))
        _place(batch, number, b"".join(added), b"".join(removed), stack, _ASIDE if aside else _LINE)
    else:
        _place(batch, number, b"".join(pairs), b"", (), _LINE)
    return number


def whole_sorted(batch: Batch, pairs: list[bytes]) -> int:
    """As `whole`, of sorted pairs of packed numbers, for states so large that making the pairs takes steps. Stored as one layer."""
    number, is_new = _number(batch, pairs)
    if is_new:
        _place(batch, number, b"".join(pairs), b"", (), _LINE)
    return number


def _number(batch: Batch, pairs: list[bytes]) -> tuple[int, bool]:
    """Return the number of a state, and whether it is new: then it is still to be stored."""
    digest = sha256(b"\xff".join(pairs)).digest()
    known = trees.statehash_shortstatehash.get(batch, digest)
    if known is not None:
        return known, False
    number = batch.next_count()
    trees.statehash_shortstatehash.put(batch, digest, number)
    return number, True


def _stack(batch: Batch, state: int) -> Stack:
    return _STACK.get(batch, state) if state else ()


def _place(batch: Batch, number: int, added: bytes, removed: bytes, stack: Stack, weight: int) -> None:
    """Store a state as a difference to `stack`, merged downwards while the stack is too deep or the difference too large."""
    while stack:
        size = (len(added) + len(removed)) // _PAIR
        top = stack[-1]
        top_size = (len(top.added) + len(top.removed)) // _PAIR
        if len(stack) < MAX_LAYERS and size * size < 2 * weight * top_size:
            break
        added, removed = _merged(top, added, removed)
        stack = stack[:-1]
        weight = max((len(added) + len(removed)) // _PAIR, 1)
    parent = stack[-1].state if stack else 0
    if not stack:
        removed = b""
    trees.shortstatehash_statediff.put(batch, number, StateDiff(parent, added, removed))
    _STACK.set(batch, number, (*stack, Layer(number, added, removed)))


def _merged(top: Layer, added: bytes, removed: bytes) -> tuple[bytes, bytes]:
    """Return (added, removed) of one layer that does what `top` and then the difference do."""
    below_added, below_removed = top.added, top.removed
    for at in range(0, len(removed), _PAIR):
        pair = removed[at : at + _PAIR]
        cancelled = _without(below_added, pair)
        if cancelled is None:
            below_removed = _with(below_removed, pair)
        else:
            below_added = cancelled
    for at in range(0, len(added), _PAIR):
        pair = added[at : at + _PAIR]
        cancelled = _without(below_removed, pair)
        if cancelled is None:
            below_added = _with(below_added, pair)
        else:
            below_removed = cancelled
    return below_added, below_removed


def _index(pairs: bytes, pair: bytes) -> int:
    return _PAIR * bisect_left(range(len(pairs) // _PAIR), pair, key=lambda at: pairs[at * _PAIR : at * _PAIR + _PAIR])


def _with(pairs: bytes, pair: bytes) -> bytes:
    at = _index(pairs, pair)
    return pairs[:at] + pair + pairs[at:]


def _without(pairs: bytes, pair: bytes) -> bytes | None:
    at = _index(pairs, pair)
    return pairs[:at] + pairs[at + _PAIR :] if pairs[at : at + _PAIR] == pair else None
