from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.protocol.glob import Glob
from conduit.protocol.server_acl import ServerAcl
from tests.protocol.test_canonical_json import JSON


@pytest.mark.parametrize(
    ("allow", "deny", "server", "allowed"),
    [
        (["*"], [], "one", True),
        ([], [], "one", False),
        (["*"], ["evil.com"], "evil.com", False),
        (["*"], ["evil.com"], "evil.com:8448", False),
        (["*"], ["evil.com"], "EVIL.com", False),
        (["*"], ["evil.com"], "notevil.com", True),
        (["*"], ["*.evil.com"], "a.b.evil.com", False),
        (["*"], ["*.evil.com"], "evil.com", True),
        (["*"], ["evil?.com"], "evil1.com", False),
        (["*"], ["evil?.com"], "evil.com", True),
        (["*.good.org", "one"], [], "x.good.org", True),
        (["*.good.org", "one"], [], "two", False),
        (["*"], ["[a-z]*"], "one", True),
        (["o*n*e"], [], "one", True),
        (["o*n*n*e"], [], "one", False),
    ],
)
def test_acl_decides_by_deny_then_allow(allow: list[str], deny: list[str], server: str, allowed: bool) -> None:
    """Globs over the whole name, without port, upper and lower case alike; whoever is not allowed is denied."""
    assert ServerAcl({"allow": allow, "deny": deny}).allows(server) is allowed


@pytest.mark.parametrize("server", ["1.2.3.4", "1.2.3.4:80", "[::1]", "[::1]:80"])
def test_acl_may_shut_out_addresses(server: str) -> None:
    """Only when allow_ip_literals is false itself; it counts as true where it is no boolean."""
    assert not ServerAcl({"allow": ["*"], "allow_ip_literals": False}).allows(server)
    for value in (True, None, "false", 0):
        assert ServerAcl({"allow": ["*"], "allow_ip_literals": value}).allows(server)
    assert ServerAcl({"allow": ["*"], "allow_ip_literals": False}).allows("1.2.3.4.example.org")


def test_acl_without_allow_denies_everybody() -> None:
    """The list defaults to empty."""
    assert not ServerAcl({}).allows("one")


@given(JSON)
def test_acl_of_any_shape_is_read(value: Any) -> None:
    """Entries that are no strings are passed over."""
    acl = ServerAcl({"allow": value, "deny": [value], "allow_ip_literals": value})
    assert acl.allows("one") in (True, False)


def test_acl_of_hostile_patterns_costs_little() -> None:
    """Patterns that make regular expressions explode take no time to speak of."""
    acl = ServerAcl({"allow": ["*a" * 100 + "*b", "?*" * 100 + "c"], "deny": ["*" * 10_000 + "x"]})
    started = time.process_time()
    assert not acl.allows("a" * 255)
    assert time.process_time() - started < 0.5


@given(st.text("ab*?.", max_size=8), st.text("ab.", max_size=8))
def test_entry_fits_what_the_glob_fits(pattern: str, host: str) -> None:
    """However it is told: entries are sorted by what can be told at once."""
    fits = Glob(pattern).matches(host)
    assert ServerAcl({"allow": [pattern]}).allows(host) == fits
    assert ServerAcl({"allow": ["*"], "deny": ["x", pattern.upper()]}).allows(host) != fits


def test_advisory_10_thousands_of_entries_are_not_compiled_for_a_server_that_they_do_not_concern() -> None:
    """Nor is one of thousands of pieces, which no name is long enough for."""
    parts = ["".join(letters) for letters in itertools.product("abcdefghij", repeat=3)]
    acl = ServerAcl({"allow": ["*"], "deny": [*(f"{part}?*{part}" for part in parts), "*".join(parts)]})
    assert acl.allows("matrix.example.org")
    assert not acl.allows("abc.x.abc")
    assert len(acl._deny._globs) == 1
