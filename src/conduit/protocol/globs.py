"""Glob-style matching that no pattern can make slow.

Patterns are written by users, so they never become regular expressions with repetition: between its stars a pattern is
a row of pieces of fixed length, and taking the leftmost place for each in turn finds a match if there is one.

Source: appendices, "Glob-style matching".
"""

from __future__ import annotations

import re


class Glob:
    """A pattern in which `*` stands for any text and `?` for exactly one character. Case counts."""

    __slots__ = ("_head", "_literal", "_middle", "_tail", "pattern")

    def __init__(self, pattern: str) -> None:
        """Take a pattern apart; every string is one."""
        self.pattern = pattern
        first, *rest = pattern.split("*")
        self._literal = not rest
        self._head = first
        self._tail = rest[-1] if rest else ""
        # A run of stars says no more than one.
        self._middle = tuple(_compile(piece) for piece in rest[:-1] if piece)

    def __repr__(self) -> str:
        return f"Glob({self.pattern!r})"

    def matches(self, text: str) -> bool:
        """Tell whether the whole of `text` has the form of the pattern."""
        head, tail = self._head, self._tail
        if self._literal:
            return len(text) == len(head) and _is_at(head, text, 0)
        end = len(text) - len(tail)
        if end < len(head) or not _is_at(head, text, 0) or not _is_at(tail, text, end):
            return False
        start = len(head)
        for piece in self._middle:
            if isinstance(piece, str):
                found = text.find(piece, start, end)
                if found < 0:
                    return False
                start = found + len(piece)
            else:
                match = piece.search(text, start, end)
                if match is None:
                    return False
                start = match.end()
        return True


def glob_matches(pattern: str, text: str) -> bool:
    """Tell whether the whole of `text` has the form of `pattern`, upper and lower case being the same."""
    return Glob(pattern.lower()).matches(text.lower())


def _is_at(piece: str, text: str, start: int) -> bool:
    if "?" not in piece:
        return text.startswith(piece, start)
    return all(wanted in ("?", text[start + offset]) for offset, wanted in enumerate(piece))


def _compile(piece: str) -> str | re.Pattern[str]:
    if "?" not in piece:
        return piece
    return re.compile(re.escape(piece).replace(r"\?", "."), re.DOTALL)
