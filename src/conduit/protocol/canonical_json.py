"""JSON as Matrix signs and hashes it: sorted keys, no white space, UTF-8, integers within 2^53 only.

orjson writes these very bytes, but it also takes what Matrix forbids (floats, big integers, NaN as `null`). What
comes from outside is therefore walked once, by `check`; from then on `dump` may be trusted with it.

Source: appendices, "Canonical JSON"; room version 6, "Canonical JSON".
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

import orjson

from conduit.protocol.errors import BadJson, NotJson

MAX_INTEGER: Final = 2**53 - 1
MAX_LAX_INTEGER: Final = 2**63 - 1
MAX_DEPTH: Final = 200
"""Levels of nesting taken from outside. orjson writes 254; the rest is for the answers that wrap an event."""

MAX_VALUES: Final = 500_000
"""How many values a text may hold, and one more for each `_ROOMY` bytes: `[[],[],…]` takes thirty times its length as objects, and seconds to look at."""
_ROOMY: Final = 64

_SORTED: Final = orjson.OPT_SORT_KEYS


def dump(value: Any) -> bytes:
    """Return the canonical bytes of a value that has been checked, or was built here."""
    return orjson.dumps(value, option=_SORTED)


def encode(value: Any) -> bytes:
    """Return the canonical bytes of any value; raises `BadJson` for what canonical JSON cannot hold."""
    check(value, strict=True)
    try:
        return orjson.dumps(value, option=_SORTED)
    except orjson.JSONEncodeError as error:
        raise BadJson(f"Not canonical JSON: {error}") from None


def require_bearable(data: bytes | str) -> None:
    """Raise `BadJson` for a text that is too much as objects, by the characters in it that come before values."""
    if len(data) <= MAX_VALUES:
        return
    marks: tuple[Any, ...] = (b",", b"[", b"{") if isinstance(data, bytes) else (",", "[", "{")
    if sum(map(data.count, marks)) > MAX_VALUES + len(data) // _ROOMY:
        raise BadJson("The JSON holds too many values")


def loads(data: bytes | str, *, strict: bool = True) -> Any:
    """Return the value that `data` holds, checked.

    Raises `NotJson` when it cannot be parsed, and `BadJson` when it holds what `check` refuses, or too much. Client bodies are
    read with `strict=False`: floats are legal there (a tag's order, say) until they enter an event.
    """
    require_bearable(data)
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise NotJson(f"Not JSON: {error.msg}") from None
    check(value, strict=strict)
    return value


def check(value: Any, strict: bool = True, *, within: int = 0) -> None:
    """Raise `BadJson` unless Matrix can hold `value`, which stands `within` so many levels of something larger.

    Strict means canonical JSON: no floats, integers within 2^53. Otherwise finite floats and integers of 64 bits
    pass. Both refuse more than `MAX_DEPTH` levels, keys that are not strings, and foreign types.
    """
    _walk(value, MAX_INTEGER if strict else MAX_LAX_INTEGER, not strict, MAX_DEPTH - within)


def _walk(value: Any, bound: int, floats: bool, levels: int) -> None:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return
    if kind is dict:
        if not levels:
            raise BadJson("The JSON is nested too deeply")
        for key, child in value.items():
            if type(key) is not str:
                raise BadJson("Keys of JSON objects are strings")
            if type(child) is not str:
                _walk(child, bound, floats, levels - 1)
    elif kind is list or kind is tuple:
        if not levels:
            raise BadJson("The JSON is nested too deeply")
        for child in value:
            if type(child) is not str:
                _walk(child, bound, floats, levels - 1)
    elif kind is int:
        if not -bound <= value <= bound:
            raise BadJson("An integer is out of range")
    elif kind is not float:
        raise BadJson(f"Not a JSON value: {kind.__name__}")
    elif not (floats and isfinite(value)):
        raise BadJson("Numbers must be integers")
