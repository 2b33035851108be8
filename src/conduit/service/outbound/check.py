"""Whether a server can be reached by others, step by step, in words: what `conduit check-federation` does.

The steps are those that every request takes: delegation, SRV records, addresses, TLS, keys, version. Each address is tried by itself, so that
one that is broken shows although another works.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from urllib.parse import quote

import orjson

from conduit.config.schema import Config
from conduit.protocol.ids import is_server_name
from conduit.service.outbound import advice
from conduit.service.outbound.address_filter import AddressFilter, is_address
from conduit.service.outbound.errors import HttpFailed, Unreachable
from conduit.service.outbound.http import HttpAnswer, HttpClient
from conduit.service.outbound.proxies import Proxies
from conduit.service.outbound.resolver import (
    WELL_KNOWN,
    Delegation,
    Destination,
    Resolver,
    Srv,
    SrvLookup,
    WellKnownLookup,
    fetch_delegation,
    look_up_srv,
    split,
)
from conduit.service.outbound.server_keys import BadKeys, read_document
from conduit.utils.clock import Clock, SystemClock

SECONDS = 20.0
MAX_BYTES = 256 * 1024
_SKEW_SECONDS = 60.0
_SOON_MS = 3_600_000


@dataclass(slots=True)
class _Report:
    say: Callable[[str], None]
    problems: int = 0

    def ok(self, text: str) -> None:
        self.say(f"  ok      {text}")

    def note(self, text: str) -> None:
        self.say(f"  note    {text}")

    def problem(self, text: str, remedy: str = "") -> None:
        self.problems += 1
        self.say(f"  PROBLEM {text}")
        if remedy:
            self.say(f"          to do: {remedy}")


async def check(
    config: Config,
    server: str | None,
    *,
    say: Callable[[str], None],
    clock: Clock | None = None,
    well_known: WellKnownLookup | None = None,
    srv: SrvLookup = look_up_srv,
) -> bool:
    """Return whether `server`, or the configured one if it is `None`, can be reached, and `say` line by line what was found.

    Tests hand in the look-ups.
    """
    clock = clock or SystemClock()
    own = server is None or server == config.server_name
    name = config.server_name if server is None else server
    report = _Report(say)
    say(f"{name}{' (this server)' if own else ''}:")
    if not is_server_name(name):
        report.problem("this is no server name")
        return False
    if not config.allow_federation:
        report.problem("allow_federation is false: this server talks with no other", "set it to true")
    http = HttpClient(
        # This server may well reach itself by an address that others do not.
        addresses=AddressFilter(() if own else config.ip_range_denylist),
        proxies=Proxies(config.proxy),
        ca_file=config.federation_ca_file,
    )
    try:
        resolver = Resolver(
            clock=clock,
            well_known=well_known or (lambda host: fetch_delegation(http, host, now_ms=clock.now_ms())),
            srv=partial(_told_srv, report, srv),
        )
        destination = await _discover(report, resolver, name)
        if destination is not None:
            if own:
                _compare(report, config, destination)
            await _reach(report, http, config, destination, name, clock)
    finally:
        await http.close()
    count = report.problems
    say(f"{name}: " + ("everything is as it should be" if not count else f"{count} problem{'s' if count > 1 else ''}"))
    return not count


async def _discover(report: _Report, resolver: Resolver, name: str) -> Destination | None:
    host, port = split(name)
    if not is_address(host) and port is None:
        _judge_delegation(report, host, await resolver.delegation(host))
    try:
        destination = await resolver.resolve(name)
    except Unreachable as error:
        report.problem(error.reason, "let the record name a host and a port, or remove it")
        return None
    report.ok(
        f"{destination.how}: requests go to "
        + ", ".join(f"{host} port {port}" for host, port in destination.endpoints)
        + f", the certificate must name {destination.tls_name}"
    )
    return destination


def _judge_delegation(report: _Report, host: str, delegation: Delegation) -> None:
    file = f"https://{host}{WELL_KNOWN}"
    if delegation.server is not None:
        report.ok(f"{file} delegates to {delegation.server}")
        return
    text = f"{file} delegates to nobody: {delegation.reason}"
    if delegation.is_broken:
        report.problem(
            text,
            f'let the web server of {host} pass /.well-known/matrix/ on to this server, or answer {{"m.server": "HOST:PORT"}}',
        )
    elif delegation.certificate_fault:
        report.problem(text, advice.on_certificate(delegation.certificate_fault, host))
    else:
        report.note(text)


async def _told_srv(report: _Report, look_up: SrvLookup, name: str) -> tuple[list[Srv], float]:
    """Look SRV records up; what the resolver takes for none, because it could not be told, is told here."""
    try:
        return await look_up(name)
    except OSError as error:
        report.note(f"SRV records {name} cannot be looked up: {error}")
        raise


def _compare(report: _Report, config: Config, destination: Destination) -> None:
    configured = config.well_known.server
    if configured is None:
        return
    host, _ = split(configured)
    if host != destination.tls_name:
        report.problem(
            f"well_known.server is {configured}, but others are led to {destination.host_header}",
            f"let the web server of {config.server_name} pass /.well-known/matrix/ on to this server",
        )


async def _reach(
    report: _Report, http: HttpClient, config: Config, destination: Destination, name: str, clock: Clock
) -> None:
    denied = AddressFilter(config.ip_range_denylist)
    reached = False
    for host, port in destination.endpoints:
        try:
            addresses = await _addresses(host, port)
        except OSError as error:
            report.problem(
                f"{host} cannot be resolved: {error.strerror or error}",
                f"give {host} an address record (A or AAAA), or let what leads there name another host",
            )
            continue
        for address in addresses:
            if not denied.allows(address):
                text = f"{address} lies in a range that servers do not call (ip_range_denylist)"
                if name == config.server_name:
                    report.note(text)
                else:
                    report.problem(text)
            reached |= await _try_address(report, http, destination, name, address, port, clock)
    if not reached:
        report.problem("no address leads to the server")


async def _addresses(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _try_address(
    report: _Report, http: HttpClient, destination: Destination, name: str, address: str, port: int, clock: Clock
) -> bool:
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

    async def get(path: str) -> HttpAnswer:
        return await http.request(
            "GET",
            f"https://{quote(where, safe='[]:.')}{path}",
            headers={"Host": destination.host_header},
            seconds=SECONDS,
            max_bytes=MAX_BYTES,
            tls_name=destination.tls_name,
        )

    try:
        answer = await get("/_matrix/key/v2/server")
    except HttpFailed as error:
        report.problem(f"{where}: {error.reason}", advice.on_failure(error, tls_name=destination.tls_name, port=port))
        return False
    report.ok(f"{where}: connected, the certificate is valid for {destination.tls_name}")
    _judge_time(report, where, answer, clock)
    if not _judge_keys(report, where, answer, name, clock.now_ms()):
        return False
    try:
        version = await get("/_matrix/federation/v1/version")
    except HttpFailed as error:
        report.problem(f"{where}: version: {error.reason}")
        return True
    _judge_version(report, where, version)
    return True


def _judge_time(report: _Report, where: str, answer: HttpAnswer, clock: Clock) -> None:
    try:
        theirs = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
    except (ValueError, TypeError):
        return
    skew = theirs - clock.now_ms() / 1000
    if abs(skew) > _SKEW_SECONDS:
        report.problem(
            f"{where}: its clock and this machine's differ by {abs(skew):.0f} seconds", "let both follow NTP"
        )


def _judge_keys(report: _Report, where: str, answer: HttpAnswer, name: str, now_ms: int) -> bool:
    if answer.status != 200:
        report.problem(
            f"{where}: /_matrix/key/v2/server answers {answer.status}: no Matrix server, or one without federation",
            "let the proxy there pass /_matrix/ on, and the server have allow_federation = true",
        )
        return False
    try:
        keys = read_document(orjson.loads(answer.body), name, now_ms=now_ms, ignored=())
    except orjson.JSONDecodeError:
        report.problem(
            f"{where}: its keys are no JSON: this is no Matrix server",
            "let the proxy there pass /_matrix/ on to the server",
        )
        return False
    except BadKeys as error:
        report.problem(
            f"{where}: its keys are not good: {error}",
            f"something else than the server of {name} answers: another server, or a cache on the way",
        )
        return False
    current = ", ".join(key_id for key_id, key in keys.keys.items() if key.current)
    if keys.valid_until < now_ms + _SOON_MS:
        report.problem(f"{where}: its keys ({current}) are valid for less than an hour, or no longer")
    else:
        report.ok(f"{where}: it signs with {current}")
    return True


def _judge_version(report: _Report, where: str, answer: HttpAnswer) -> None:
    try:
        server = orjson.loads(answer.body)["server"]
        report.ok(f"{where}: it runs {server['name']} {server['version']}")
    except (orjson.JSONDecodeError, KeyError, TypeError):
        report.problem(f"{where}: /_matrix/federation/v1/version answers {answer.status} without name and version")
