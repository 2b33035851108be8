"""Random text for access tokens, device ids, sessions and media ids, from the system's secure source."""

from __future__ import annotations

import secrets
import string

ALPHANUMERIC = string.ascii_letters + string.digits
UPPERCASE = string.ascii_uppercase
TOKEN_LENGTH = 32
"""32 characters of 62 are 190 bits: nobody guesses one."""


def random_text(length: int, alphabet: str = ALPHANUMERIC) -> str:
    """Return `length` characters, each drawn from `alphabet` with equal chance."""
    return "".join(secrets.choice(alphabet) for _ in range(length))


def new_token() -> str:
    """Return a fresh secret of 32 letters and digits."""
    return random_text(TOKEN_LENGTH)
