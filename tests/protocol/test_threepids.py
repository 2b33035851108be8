"""Third-party identifiers in their canonical form."""

from __future__ import annotations

import pytest

from conduit.protocol.errors import InvalidParam
from conduit.protocol.threepids import canonical


@pytest.mark.parametrize(
    ("medium", "address", "form"),
    [
        ("email", "Strauß@Example.com", "strauss@example.com"),
        ("email", " a@b@c.d ", "a@b@c.d"),
        ("msisdn", "+18005552067", "18005552067"),
        ("org.example.badge", "Seven", "Seven"),
    ],
)
def test_equal_identifiers_become_the_same_text(medium: str, address: str, form: str) -> None:
    """Mail addresses are case-folded, as the specification's example has it; what is not known stays as it is."""
    assert canonical(medium, address) == (medium, form)


@pytest.mark.parametrize(
    ("medium", "address"),
    [
        ("email", "nobody"),
        ("email", "@b.c"),
        ("email", "a@"),
        ("email", "a b@c.d"),
        ("email", "a@" + "b" * 500),
        ("msisdn", "0800-1"),
        ("msisdn", "٣"),
        ("", "a"),
        ("m" * 65, "a"),
        ("email", ""),
        ("x y", "a"),
    ],
)
def test_what_is_none_is_refused(medium: str, address: str) -> None:
    """Spaces above all: the parts of a look-up are put together with them."""
    with pytest.raises(InvalidParam):
        canonical(medium, address)
