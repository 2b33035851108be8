"""Third-party identifiers: what names a person outside of Matrix, as a mail address does.

Source: appendices, "3PID Types".
"""

from __future__ import annotations

from typing import NamedTuple

from conduit.protocol.errors import InvalidParam

MAX_ADDRESS = 500
"""Characters; RFC 5321 allows a mail address about half of that."""
MAX_MEDIUM = 64


class ThreePid(NamedTuple):
    """A third-party identifier in its canonical form, in which equal ones are the same text."""

    medium: str
    address: str


def canonical(medium: str, address: str) -> ThreePid:
    """Return the canonical form: mail addresses case-folded, phone numbers without the plus. Raises `InvalidParam` for what is none."""
    if not 0 < len(medium) <= MAX_MEDIUM or not 0 < len(address) <= MAX_ADDRESS:
        raise InvalidParam("The third-party identifier is empty or too long")
    if medium == "email":
        address = address.strip().casefold()
        user, _, domain = address.rpartition("@")
        if not user or not domain:
            raise InvalidParam("This is no mail address")
    elif medium == "msisdn":
        address = address.removeprefix("+")
        if not (address.isascii() and address.isdigit()):
            raise InvalidParam("This is no phone number with its country code")
    if any(character.isspace() for character in medium + address):
        # The parts of a look-up are put together with spaces.
        raise InvalidParam("A third-party identifier holds no spaces")
    return ThreePid(medium, address)
