"""Tests of the frozen sets and mappings whose changed copies are cheap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from conduit.service.rooms.layered import LayeredMap, LayeredSet

ITEMS = st.integers(0, 60)


@given(st.sets(ITEMS), st.lists(st.tuples(st.booleans(), ITEMS), max_size=120))
def test_set_equals_an_ordinary_one_after_any_changes(start: set[int], changes: list[tuple[bool, int]]) -> None:
    """Membership, size, iteration and parts follow every change, and the copies before stay as they were."""
    layered = LayeredSet(start)
    history = [(layered, frozenset(start))]
    for added, item in changes:
        layered = layered.having(item) if added else layered.lacking(item)
        expected = history[-1][1] | {item} if added else history[-1][1] - {item}
        history.append((layered, expected))
        assert (item in layered) == added
        assert len(layered) == len(expected)
    for made, expected in history:
        assert made.frozen() == expected
        assert set(made) == expected
        assert frozenset().union(*made.parts()) >= expected


@given(
    st.dictionaries(ITEMS, st.integers()),
    st.lists(st.tuples(ITEMS, st.none() | st.integers(), st.booleans()), max_size=120),
)
def test_map_equals_an_ordinary_one_after_any_changes(
    start: dict[int, int], changes: list[tuple[int, int | None, bool]]
) -> None:
    """Look-ups, size and iteration follow every change, whether or not the whole was asked for in between."""
    layered = LayeredMap(dict(start))
    expected = dict(start)
    history = [(layered, dict(expected))]
    for key, value, look in changes:
        if value is None:
            layered = layered.lacking(key)
            expected.pop(key, None)
        else:
            layered = layered.having(key, value)
            expected[key] = value
        history.append((layered, dict(expected)))
        assert layered.get(key) == value
        assert (key in layered) == (value is not None)
        if look:
            assert layered.whole() == expected
    for made, whole in history:
        assert dict(made) == whole
        assert len(made) == len(whole)
        assert all(made[key] == value for key, value in whole.items())


def test_copying_a_large_set_does_not_copy_its_base() -> None:
    """A small change of a large set shares the large part."""
    large = LayeredSet(range(100_000))
    changed = large.having(-1)
    assert changed.parts()[0] is large.parts()[0]
    assert len(changed) == 100_001
