"""Random text for access tokens, device ids, sessions and media ids, from the system's secure source."""

from __future__ import annotations

import secrets
import string
from functools import cache

ALPHANUMERIC = string.ascii_letters + string.digits
UPPERCASE = string.ascii_uppercase
TOKEN_LENGTH = 32
"""32 characters of 62 are 190 bits: nobody guesses one."""


@cache
def _map(alphabet: str) -> tuple[bytes, bytes]:
    """Return which character each byte stands for, and the bytes that stand for none: those that would favour some characters."""
    even = 256 - 256 % len(alphabet)
    return bytes(ord(alphabet[byte % len(alphabet)]) for byte in range(256)), bytes(range(even, 256))


def random_text(length: int, alphabet: str = ALPHANUMERIC) -> str:
    """Return `length` characters, each drawn from `alphabet` (of ASCII) with equal chance."""
    characters, uneven = _map(alphabet)
    text = b""
    while len(text) < length:
        # One call of the system for all of them, and as a rule no second.
        text += secrets.token_bytes(2 * length).translate(characters, uneven)
    return text[:length].decode("ascii")


def new_token() -> str:
    """Return a fresh secret of 32 letters and digits."""
    return random_text(TOKEN_LENGTH)
