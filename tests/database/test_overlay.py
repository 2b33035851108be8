"""Changes that are not written yet, laid over what is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from conduit.database.overlay import Changes, overlaid

keys = st.binary(min_size=1, max_size=2)


@given(
    st.lists(st.tuples(keys, st.none() | st.binary(max_size=1)), max_size=60),
    st.lists(st.integers(0, 60), max_size=4),
    st.binary(max_size=2),
    st.none() | st.binary(max_size=2),
)
def test_changes_are_found_in_order_however_they_came(
    changes: list[tuple[bytes, bytes | None]], looks: list[int], first: bytes, end: bytes | None
) -> None:
    """Looked at in between, few or many at a time, the latest change of each key is found between any bounds."""
    gathered = Changes()
    gathered.trees["a"] = {}
    expected: dict[bytes, bytes | None] = {}
    for index, (key, value) in enumerate(changes):
        gathered.trees["a"][key] = value
        expected[key] = value
        if index in looks:
            gathered.between("a", b"", None)
    inside = sorted((key, value) for key, value in expected.items() if key >= first and (end is None or key < end))
    assert [(key, gathered.trees["a"][key]) for key, _ in inside] == gathered.between("a", first, end)
    assert gathered.between("b", first, end) == []


@given(
    st.dictionaries(keys, st.binary(max_size=1)),
    st.dictionaries(keys, st.none() | st.binary(max_size=1)),
    st.booleans(),
)
def test_overlaid_entries_are_those_of_a_dictionary_updated(
    stored: dict[bytes, bytes], changes: dict[bytes, bytes | None], reverse: bool
) -> None:
    """In the same order, with deleted ones left out."""
    merged = {key: value for key, value in {**stored, **changes}.items() if value is not None}
    found = overlaid(
        iter(sorted(stored.items(), reverse=reverse)), sorted(changes.items(), key=lambda entry: entry[0]), reverse
    )
    assert list(found) == sorted(merged.items(), reverse=reverse)
