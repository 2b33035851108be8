from __future__ import annotations

import pytest

from conduit.protocol.state_res.split import split

State = dict[str, int]


@pytest.mark.parametrize(
    ("states", "unconflicted", "conflicted"),
    [
        ([{"a": 1}], {"a": 1}, set()),
        ([{"a": 1}, {"a": 1}], {"a": 1}, set()),
        ([{"a": 1}, {"a": 2}], {}, {1, 2}),
        ([{"a": 1, "b": 3}, {"a": 1}], {"a": 1}, {3}),
        ([{"a": 1}, {"a": 1, "b": 3}], {"a": 1}, {3}),
        ([{"a": 1}, {"a": 2}, {"a": 1}], {}, {1, 2}),
        ([{"a": 1, "b": 5}, {"a": 1, "b": 5}, {"b": 5, "c": 6}], {"b": 5}, {1, 6}),
        ([{}, {"a": 1}], {}, {1}),
    ],
)
def test_split_takes_apart_what_all_agree_on(states: list[State], unconflicted: State, conflicted: set[int]) -> None:
    """A key that one state lacks is in conflict."""
    assert split(states) == (unconflicted, conflicted)
