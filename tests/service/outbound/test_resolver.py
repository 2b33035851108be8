"""Server discovery, step by step of the specification; the look-ups are scripted, the caches and steps are real."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from aiohttp import web

from conduit.config.schema import PRIVATE_RANGES
from conduit.service.outbound.errors import Unreachable
from conduit.service.outbound.resolver import (
    Delegation,
    Destination,
    Resolver,
    Srv,
    fetch_delegation,
    lifetime_of,
    split,
)
from tests.service.outbound.loopback import client, site, text
from tests.support.certificates import Authority
from tests.support.clock import START_MS, ManualClock

NOBODY = Delegation(None, "status 404")


class Names:
    """Scripted well-known files and SRV records, and a resolver that asks for them."""

    def __init__(self, clock: ManualClock) -> None:
        self.files: dict[str, Delegation] = {}
        self.records: dict[str, list[Srv] | OSError] = {}
        self.asked: list[str] = []
        self.resolver = Resolver(clock=clock, well_known=self._file, srv=self._srv)

    async def _file(self, host: str) -> Delegation:
        self.asked.append(host)
        return self.files.get(host, NOBODY)

    async def _srv(self, name: str) -> tuple[list[Srv], float]:
        self.asked.append(name)
        records = self.records.get(name, [])
        if isinstance(records, OSError):
            raise records
        return records, 600.0


@pytest.fixture
def names(clock: ManualClock) -> Names:
    """Names of which nothing is known."""
    return Names(clock)


def shape(destination: Destination) -> tuple[str, str, tuple[tuple[str, int], ...]]:
    """Return all but the words."""
    return destination.host_header, destination.tls_name, destination.endpoints


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        # 1. An IP literal, with a port or 8448.
        ("1.2.3.4", ("1.2.3.4", "1.2.3.4", (("1.2.3.4", 8448),))),
        ("1.2.3.4:5", ("1.2.3.4:5", "1.2.3.4", (("1.2.3.4", 5),))),
        ("[2a00::1]", ("[2a00::1]", "2a00::1", (("2a00::1", 8448),))),
        ("[2a00::1]:5", ("[2a00::1]:5", "2a00::1", (("2a00::1", 5),))),
        # 2. A host name with a port.
        ("a.test:5", ("a.test:5", "a.test", (("a.test", 5),))),
        # 6. Neither a well-known file nor SRV records.
        ("a.test", ("a.test", "a.test", (("a.test", 8448),))),
    ],
)
async def test_name_without_delegation(names: Names, server: str, expected: object) -> None:
    """Steps 1, 2 and 6."""
    assert shape(await names.resolver.resolve(server)) == expected
    assert bool(names.asked) is (server == "a.test")


@pytest.mark.parametrize(
    ("delegated", "expected"),
    [
        # 3.1. An IP literal.
        ("1.2.3.4", ("1.2.3.4", "1.2.3.4", (("1.2.3.4", 8448),))),
        ("[2a00::1]:5", ("[2a00::1]:5", "2a00::1", (("2a00::1", 5),))),
        # 3.2. A port.
        ("b.test:443", ("b.test:443", "b.test", (("b.test", 443),))),
        # 3.5. No SRV record.
        ("b.test", ("b.test", "b.test", (("b.test", 8448),))),
        # 3.3. SRV records: the certificate names the delegated host all the same.
        ("c.test", ("c.test", "c.test", (("srv.c.test", 7),))),
        # 3.4. SRV records under the old name.
        ("d.test", ("d.test", "d.test", (("srv.d.test", 8),))),
    ],
)
async def test_delegation_by_file(names: Names, delegated: str, expected: object) -> None:
    """Step 3, with all its parts."""
    names.files["a.test"] = Delegation(delegated)
    names.records["_matrix-fed._tcp.c.test"] = [Srv(0, 0, "srv.c.test", 7)]
    names.records["_matrix._tcp.c.test"] = [Srv(0, 0, "old.c.test", 7)]
    names.records["_matrix._tcp.d.test"] = [Srv(0, 0, "srv.d.test", 8)]
    assert shape(await names.resolver.resolve("a.test")) == expected
    assert "b.test" not in names.asked, "a delegated host's own file is not asked for"


@pytest.mark.parametrize("service", ["_matrix-fed._tcp", "_matrix._tcp"])
async def test_delegation_by_srv_record(names: Names, service: str) -> None:
    """Steps 4 and 5: hosts by priority, the name itself in the certificate and the Host header."""
    names.records[f"{service}.a.test"] = [Srv(20, 0, "last.test", 3), Srv(10, 100, "first.test", 1)]
    destination = await names.resolver.resolve("a.test")
    assert shape(destination) == ("a.test", "a.test", (("first.test", 1), ("last.test", 3)))
    assert service in destination.how


async def test_record_that_denies_the_service_is_heeded(names: Names) -> None:
    """The root as a target means that there is no server (RFC 2782)."""
    names.records["_matrix-fed._tcp.a.test"] = [Srv(0, 0, ".", 0)]
    with pytest.raises(Unreachable, match="no server"):
        await names.resolver.resolve("a.test")


async def test_name_servers_that_fail_leave_the_port(names: Names) -> None:
    """What cannot be looked up is tried where it would be without."""
    names.records["_matrix-fed._tcp.a.test"] = OSError("timeout")
    assert (await names.resolver.resolve("a.test")).endpoints == (("a.test", 8448),)


async def test_answers_are_kept(names: Names, clock: ManualClock) -> None:
    """A file for its lifetime, records for theirs, and failures ever longer up to an hour."""
    names.files["a.test"] = Delegation("b.test", lifetime=1000.0)
    for _ in range(3):
        await names.resolver.resolve("a.test")
    assert names.asked == ["a.test", "_matrix-fed._tcp.b.test", "_matrix._tcp.b.test"]
    clock.jump(601)
    await names.resolver.resolve("a.test")
    assert len(names.asked) == 5
    clock.jump(400)
    await names.resolver.resolve("a.test")
    assert names.asked.count("a.test") == 2
    times: list[int] = []
    names.asked.clear()
    for minute in range(300):
        clock.jump(60)
        await names.resolver.delegation("none.test")
        if len(names.asked) > len(times):
            times.append(minute)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps[:5] == [2, 4, 8, 16, 32]
    assert set(gaps[5:]) == {60}


async def test_file_holds_on_while_the_web_server_is_down(names: Names, clock: ManualClock) -> None:
    """For two days, unless the server says that there is no such file."""
    names.files["a.test"] = Delegation("b.test:1", lifetime=300.0)
    await names.resolver.resolve("a.test")
    names.files["a.test"] = Delegation(None, "no connection", answered=False)
    clock.jump(24 * 3600)
    assert (await names.resolver.resolve("a.test")).host_header == "b.test:1"
    clock.jump(25 * 3600)
    assert (await names.resolver.resolve("a.test")).host_header == "a.test"
    names.files["c.test"] = Delegation("b.test:1", lifetime=300.0)
    await names.resolver.resolve("c.test")
    names.files["c.test"] = NOBODY
    clock.jump(301)
    assert (await names.resolver.resolve("c.test")).host_header == "c.test"


async def test_records_are_looked_up_anew_after_a_failure(names: Names) -> None:
    """A server that has moved is found without waiting for the record's end."""
    names.files["a.test"] = Delegation("b.test")
    names.records["_matrix-fed._tcp.b.test"] = [Srv(0, 0, "old.test", 1)]
    await names.resolver.resolve("a.test")
    names.records["_matrix-fed._tcp.b.test"] = [Srv(0, 0, "new.test", 1)]
    assert (await names.resolver.resolve("a.test")).endpoints == (("old.test", 1),)
    names.resolver.forget_hosts("a.test")
    assert (await names.resolver.resolve("a.test")).endpoints == (("new.test", 1),)


def test_names_are_split() -> None:
    """Into host and port, brackets gone."""
    assert split("a.test") == ("a.test", None)
    assert split("a.test:1") == ("a.test", 1)
    assert split("[::1]") == ("::1", None)
    assert split("[::1]:1") == ("::1", 1)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 86_400),
        ({"Cache-Control": "public, max-age=3600"}, 3600),
        ({"Cache-Control": "MAX-AGE=1"}, 300),
        ({"Cache-Control": "max-age=99999999"}, 172_800),
        ({"Cache-Control": "s-maxage=5"}, 86_400),
        ({"Cache-Control": "no-store"}, 300),
        ({"Cache-Control": "no-cache, max-age=3600"}, 300),
        ({"Expires": "Tue, 14 Nov 2023 23:13:20 GMT"}, 3600),
        ({"Expires": "0"}, 300),
    ],
)
def test_lifetimes_follow_the_headers_within_bounds(headers: dict[str, str], seconds: float) -> None:
    """Five minutes to two days, a day if nothing is said."""
    assert lifetime_of(headers, START_MS) == seconds


@pytest.mark.parametrize(
    ("status", "body", "server"),
    [
        (200, '{"m.server": "b.test:443", "more": 1}', "b.test:443"),
        (404, '{"m.server": "b.test:443"}', None),
        (200, "[]", None),
        (200, "nonsense", None),
        (200, '{"m.server": "b.test/path"}', None),
        (200, '{"m.server": ""}', None),
        (200, '{"m.server": 1}', None),
        (200, "{}", None),
    ],
)
async def test_file_is_read(tmp_path: Path, status: int, body: str, server: str | None) -> None:
    """Over TLS; whatever is not a good file delegates to nobody."""
    authority = Authority.in_folder(tmp_path)
    async with (
        site(text(body, status=status), authority=authority) as there,
        client(ca_file=authority.file) as http,
    ):
        delegation = await fetch_delegation(http, there.host, now_ms=START_MS)
        assert delegation.server == server
        assert there.seen[0].raw_path == "/.well-known/matrix/server"


async def test_advisory_20_file_is_bounded_and_filtered(tmp_path: Path) -> None:
    """A huge file, one behind redirects without end, or one on a private address delegates to nobody."""
    authority = Authority.in_folder(tmp_path)

    async def hostile(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers["Host"].startswith("localhost"):
            return web.Response(text='{"m.server": "b.test"}' + " " * 100_000)
        return web.Response(status=302, headers={"Location": request.raw_path})

    async with site(hostile, authority=authority, names=("localhost", "127.0.0.1")) as there:
        async with client(ca_file=authority.file) as http:
            for host in (there.host, f"127.0.0.1:{there.port}"):
                assert (await fetch_delegation(http, host, now_ms=START_MS)).server is None
        seen = len(there.seen)
        async with client(ca_file=authority.file, denied=PRIVATE_RANGES) as http:
            delegation = await fetch_delegation(http, there.host, now_ms=START_MS)
        assert (delegation.server, delegation.answered) == (None, False)
        assert len(there.seen) == seen
