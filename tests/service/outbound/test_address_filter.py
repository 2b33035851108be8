"""Which addresses may be reached."""

from __future__ import annotations

import pytest

from conduit.config.schema import PRIVATE_RANGES
from conduit.service.outbound.address_filter import AddressFilter, is_address

PRIVATE = AddressFilter(PRIVATE_RANGES)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001:81b::200e", "172.32.0.1"])
def test_public_addresses_are_reached(address: str) -> None:
    """The Internet."""
    assert PRIVATE.allows(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.1",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "224.0.0.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "2001:db8::1",
    ],
)
def test_private_addresses_are_not(address: str) -> None:
    """The machine, its networks, and what is no place at all."""
    assert not PRIVATE.allows(address)


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:127.0.0.1",
        "::ffff:a00:1",
        "::127.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::10.0.0.1",
        "2002:7f00:1::",
        "2002:c0a8:1::1",
        "2001:0:a00:1::",
    ],
)
def test_advisory_20_ipv4_in_ipv6_is_the_same_address(address: str) -> None:
    """Mapped, compatible, translated, NAT64, 6to4 and Teredo forms of private addresses are private."""
    ranges = [text for text in PRIVATE_RANGES if ":" not in text]
    assert not AddressFilter(ranges).allows(address)


@pytest.mark.parametrize("address", ["", "localhost", "127.1", "0x7f000001", "2130706433", "1.2.3.4.5", "[::1]"])
def test_what_is_no_address_is_not_reached(address: str) -> None:
    """Other spellings of addresses are none."""
    assert not PRIVATE.allows(address)


def test_empty_list_denies_nothing() -> None:
    """An operator may open everything, for a network of tests."""
    assert AddressFilter(()).allows("127.0.0.1")


def test_hosts_of_urls_are_told_apart() -> None:
    """Addresses, with brackets or without, are not names."""
    assert is_address("127.0.0.1")
    assert is_address("[::1]")
    assert is_address("::1")
    assert not is_address("localhost")
    assert not is_address("1.2.3")
