"""Which proxy a request goes through, as Conduit's rules say."""

from __future__ import annotations

import pytest

from conduit.config.schema import DomainProxy, GlobalProxy, Proxy
from conduit.service.outbound.proxies import Proxies


def test_no_proxy_is_used_by_default() -> None:
    """Requests go straight to where they belong."""
    assert Proxies(Proxy()).for_host("example.org") is None


def test_global_proxy_is_for_everything() -> None:
    """Whatever the host."""
    proxies = Proxies(Proxy(global_=GlobalProxy(url="socks5h://a:1")))
    assert proxies.for_host("example.org") == proxies.for_host("x.onion") == "socks5h://a:1"


@pytest.mark.parametrize(
    ("host", "used"),
    [
        ("ordinary.onion", True),
        ("matrix.myspecial.onion", True),
        ("MATRIX.MySpecial.onion.", True),
        ("hello.myspecial.clearnet.onion", False),
        ("special.clearnet.onion", True),
        ("onion", False),
        ("example.org", False),
    ],
)
def test_more_specific_rule_decides(host: str, used: bool) -> None:
    """The example of Conduit's documentation, and an exception from the exception."""
    rule = DomainProxy(
        url="socks5h://localhost:9050",
        include=("*.onion", "matrix.myspecial.onion", "special.clearnet.onion"),
        exclude=("*.clearnet.onion",),
    )
    assert (Proxies(Proxy(by_domain=(rule,))).for_host(host) is not None) is used


def test_empty_include_is_everything_but_what_is_excluded() -> None:
    """As in Conduit; and the first rule that fits is taken."""
    first = DomainProxy(url="http://first:1", exclude=("*.org", "*"))
    second = DomainProxy(url="http://second:1", exclude=("example.org",))
    third = DomainProxy(url="http://third:1")
    proxies = Proxies(Proxy(by_domain=(first, second, third)))
    assert proxies.for_host("a.org") == "http://second:1"
    assert proxies.for_host("example.org") == "http://third:1"
