"""Codecs: round trips, order, and refusal of what they did not write."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.database.codec import (
    BYTES32,
    EMPTY,
    JSON,
    NUMBER,
    NUMBERS,
    POSITION,
    RAW,
    STRING,
    TEXT,
    U32,
    U64,
    U64_FF,
    Codec,
    Part,
    one,
    row,
)
from tests.database.strategies import PARTS, text, u64

FIXED: list[Part[Any]] = [U64, U64_FF, U32, BYTES32, POSITION]
rows = st.lists(st.sampled_from([*FIXED, TEXT, TEXT]), min_size=1, max_size=4).flatmap(
    lambda parts: st.tuples(
        st.just([*parts, RAW]),
        st.tuples(*(PARTS[id(part)] for part in [*parts, RAW])),
        st.tuples(*(PARTS[id(part)] for part in [*parts, RAW])),
    )
)


def sortable(parts: list[Part[Any]], key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what sorts as the key should: a text behind the longer ones that begin with it."""
    return tuple(value.encode() + b"\xff" if part is TEXT else value for part, value in zip(parts, key, strict=True))


@given(rows)
def test_any_row_comes_back_and_sorts(drawn: tuple[list[Part[Any]], tuple[Any, ...], tuple[Any, ...]]) -> None:
    """Whatever the parts are: what is encoded comes back, and bytes sort as tuples."""
    parts, one_key, other = drawn
    codec: Codec[Any] = row(*parts)
    assert codec.decode(codec.encode(one_key)) == one_key
    assert codec.layout == tuple(parts)
    assert codec.parts == len(parts)
    assert (codec.encode(one_key) < codec.encode(other)) == (sortable(parts, one_key) < sortable(parts, other))


@given(rows)
def test_prefix_of_any_row_is_shared_by_exactly_its_keys(
    drawn: tuple[list[Part[Any]], tuple[Any, ...], tuple[Any, ...]],
) -> None:
    """Keys start with the bytes of a prefix if and only if they begin with its parts."""
    parts, one_key, other = drawn
    codec: Codec[Any] = row(*parts)
    assert codec.prefix is not None
    for length in range(len(parts)):
        head = codec.prefix(one_key[:length])
        assert codec.encode(one_key).startswith(head)
        assert codec.encode(other).startswith(head) == (other[:length] == one_key[:length])


@given(st.binary(max_size=60), st.lists(st.sampled_from([*FIXED, TEXT, RAW]), min_size=2, max_size=4))
def test_foreign_bytes_are_refused_or_come_back(data: bytes, parts: list[Part[Any]]) -> None:
    """Decoding raises nothing but `ValueError`, and what it accepts is what it would write."""
    if RAW in parts[:-1]:
        parts = [part for part in parts if part is not RAW] or [TEXT]
    if len(parts) == 1:
        parts.append(RAW)
    codec: Codec[Any] = row(*parts)
    try:
        key = codec.decode(data)
    except ValueError:
        return
    assert codec.encode(key) == data


@given(u64, u64)
def test_numbers_sort_as_bytes(low: int, high: int) -> None:
    """Big-endian bytes sort as the numbers."""
    assert (NUMBER.encode(low) < NUMBER.encode(high)) == (low < high)
    assert NUMBER.decode(NUMBER.encode(low)) == low


@given(text)
def test_text_is_utf8(value: str) -> None:
    """A text alone has no end mark."""
    assert STRING.encode(value) == value.encode()
    assert STRING.decode(value.encode()) == value
    assert one(TEXT).layout == (TEXT,)


def test_rows_of_the_wrong_length_are_refused() -> None:
    """A part too many or too few is a mistake in the program, noticed before anything is written."""
    for codec, key in ((row(TEXT, TEXT), ("a",)), (row(TEXT, U64), ("a", 1, 2)), (row(U64, U64), (1,))):
        with pytest.raises((ValueError, Exception)):
            codec.encode(key)  # type: ignore[arg-type]


def test_lone_surrogates_are_refused() -> None:
    """They have no UTF-8."""
    with pytest.raises(ValueError, match="surrogates"):
        STRING.encode("\ud800")


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        (NUMBER, b"\x00" * 7),
        (NUMBER, b"\x00" * 9),
        (STRING, b"\xff"),
        (EMPTY, b"x"),
        (NUMBERS, b"\x00" * 12),
        (JSON, b"{"),
        (row(TEXT, U64), b"no end"),
        (row(U64_FF, TEXT), b"\x00" * 8 + b"xa"),
        (row(BYTES32, TEXT), b"\x00" * 31),
    ],
)
def test_damaged_bytes_raise_value_errors(codec: Codec[Any], data: bytes) -> None:
    """So that the tree can name itself and the key."""
    with pytest.raises(ValueError, match=r".*"):
        codec.decode(data)
