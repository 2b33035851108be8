"""Large JSON objects taken apart piece by piece, so that nobody has to hold or wait for the whole.

The state of a large room comes as one object of tens of megabytes. Parsed in one go it takes ten times that in memory and holds the
loop for a second. Here only the ends of its parts are looked for; each part is parsed by whoever takes it, and little is held twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator
from typing import Any, Final

import orjson

from conduit.protocol.errors import BadJson, NotJson

_BETWEEN: Final = "},{"
_USUAL: Final = 1 << 13
"""Within so many bytes the end of an object is guessed; most events have less than one thousand."""
_SPACE = re.compile(r"[ \t\n\r]*")
_SPACES = frozenset(" \t\n\r")
_PLAIN = re.compile(r'"[^"\\]*"')
"""A text without escapes: so are hundreds of thousands of event ids."""
_scan = json.JSONDecoder().raw_decode
_WINDOW: Final = 1 << 20
"""How much of the text is looked at at a time."""
_MARGIN: Final = 1 << 17
"""When less is left, the window moves on: an event has at most 64 KiB."""


def pieces(body: bytes, arrays: Container[str]) -> Iterator[tuple[str, Any]]:
    """Return the members of the object `body` as (key, value); those under keys in `arrays` element by element, each with its key.

    Lazy; who calls it should keep no reference to `body`. Values are parsed and otherwise unchecked. Raises `NotJson` for what is no JSON and
    `BadJson` where an object or an array was expected, when it is reached.
    """
    text = _Text(body)
    del body
    try:
        text.expect("{")
        if not text.take("}"):
            while True:
                key: str = text.string()
                text.expect(":")
                if key in arrays:
                    for value in _elements(text):
                        yield key, value
                else:
                    yield key, text.value()
                if text.take("}"):
                    break
                text.expect(",")
        text.end()
    except (ValueError, RecursionError) as error:
        raise NotJson(f"Not JSON: {error}") from None


def _elements(text: _Text) -> Iterator[Any]:
    if not text.take("["):
        raise BadJson("An array was expected")
    if text.take("]"):
        return
    while True:
        yield from text.run()
        yield text.value()
        if text.take("]"):
            return
        text.expect(",")


class _Text:
    """A window on the text, one character a byte whatever it holds, that moves on as it is taken."""

    __slots__ = ("_at", "_body", "_next", "_window")

    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)
        self._next = 0
        self._window = ""
        self._at = 0

    def _more(self, size: int) -> bool:
        """Take up to `size` further bytes into the window and let go of what was taken; tell whether there were any."""
        if self._next >= len(self._body):
            return False
        added = str(self._body[self._next : self._next + size], "latin-1")
        self._window = self._window[self._at :] + added
        self._next += size
        self._at = 0
        return True

    def _skip(self) -> int:
        if len(self._window) - self._at < _MARGIN:
            self._more(_WINDOW)
        while True:
            if self._window[self._at : self._at + 1] in _SPACES:
                match = _SPACE.match(self._window, self._at)
                if match is not None:
                    self._at = match.end()
            if self._at < len(self._window) or not self._more(_WINDOW):
                return self._at

    def take(self, character: str) -> bool:
        """Pass over a character if it comes next; tell whether it did."""
        at = self._skip()
        found = self._window[at : at + 1] == character
        self._at += found
        return found

    def expect(self, character: str) -> None:
        """Pass over a character that must come next."""
        if not self.take(character):
            raise NotJson(f"Not JSON: {character} was expected")

    def string(self) -> Any:
        """Return the text that must come next."""
        self._skip()
        if self._window[self._at : self._at + 1] != '"':
            raise NotJson("Not JSON: a text was expected")
        return self.value()

    def run(self) -> Iterator[Any]:
        """Yield the objects of a list that come next for as long as each is usual: not large, and another right behind it, which is left to come next."""
        while True:
            start = self._skip()
            if not self._window.startswith("{", start):
                return
            # Where one object seems to end and the next to begin. If they do not, what lies before is no JSON.
            end = self._window.find(_BETWEEN, start, start + _USUAL) + 1
            try:
                value = orjson.loads(self._window[start:end].encode("latin-1"))
            except orjson.JSONDecodeError:
                return
            self._at = end + 1
            yield value

    def value(self) -> Any:
        """Return whatever value comes next."""
        size = _WINDOW
        while True:
            start = self._skip()
            match = _PLAIN.match(self._window, start)
            try:
                end = _scan(self._window, start)[1] if match is None else match.end()
            except (ValueError, StopIteration):
                end = -1
            # What ends with the window may go on behind it.
            if 0 <= end < len(self._window) or not self._more(size):
                break
            size *= 2
        if end < 0:
            raise NotJson("Not JSON: a value was expected")
        self._at = end
        return orjson.loads(self._window[start:end].encode("latin-1"))

    def end(self) -> None:
        """Make sure that nothing is left."""
        if self._skip() != len(self._window):
            raise NotJson("Not JSON: something follows the object")
