"""Random text."""

from __future__ import annotations

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
