"""Large JSON objects in pieces."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.protocol import json_pieces
from conduit.protocol.errors import MatrixError
from conduit.protocol.json_pieces import pieces

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=("Cs",))),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=12,
)


def together(body: bytes, arrays: set[str]) -> dict[str, Any]:
    """Put the pieces together again."""
    found: dict[str, Any] = {key: [] for key in arrays}
    for key, value in pieces(body, arrays):
        if key in arrays:
            found[key].append(value)
        else:
            found[key] = value
    return found


@given(st.lists(VALUES, max_size=5), st.lists(VALUES, max_size=5), VALUES)
def test_pieces_of_any_object_are_its_parts(state: list[Any], chain: list[Any], other: Any) -> None:
    """What is taken apart and put together again is what a parser reads."""
    whole = {"state": state, "other": other, "auth_chain": chain}
    for body in (orjson.dumps(whole), orjson.dumps(whole, option=orjson.OPT_INDENT_2)):
        assert together(body, {"state", "auth_chain"}) == whole


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"state": {}}',
        b'{"state": [1,]}',
        b'{"state": [1 2]}',
        b'{"state": [1]',
        b'{"state": [1]} x',
        b'{"a": 1,}',
        b'{"a" 1}',
        b"{a: 1}",
        b'{"a": "\xff"}',
        b'{"state": ["\\ud800"]}',
        b'{"state": [NaN]}',
        b'{"state": ' + b"[" * 100_000,
    ],
)
def test_pieces_of_malformed_json_are_refused(body: bytes) -> None:
    """Whatever is wrong, and however deep, an error of the protocol says so."""
    with pytest.raises(MatrixError):
        list(pieces(body, {"state"}))


def test_pieces_may_be_larger_than_what_is_looked_at_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the window ends, values come out whole."""
    monkeypatch.setattr(json_pieces, "_WINDOW", 7)
    monkeypatch.setattr(json_pieces, "_MARGIN", 2)
    whole = {"n": 1234567890123, "state": [12345678901, "ü" * 30, {"a": [True, None]}, -7], "other": "x" * 50}
    for body in (orjson.dumps(whole), orjson.dumps(whole, option=orjson.OPT_INDENT_2)):
        assert together(body, {"state"}) == whole
    for end in range(len(body) - 1):
        with pytest.raises(MatrixError):
            together(body[:end], {"state"})


@pytest.mark.parametrize(
    "state",
    [
        [{"a": "},{"}, {"b": 1}],
        ["},{", {"a": 1}],
        [{"a": [{"b": 1}, {"c": [{}, {}]}]}, {"d": 1}],
        [[{"a": 1}, {"b": 2}], 7, {"c": 3}],
    ],
)
def test_pieces_end_where_they_end(state: list[Any]) -> None:
    """What looks like the end of one object and the beginning of the next may be within a text or a list."""
    whole = {"state": state, "other": [{"x": 1}, {"y": 2}]}
    assert together(orjson.dumps(whole), {"state"}) == whole


@pytest.mark.parametrize(
    "body", [b'{"state":[{"a":NaN},{"b":1}]}', b'{"state":[{"a":1,},{"b":1}]}', b'{"state":[{"a":},{}]}']
)
def test_pieces_between_good_ones_are_refused_all_the_same(body: bytes) -> None:
    """That another object seems to follow makes none good."""
    with pytest.raises(MatrixError):
        list(pieces(body, {"state"}))


def test_pieces_of_an_empty_object_are_none() -> None:
    """An empty object has no pieces."""
    assert list(pieces(b" { } ", ())) == []
