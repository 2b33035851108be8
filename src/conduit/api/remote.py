"""Whose address a request comes from, and whether it certainly comes from this machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

_PROXY_HEADERS = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Proto", "Via")
_LOOPBACK_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE | re.ASCII)


def _parse(text: str) -> Address | None:
    text = text.strip()
    # "[2001:db8::1]:4711" and "192.0.2.1:4711" are seen too.
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class Proxies:
    """The reverse proxies whose word on the client's address is taken (`trusted_proxies`)."""

    def __init__(self, ranges: Iterable[str]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(text, strict=False) for text in ranges]

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks if network.version == address.version)

    def has(self, peer: str) -> bool:
        """Tell whether a connection's other end is such a proxy, or a Unix socket."""
        address = _parse(peer)
        return not peer or (address is not None and self._trusts(address))

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the client's address. `peer` is the connection's, or empty for a Unix socket, which counts as trusted.

        `forwarded` are all lines of `X-Forwarded-For`: some proxies add to the line they received, others add a line.
        They are read from the end, for as long as the address so far is one of a trusted proxy: what stands before that can
        be made up by anybody.
        """
        if not forwarded:
            return peer
        address = _parse(peer) if peer else None
        if address is None and peer:
            return peer
        for part in reversed(",".join(forwarded).split(",")):
            if address is not None and not self._trusts(address):
                break
            before = _parse(part)
            if before is None:
                break
            address = before
        return str(address) if address is not None else peer


def peer_address(name: object) -> str:
    """Return the address in what a socket says its other end is; empty for a Unix socket."""
    return str(name[0]) if isinstance(name, tuple | list) and name else ""


def is_local(peer: str, headers: Mapping[str, str]) -> bool:
    """Tell whether the client runs on this machine and meant it.

    The connection must come over loopback without any trace of a proxy, and the `Host` must be a loopback name too: behind a
    proxy that adds no header, or after DNS rebinding in a browser, it is the public name.
    """
    address = _parse(peer) if peer else None
    if address is None or not address.is_loopback:
        return False
    if any(name in headers for name in _PROXY_HEADERS):
        return False
    return _LOOPBACK_HOST.fullmatch(headers.get("Host", "")) is not None
