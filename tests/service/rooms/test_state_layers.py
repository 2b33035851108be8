"""Tests of states stored in layers."""

from __future__ import annotations

import random
import struct
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.database import trees
from conduit.database.errors import Corrupt
from conduit.database.layouts import StateDiff
from conduit.service.rooms import state_layers
from tests.support.rooms import World

CHANGES = st.lists(st.tuples(st.integers(1, 25), st.integers(1, 6)), min_size=1, max_size=80)


def pack(entries: dict[int, int]) -> bytes:
    """Return entries as a layer holds them."""
    return b"".join(struct.pack(">QQ", key, event) for key, event in sorted(entries.items()))


@settings(deadline=None)
@given(CHANGES, st.booleans())
def test_line_of_changes_reads_like_dictionaries(changes: list[tuple[int, int]], forget: bool) -> None:
    """Every state of a line has what a dictionary had then, whole and by look-up, in at most four layers."""
    db = World().db
    states = [(0, dict[int, int]())]
    for key, event in changes:
        number, entries = states[-1]
        with db.batch() as batch:
            following = state_layers.with_event(batch, number, key, event)
        if entries.get(key) == event:
            assert following == number
        states.append((following, {**entries, key: event}))
    if forget:
        db.cache_pool.clear()
    for number, entries in states:
        assert dict(state_layers.ids(db, number)) == entries
        for key in range(27):
            assert state_layers.look_up(db, number, key) == entries.get(key)
    for number, _ in states[1:]:
        depth, at = 0, number
        while at:
            row = trees.shortstatehash_statediff.get(db, at)
            assert row is not None
            assert row.added == b"".join(sorted(row.added[i : i + 16] for i in range(0, len(row.added), 16)))
            depth, at = depth + 1, row.parent
        assert depth <= state_layers.MAX_LAYERS


@settings(deadline=None)
@given(CHANGES, st.data())
def test_diff_of_any_two_states_is_the_difference_of_dictionaries(
    changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Added and removed hold exactly the differing entries, in both directions and against the empty state."""
    db = World().db
    states = [(0, dict[int, int]())]
    with db.batch() as batch:
        for key, event in changes:
            number, entries = data.draw(st.sampled_from(states))
            states.append((state_layers.with_event(batch, number, key, event), {**entries, key: event}))
    for _ in range(10):
        (old, before), (new, after) = data.draw(st.sampled_from(states)), data.draw(st.sampled_from(states))
        added, removed = state_layers.diff(db, old, new)
        assert added == {key: event for key, event in after.items() if before.get(key) != event}
        assert removed == {key: event for key, event in before.items() if after.get(key) != event}


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(st.integers(1, 20), st.integers(1, 4), min_size=1), min_size=1, max_size=12),
    st.booleans(),
    st.booleans(),
)
def test_whole_states_get_one_number_each_and_may_lose_keys(
    wholes: list[dict[int, int]], chained: bool, aside: bool
) -> None:
    """A state given as a whole reads back, equal ones share their number, and a basis makes no difference."""
    db = World().db
    numbers: dict[bytes, int] = {}
    near = 0
    with db.batch() as batch:
        for entries in wholes:
            number = state_layers.whole(batch, entries, near=near, aside=aside)
            assert numbers.setdefault(pack(entries), number) == number
            near = number if chained else 0
    db.cache_pool.clear()
    for entries in wholes:
        number = numbers[pack(entries)]
        assert dict(state_layers.ids(db, number)) == entries
        for key in range(22):
            assert state_layers.look_up(db, number, key) == entries.get(key)


def test_hash_is_taken_over_sorted_entries() -> None:
    """The hash of a whole state is SHA-256 over its sorted entries joined by 0xff, as Conduit's format wants it."""
    db = World().db
    entries = {5: 1, 2: 9, 700: 3}
    with db.batch() as batch:
        number = state_layers.whole(batch, entries)
    joined = b"\xff".join(struct.pack(">QQ", *entry) for entry in sorted(entries.items()))
    assert trees.statehash_shortstatehash.get(db, sha256(joined).digest()) == number


def test_unsorted_rows_of_conduit_are_read() -> None:
    """Conduit writes the entries of a layer in any order; look-ups find them all the same."""
    db = World().db
    root = {key: key + 100 for key in range(1, 50)}
    order = list(root.items())
    random.Random(1).shuffle(order)
    with db.batch() as batch:
        trees.shortstatehash_statediff.put(
            batch, 1000, StateDiff(0, b"".join(struct.pack(">QQ", *entry) for entry in order), b"")
        )
        removed = b"".join(struct.pack(">QQ", key, root[key]) for key in (40, 3))
        trees.shortstatehash_statediff.put(batch, 1001, StateDiff(1000, struct.pack(">QQ", 3, 7), removed))
    assert dict(state_layers.ids(db, 1000)) == root
    assert state_layers.look_up(db, 1000, 17) == 117
    assert state_layers.look_up(db, 1001, 40) is None
    assert state_layers.look_up(db, 1001, 3) == 7
    assert dict(state_layers.ids(db, 1001)) == {**{k: v for k, v in root.items() if k != 40}, 3: 7}


def test_missing_and_circular_states_are_corruption() -> None:
    """A damaged chain of layers is named instead of being followed."""
    db = World().db
    with pytest.raises(Corrupt):
        state_layers.ids(db, 5)
    with db.batch() as batch:
        trees.shortstatehash_statediff.put(batch, 7, StateDiff(8, pack({1: 1}), b""))
        trees.shortstatehash_statediff.put(batch, 8, StateDiff(7, pack({1: 2}), b""))
    with pytest.raises(Corrupt):
        state_layers.look_up(db, 8, 2)


def test_long_line_of_joins_writes_little() -> None:
    """A thousand changes take a small part of what whole states would: layers are merged, not copied."""
    db = World().db
    state = 0
    with db.batch() as batch:
        for key in range(1, 1001):
            state = state_layers.with_event(batch, state, key, key + 5000)
    written = sum(len(row.added) + len(row.removed) for _, row in trees.shortstatehash_statediff.scan(db))
    assert written < 1000 * 500 * 16 / 4
    assert len(state_layers.ids(db, state)) == 1000
