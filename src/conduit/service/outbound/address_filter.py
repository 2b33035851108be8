"""Which addresses outgoing requests may reach: not those of the machine itself, nor of the networks behind it.

Anybody can have this server send requests, by a server name, a well-known file, an SRV record, a redirect. So every address is checked
after its name was resolved, at the moment when the connection is opened. An IPv4 address is the same in whatever IPv6 form it comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network

# Prefixes whose addresses hold an IPv4 address in their last 32 bits: IPv4-compatible, IPv4-translated and NAT64.
_IN_THE_END = tuple(IPv6Network(text) for text in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48"))


class AddressFilter:
    """A list of ranges that are denied."""

    def __init__(self, ranges: Iterable[str]) -> None:
        networks = [ip_network(text, strict=False) for text in ranges]
        self._denied: dict[int, list[_Network]] = {
            4: [network for network in networks if network.version == 4],
            6: [network for network in networks if network.version == 6],
        }
        self.allows = lru_cache(4096)(self._allows)
        """`allows(address)` tells whether the textual address may be reached; what is no address may not."""

    def _allows(self, text: str) -> bool:
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return False
        return not any(form in network for form in _forms(address) for network in self._denied[form.version])


def _forms(address: _Address) -> Iterator[_Address]:
    yield address
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if any(address in network for network in _IN_THE_END):
        yield IPv4Address(int(address) & 0xFFFF_FFFF)


def is_address(host: str) -> bool:
    """Tell whether a URL's host is an address and not a name."""
    try:
        ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
