"""Whose address a request comes from."""

from __future__ import annotations

import pytest

from conduit.api.remote import Proxies, is_local

TRUSTED = Proxies(["127.0.0.0/8", "::1/128", "10.1.0.0/16"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("::1", "2001:db8::9", "2001:db8::9"),
        ("", "192.0.2.7", "192.0.2.7"),
        # Made up by the client in front of what the proxy appends.
        ("127.0.0.1", "1.1.1.1, 192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "127.0.0.1, 192.0.2.7", "192.0.2.7"),
        # Two proxies of our own.
        ("127.0.0.1", "192.0.2.7, 10.1.2.3", "192.0.2.7"),
        # A stranger's word is not taken.
        ("192.0.2.7", "1.1.1.1", "192.0.2.7"),
        ("127.0.0.1", "garbage", "127.0.0.1"),
        ("127.0.0.1", "1.1.1.1, garbage", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        # Ports, brackets, and IPv4 in IPv6 clothes.
        ("127.0.0.1", "192.0.2.7:4711", "192.0.2.7"),
        ("127.0.0.1", "[2001:db8::9]:4711", "2001:db8::9"),
        ("::ffff:127.0.0.1", "192.0.2.7", "192.0.2.7"),
    ],
)
def test_the_last_address_that_no_trusted_proxy_has_is_the_clients(
    peer: str, forwarded: str | None, client: str
) -> None:
    """`X-Forwarded-For` is believed exactly as far as trusted proxies wrote it."""
    assert TRUSTED.client(peer, [] if forwarded is None else [forwarded]) == client


def test_a_proxy_may_add_a_line_of_its_own() -> None:
    """What the client sent in the line before is not taken for the proxy's word."""
    assert TRUSTED.client("127.0.0.1", ["1.1.1.1", "192.0.2.7"]) == "192.0.2.7"
    assert TRUSTED.client("127.0.0.1", ["1.1.1.1, 2.2.2.2", "192.0.2.7, 10.1.2.3"]) == "192.0.2.7"


@pytest.mark.parametrize("host", ["localhost", "localhost:6167", "127.0.0.1:6167", "[::1]:6167", "LOCALHOST"])
@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "127.9.9.9"])
def test_a_direct_loopback_request_is_local(peer: str, host: str) -> None:
    """Somebody at this machine is recognised."""
    assert is_local(peer, {"Host": host})


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("192.0.2.7", {"Host": "localhost"}),
        ("", {"Host": "localhost"}),
        ("127.0.0.1", {}),
        ("127.0.0.1", {"Host": "matrix.example.org"}),
        ("127.0.0.1", {"Host": "localhost.example.org"}),
        ("127.0.0.1", {"Host": "127.0.0.1.example.org"}),
        ("127.0.0.1", {"Host": "[::1].example.org"}),
        ("127.0.0.1", {"Host": "localhost", "X-Forwarded-For": "192.0.2.7"}),
        ("127.0.0.1", {"Host": "localhost", "Forwarded": "for=192.0.2.7"}),
        ("127.0.0.1", {"Host": "localhost", "Via": "1.1 proxy"}),
        ("127.0.0.1", {"Host": "localhost", "X-Real-IP": "127.0.0.1"}),
    ],
)
def test_what_may_come_through_a_proxy_or_a_browser_is_not_local(peer: str, headers: dict[str, str]) -> None:
    """Neither a proxy on this machine nor a rebound host name makes a stranger local."""
    assert not is_local(peer, headers)
