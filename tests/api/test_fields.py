"""Readers for body fields."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.api import fields
from conduit.protocol.errors import BadJson, InvalidParam, MatrixError, MissingParam

READERS: list[tuple[Any, Any, list[Any]]] = [
    (fields.text, "x", [1, True, 1.5, [], {}]),
    (fields.number, 7, ["7", True, 1.0, [], {}]),
    (fields.flag, False, ["true", 0, 1, [], {}]),
    (fields.obj, {"a": 1}, ["{}", 1, True, []]),
    (fields.array, [1], ["[]", 1, True, {}]),
]


@pytest.mark.parametrize(("reader", "good", "bad"), READERS)
def test_each_reader_takes_its_own_type_only(reader: Any, good: Any, bad: list[Any]) -> None:
    """A value of another type is bad JSON, and a boolean is no number."""
    assert reader({"f": good}, "f") == good
    for value in bad:
        with pytest.raises(BadJson):
            reader({"f": value}, "f")
        with pytest.raises(BadJson):
            reader({"f": value}, "f", None)


@pytest.mark.parametrize(("reader", "good", "bad"), READERS)
def test_what_is_absent_or_null_is_missing_or_the_default(reader: Any, good: Any, bad: list[Any]) -> None:
    """A required field must be there; an optional one that is null counts as absent."""
    for body in ({}, {"f": None}):
        with pytest.raises(MissingParam):
            reader(body, "f")
        assert reader(body, "f", None) is None
        assert reader(body, "f", good) == good


@pytest.mark.parametrize(("value", "error"), [(-1, InvalidParam), (2**53, InvalidParam), (0, None), (2**53 - 1, None)])
def test_numbers_have_bounds(value: int, error: type[MatrixError] | None) -> None:
    """By default they are counts that fit into a JSON number everywhere."""
    if error is None:
        assert fields.number({"f": value}, "f") == value
    else:
        with pytest.raises(error):
            fields.number({"f": value}, "f")


def test_texts_can_be_bounded() -> None:
    """What is too long is an invalid parameter."""
    assert fields.text({"f": "abc"}, "f", max_length=3) == "abc"
    with pytest.raises(InvalidParam):
        fields.text({"f": "abcd"}, "f", max_length=3)


def test_arrays_can_name_the_type_of_their_items() -> None:
    """One wrong item spoils the array, and the error says what was wanted."""
    assert fields.array({"f": ["a"]}, "f", of=str) == ["a"]
    with pytest.raises(BadJson, match="strings"):
        fields.array({"f": ["a", 1]}, "f", of=str)
