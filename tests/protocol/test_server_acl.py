from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given

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
