"""Large JSON objects taken apart piece by piece, so that nobody has to hold or wait for the whole.

The state of a large room comes as one object of tens of megabytes. Parsed in one go it takes ten times that in memory and holds the
loop for a second. Here only the ends of its parts are looked for; each part is parsed by whoever takes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

import orjson

from conduit.protocol.errors import BadJson, NotJson

_SPACE = re.compile(r"[ \t\n\r]*")
_scan = json.JSONDecoder().raw_decode


def pieces(body: bytes, arrays: Container[str]) -> Iterator[tuple[str, Any]]:
    """Return the members of the object `body` as (key, value); those under keys in `arrays` element by element, each with its key.

    Lazy. Values are parsed and otherwise unchecked. Raises `NotJson` for what is no JSON and `BadJson` where an object or an array was
    expected, when it is reached.
    """
    # One character a byte, whatever the text holds: offsets are the same in both, and it is never wider than the bytes.
    text = body.decode("latin-1")
    del body
    try:
        at = _expect(text, _skip(text, 0), "{")
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            at += 1
        else:
            while True:
                key, at = _key(text, at)
                if key in arrays:
                    for start, end in _elements(text, at):
                        at = end
                        if start >= 0:
                            yield key, orjson.loads(text[start:end].encode("latin-1"))
                else:
                    end = _scan(text, at)[1]
                    yield key, orjson.loads(text[at:end].encode("latin-1"))
                    at = end
                at = _skip(text, at)
                if text[at : at + 1] == "}":
                    at += 1
                    break
                at = _skip(text, _expect(text, at, ","))
        if _skip(text, at) != len(text):
            raise NotJson("Not JSON: something follows the object")
    except (ValueError, RecursionError) as error:
        raise NotJson(f"Not JSON: {error}") from None


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _expect(text: str, at: int, character: str) -> int:
    if text[at : at + 1] != character:
        raise NotJson(f"Not JSON: {character} was expected")
    return at + 1


def _key(text: str, at: int) -> tuple[str, int]:
    start = _expect(text, at, '"')
    end: int = scanstring(text, start, True)[1]
    key = orjson.loads(text[at:end].encode("latin-1"))
    return key, _skip(text, _expect(text, _skip(text, end), ":"))


def _elements(text: str, at: int) -> Iterator[tuple[int, int]]:
    """Yield where each element of an array starts and ends, and in the end (-1, end of the array)."""
    if text[at : at + 1] != "[":
        raise BadJson("An array was expected")
    at = _skip(text, at + 1)
    if text[at : at + 1] != "]":
        while True:
            end = _scan(text, at)[1]
            yield at, end
            at = _skip(text, end)
            if text[at : at + 1] == "]":
                break
            at = _skip(text, _expect(text, at, ","))
    yield -1, at + 1
