"""Glob patterns that cost no more than their length times the text's, whoever wrote them.

`*` stands for any run of characters, `?` for exactly one. A glob translated into one regular expression backtracks for as long as a
hostile author likes; here the pieces between the stars are searched for one after the other, leftmost first, which is always right for
globs and never goes back.

Source: appendices, "glob-style matching"; client-server API, push rules, `event_match` on `content.body`.
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = "A-Za-z0-9_"


class Glob:
    """A compiled glob. With `words` it may match any part of a text that starts and ends at a word boundary, else the whole text."""

    __slots__ = ("_first", "_last", "_middle", "_words")

    def __init__(self, pattern: str, *, words: bool = False, ignore_case: bool = True) -> None:
        flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
        pieces = [re.escape(piece).replace(r"\?", ".") for piece in re.sub(r"\*+", "*", pattern).split("*")]
        before, after = (f"(?<![{_WORD}])", f"(?![{_WORD}])") if words else ("", "")
        self._words = words
        self._last: re.Pattern[str] | None = None
        self._middle: list[re.Pattern[str]] = []
        if len(pieces) == 1:
            self._first = re.compile(before + pieces[0] + after, flags)
            return
        first, *middle, last = pieces
        self._first = re.compile(before + first if first else "", flags)
        self._middle = [re.compile(piece, flags) for piece in middle]
        self._last = re.compile(last + after if last else "", flags)

    def matches(self, text: str) -> bool:
        """Tell whether `text` (or, with `words`, a part of it) fits the pattern."""
        if self._last is None:
            found = self._first.search(text) if self._words else self._first.fullmatch(text)
            return found is not None
        start = self._first.search(text) if self._words else self._first.match(text)
        if start is None:
            return False
        at = start.end()
        for piece in self._middle:
            found = piece.search(text, at)
            if found is None:
                return False
            at = found.end()
        if self._words or not self._last.pattern:
            return self._last.search(text, at) is not None
        # Every character of a piece stands for one of the text, so the last piece has one place where it could be.
        ending = len(text) - _width(self._last.pattern)
        return ending >= at and self._last.fullmatch(text, ending) is not None


@lru_cache(maxsize=4096)
def _width(pattern: str) -> int:
    """Return how many characters an escaped piece stands for."""
    return len(re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL))


@lru_cache(maxsize=4096)
def compile_glob(pattern: str, words: bool = False) -> Glob:
    """Return the compiled, case-insensitive form of a pattern; the most recent ones are kept."""
    return Glob(pattern, words=words)
