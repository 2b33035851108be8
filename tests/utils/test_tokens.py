"""Random text."""

from __future__ import annotations

from collections import Counter

import pytest

from conduit.utils import tokens
from conduit.utils.tokens import ALPHANUMERIC, UPPERCASE, new_token, random_text


def test_a_token_has_32_letters_and_digits() -> None:
    """A token is long and goes into a header as it is."""
    token = new_token()
    assert len(token) == 32
    assert set(token) <= set(ALPHANUMERIC)


def test_tokens_differ() -> None:
    """No two tokens are alike."""
    assert len({new_token() for _ in range(500)}) == 500


def test_the_alphabet_can_be_chosen() -> None:
    """Device ids are capitals."""
    assert set(random_text(200, UPPERCASE)) <= set(UPPERCASE)
    assert random_text(0) == ""


@pytest.mark.parametrize("alphabet", [ALPHANUMERIC, UPPERCASE, "ab", "a"])
def test_every_character_has_the_same_chance(alphabet: str) -> None:
    """No character is favoured by how bytes are told off among them: each stands for as many bytes as any other."""
    characters, left_out = tokens._map(alphabet)
    shares = Counter(chr(characters[byte]) for byte in range(256) if byte not in left_out)
    assert set(shares) == set(alphabet)
    assert len(set(shares.values())) == 1
    assert len(left_out) < len(alphabet)
    assert len(random_text(500, alphabet)) == 500
