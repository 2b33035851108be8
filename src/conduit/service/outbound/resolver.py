"""From a server name to where its server listens, what to call it and whom its certificate must name.

The steps bear the specification's numbers. Names are resolved to addresses when the connection is made, where they are filtered too.

Source: server-server API, "Resolving server names".
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from conduit.protocol.ids import is_server_name
from conduit.service.outbound.address_filter import is_address
from conduit.service.outbound.errors import BadCertificate, HttpFailed, Unreachable
from conduit.service.outbound.http import HttpClient
from conduit.utils.clock import Clock

PORT = 8448
WELL_KNOWN = "/.well-known/matrix/server"
WELL_KNOWN_SECONDS = 15.0
WELL_KNOWN_BYTES = 50 * 1024
WELL_KNOWN_REDIRECTS = 5
DEFAULT_LIFETIME = 24 * 3600.0
LEAST_LIFETIME = 300.0
LONGEST_LIFETIME = 48 * 3600.0
FIRST_ERROR_LIFETIME = 120.0
"""Seconds until a failed well-known is asked for again; doubles up to `LONGEST_ERROR_LIFETIME`."""
LONGEST_ERROR_LIFETIME = 3600.0
SRV_SECONDS = 10.0
MAX_SRV = 8
"""Records that are looked at."""
MAX_CACHED = 20_000
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?([0-9]{1,12})", re.ASCII | re.IGNORECASE)
_NO_CACHE = re.compile(r"(?:^|[\s,])no-(?:store|cache)(?:$|[\s,;=])", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where and how to reach a server."""

    host_header: str
    tls_name: str
    """The host name or address that the certificate must name."""
    endpoints: tuple[tuple[str, int], ...]
    """Host (name or address) and port, to be tried in this order."""
    how: str = ""
    """How it was found, in words."""


@dataclass(frozen=True, slots=True)
class Delegation:
    """What a well-known file has said: the name to go on with, or `None` and why it does not count."""

    server: str | None
    reason: str = ""
    lifetime: float = DEFAULT_LIFETIME
    answered: bool = True
    """Whether the web server has answered, so that the file is certainly not there or not good."""
    is_broken: bool = False
    """Whether the file is there, but says nothing that can be followed."""
    certificate_fault: int = 0
    """OpenSSL's number for what is wrong with the web server's certificate, if anything is."""


@dataclass(frozen=True, slots=True)
class Srv:
    """One SRV record."""

    priority: int
    weight: int
    host: str
    port: int


WellKnownLookup = Callable[[str], Awaitable[Delegation]]
"""From a host to what its well-known file says; never fails."""
SrvLookup = Callable[[str], Awaitable[tuple[list[Srv], float]]]
"""From a name to its records (none if there are none) and how many seconds that holds. Raises `OSError` if it cannot be told."""


@dataclass(slots=True)
class _Cached:
    value: Any
    until: float
    failures: int = 0
    good_until: float = 0.0
    """Until when the value may stand in for one that cannot be had."""


class Resolver:
    """Server discovery, with its caches."""

    def __init__(self, *, clock: Clock, well_known: WellKnownLookup, srv: SrvLookup) -> None:
        self._clock = clock
        self._ask_file = well_known
        self._ask_srv = srv
        self._well_known: OrderedDict[str, _Cached] = OrderedDict()
        self._hosts: OrderedDict[str, _Cached] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Delegation]] = {}

    async def resolve(self, server: str) -> Destination:
        """Return where the server of that name is. Raises `Unreachable`."""
        host, port = split(server)
        # 1. If the hostname is an IP literal, that address with the given port, or 8448.
        if is_address(host):
            return _direct(server, host, port or PORT, "an address")
        # 2. If it is not, and the name includes a port, that host and port.
        if port is not None:
            return _direct(server, host, port, "a name with a port")
        # 3. A request is made to https://<hostname>/.well-known/matrix/server.
        delegation = await self.delegation(host)
        if delegation.server is None:
            # 4, 5, 6: SRV records of the name itself, then port 8448.
            return await self._by_srv(server, host, f"no delegation ({delegation.reason})")
        delegated, port = split(delegation.server)
        how = f"delegated to {delegation.server}"
        # 3.1. If the delegated hostname is an IP literal, that address and port, or 8448.
        if is_address(delegated):
            return _direct(delegation.server, delegated, port or PORT, how)
        # 3.2. If it is not, and a port is present, that host and port.
        if port is not None:
            return _direct(delegation.server, delegated, port, how)
        # 3.3, 3.4, 3.5: SRV records of the delegated name, then port 8448.
        return await self._by_srv(delegation.server, delegated, how)

    async def delegation(self, host: str) -> Delegation:
        """Return what the host's well-known file says, from the cache or asked for now; several who ask wait for one answer."""
        cached = self._well_known.get(host)
        if cached is not None and self._clock.monotonic() < cached.until:
            delegation: Delegation = cached.value
            return delegation
        task = self._asking.get(host)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(host))
            self._asking[host] = task
            task.add_done_callback(lambda _: self._asking.pop(host, None))
        return await asyncio.shield(task)

    async def _ask(self, host: str) -> Delegation:
        delegation = await self._ask_file(host)
        before = self._well_known.pop(host, None)
        now = self._clock.monotonic()
        if delegation.server is not None:
            until = now + delegation.lifetime
            _keep(self._well_known, host, _Cached(delegation, until, good_until=until + LONGEST_LIFETIME))
            return delegation
        failures = 0 if before is None else before.failures
        good_until = 0.0
        if before is not None and not delegation.answered and now < before.good_until:
            # A web server that is down moves nobody: what the file said last holds on for a while.
            delegation, good_until = before.value, before.good_until
        pause = min(FIRST_ERROR_LIFETIME * 2**failures, LONGEST_ERROR_LIFETIME)
        _keep(self._well_known, host, _Cached(delegation, now + pause, failures + 1, good_until))
        return delegation

    async def _by_srv(self, name: str, host: str, how: str) -> Destination:
        for service in ("_matrix-fed._tcp", "_matrix._tcp"):
            records = await self._records(f"{service}.{host}")
            if records:
                if any(record.host in ("", ".") for record in records):
                    raise Unreachable(name, f"its SRV record {service}.{host} says that there is no server")
                endpoints = tuple((record.host, record.port) for record in _in_order(records))
                return Destination(name, host, endpoints, f"{how}, SRV {service}.{host}")
        return Destination(name, host, ((host, PORT),), f"{how}, no SRV record")

    async def _records(self, name: str) -> list[Srv]:
        now = self._clock.monotonic()
        cached = self._hosts.get(name)
        if cached is not None and now < cached.until:
            records: list[Srv] = cached.value
            return records
        try:
            records, lifetime = await self._ask_srv(name)
        except OSError:
            # Not told is not "none", but without a record the port is all there is to try.
            records, lifetime = ([] if cached is None else cached.value), LEAST_LIFETIME
        records = records[:MAX_SRV]
        self._hosts.pop(name, None)
        _keep(self._hosts, name, _Cached(records, now + min(max(lifetime, 60.0), LONGEST_LIFETIME)))
        return records

    def forget_hosts(self, server: str) -> None:
        """Look SRV records up anew when the server is next asked: it could not be reached where they point."""
        host, _ = split(server)
        cached = self._well_known.get(host)
        if cached is not None and cached.value.server is not None:
            host, _ = split(cached.value.server)
        for service in ("_matrix-fed._tcp", "_matrix._tcp"):
            self._hosts.pop(f"{service}.{host}", None)


def split(server: str) -> tuple[str, int | None]:
    """Return host (without brackets) and port of a server name."""
    host, colon, port = server.rpartition(":")
    if not colon or server.endswith("]") or not port.isdigit():
        return server.strip("[]"), None
    return host.strip("[]"), int(port)


def _direct(host_header: str, host: str, port: int, how: str) -> Destination:
    return Destination(host_header, host, ((host, port),), how)


def _keep(cache: OrderedDict[str, _Cached], key: str, value: _Cached) -> None:
    cache[key] = value
    if len(cache) > MAX_CACHED:
        cache.popitem(last=False)


def _in_order(records: list[Srv]) -> list[Srv]:
    """Return the records by priority, those of one priority shuffled by weight."""
    return sorted(records, key=lambda record: (record.priority, -(random.random() ** (1 / max(record.weight, 0.01)))))


async def fetch_delegation(http: HttpClient, host: str, *, now_ms: int) -> Delegation:
    """Return what https://host/.well-known/matrix/server says now."""
    try:
        answer = await http.request(
            "GET",
            f"https://{host}{WELL_KNOWN}",
            headers={"Accept": "application/json"},
            seconds=WELL_KNOWN_SECONDS,
            max_bytes=WELL_KNOWN_BYTES,
            redirects=WELL_KNOWN_REDIRECTS,
        )
    except HttpFailed as error:
        fault = error.code if isinstance(error, BadCertificate) else 0
        return Delegation(None, error.reason, answered=False, certificate_fault=fault)
    if answer.status != 200:
        return Delegation(None, f"status {answer.status}", answered=answer.status < 500)
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        what = "a web page" if answer.body.lstrip().startswith(b"<") else "no JSON"
        return Delegation(None, f"the file is {what}", is_broken=True)
    server = document.get("m.server") if isinstance(document, dict) else None
    if not isinstance(server, str) or not is_server_name(server):
        return Delegation(None, "the file has no server name in m.server", is_broken=True)
    return Delegation(server, lifetime=lifetime_of(answer.headers, now_ms))


def lifetime_of(headers: Mapping[str, str], now_ms: int) -> float:
    """Return for how many seconds an answer may be kept, by its headers and within our bounds."""
    control = headers.get("Cache-Control", "")
    if _NO_CACHE.search(control):
        return LEAST_LIFETIME
    age = _MAX_AGE.search(control)
    lifetime = DEFAULT_LIFETIME
    if age is not None:
        lifetime = float(age[1])
    elif "Expires" in headers:
        try:
            lifetime = parsedate_to_datetime(headers["Expires"]).timestamp() - now_ms / 1000
        except (ValueError, TypeError, OverflowError):
            lifetime = 0.0
    return min(max(lifetime, LEAST_LIFETIME), LONGEST_LIFETIME)


async def look_up_srv(name: str) -> tuple[list[Srv], float]:
    """Ask the system's name servers for SRV records."""
    import dns.asyncresolver
    import dns.exception
    import dns.resolver

    try:
        answer = await dns.asyncresolver.resolve(name, "SRV", lifetime=SRV_SECONDS, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return [], LEAST_LIFETIME
    except (dns.exception.DNSException, OSError, ValueError, UnicodeError) as error:
        raise OSError(str(error)) from error
    records = [
        Srv(record.priority, record.weight, record.target.to_text(omit_final_dot=True), record.port)
        for record in answer
    ]
    return records, float(answer.rrset.ttl if answer.rrset is not None else LEAST_LIFETIME)
