"""Globs: what they match, and that they never take long."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.protocol.glob import Glob


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("lunc?*", "Lunch plans", True),
        ("lunc?*", "LUNCH", True),
        ("lunc?*", " lunch", False),
        ("lunc?*", "lunc", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*", "", True),
        ("", "", True),
        ("", "x", False),
        ("a.c", "abc", False),
        ("a\nb", "a\nb", True),
        ("*.evil.example", "a.evil.example", True),
        ("*.evil.example", "evil.example", False),
        ("**b*", "ab", True),
    ],
)
def test_glob_matches_the_whole_text(pattern: str, text: str, expected: bool) -> None:
    """`*` is any run, `?` one character, everything else itself, without regard to case."""
    assert Glob(pattern).matches(text) is expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("ex*ple", "An example event.", True),
        ("ex*ple", "exple", True),
        ("ex*ple", "An exciting triple-whammy", True),
        ("ex*ple", "xexample", False),
        ("cake", "pancakes", False),
        ("cake", "the CAKE!", True),
        ("cake", "the_cake", False),
        ("@room", "hey @room", True),
        ("a?c", "x abc y", True),
        ("*", "", True),
    ],
)
def test_glob_with_words_matches_between_boundaries(pattern: str, text: str, expected: bool) -> None:
    """The examples of the specification on `content.body`, and others."""
    assert Glob(pattern, words=True).matches(text) is expected


@given(st.text("ab*?.", max_size=8), st.text("ab.", max_size=12))
def test_glob_agrees_with_a_regular_expression(pattern: str, text: str) -> None:
    """The search piece by piece finds what backtracking would."""
    simple = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    assert Glob(pattern).matches(text) is (re.fullmatch(simple, text) is not None)
    assert Glob(pattern).matches(text) is fnmatch.fnmatchcase(text, pattern)
    words = f"(?<![A-Za-z0-9_]){simple}(?![A-Za-z0-9_])"
    assert Glob(pattern, words=True).matches(text) is (re.search(words, text) is not None)


def test_advisory_10_glob_of_many_stars_ends() -> None:
    """A pattern on which backtracking would take longer than anybody waits is decided at once."""
    assert not Glob("*a" * 60 + "b").matches("a" * 20_000)
    assert not Glob("*a" * 60 + "b", words=True).matches("a" * 20_000)
