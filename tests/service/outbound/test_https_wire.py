"""The real way to other servers: discovery, TLS and HTTP on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from conduit.config.schema import PRIVATE_RANGES, Listener
from conduit.service.outbound.errors import Unreachable
from conduit.service.outbound.https_wire import HttpsWire
from conduit.service.outbound.resolver import Delegation, Resolver, Srv, look_up_srv
from tests.service.outbound.loopback import client, site, text
from tests.support.certificates import Authority
from tests.support.clock import ManualClock
from tests.support.homeserver import serve


@asynccontextmanager
async def wire(
    authority: Authority, *, delegation: str | None = None, records: Sequence[Srv] = (), denied: tuple[str, ...] = ()
) -> AsyncIterator[HttpsWire]:
    """Make a wire that trusts the authority and finds what it is told."""

    async def well_known(host: str) -> Delegation:
        return Delegation(delegation, "status 404")

    async def srv(name: str) -> tuple[list[Srv], float]:
        return list(records) if name.startswith("_matrix-fed.") else [], 600.0

    async with client(ca_file=authority.file, denied=denied) as http:
        yield HttpsWire(resolver=Resolver(clock=ManualClock(), well_known=well_known, srv=srv), http=http)


async def ask(wire: HttpsWire, server: str, **bounds: int) -> bytes:
    """Return the body of a GET."""
    sizes: dict[str, Any] = {"max_bytes": 1000, **bounds}
    answer = await wire.exchange(server, "GET", "/x%2Fy?z=1", {}, None, seconds=10, **sizes)
    return answer.body


async def test_request_reaches_the_delegated_host_under_its_name(tmp_path: Path) -> None:
    """An SRV record's host is connected to, the delegated name is in SNI, certificate and Host header."""
    authority = Authority.in_folder(tmp_path)
    async with site(text(), authority=authority, names=("matrix.test",), host="localhost") as there:
        records = [Srv(0, 0, "localhost", there.port)]
        async with wire(authority, delegation="matrix.test", records=records) as way:
            assert await ask(way, "a.test") == b"hello"
        assert there.seen[0].headers["Host"] == "matrix.test"
        assert there.seen[0].raw_path == "/x%2Fy?z=1"
        async with wire(authority, delegation="other.test", records=records) as way:
            with pytest.raises(Unreachable, match="certificate"):
                await ask(way, "a.test")


async def test_next_host_is_tried_where_none_listens(tmp_path: Path) -> None:
    """The records of one service stand for each other, but nothing is sent twice."""
    authority = Authority.in_folder(tmp_path)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = closed.getsockname()[1]
    async with site(text(status=500), authority=authority, names=("a.test",), host="localhost") as there:
        records = [Srv(0, 0, "localhost", dead), Srv(1, 0, "localhost", there.port), Srv(2, 0, "localhost", dead)]
        async with wire(authority, records=records) as way:
            assert (await way.exchange("a.test", "GET", "/", {}, None, seconds=9, max_bytes=99)).status == 500
        assert len(there.seen) == 1
        async with wire(authority, records=records[:1]) as way:
            with pytest.raises(Unreachable, match="no connection"):
                await ask(way, "a.test")


@pytest.mark.parametrize("means", ["name", "literal", "delegation", "record"])
async def test_advisory_20_no_discovery_leads_to_a_private_address(tmp_path: Path, means: str) -> None:
    """By the server name itself, a well-known file or an SRV record: nothing is sent."""
    authority = Authority.in_folder(tmp_path)
    async with site(text(), authority=authority, names=("localhost", "127.0.0.1", "a.test")) as there:
        server = {"name": there.host, "literal": f"127.0.0.1:{there.port}"}.get(means, "a.test")
        delegation = f"[::ffff:127.0.0.1]:{there.port}" if means == "delegation" else None
        records = [Srv(0, 0, "localhost", there.port)] if means == "record" else []
        async with wire(authority, delegation=delegation, records=records, denied=PRIVATE_RANGES) as way:
            with pytest.raises(Unreachable, match="ip_range_denylist"):
                await ask(way, server)
        assert there.seen == []


async def test_answer_is_bounded(tmp_path: Path) -> None:
    """In whole and streamed."""
    authority = Authority.in_folder(tmp_path)
    async with site(text("x" * 2000), authority=authority) as there, wire(authority) as way:
        with pytest.raises(Unreachable, match="large"):
            await ask(way, there.host)
        assert len(await ask(way, there.host, max_bytes=2000)) == 2000
        async with way.stream(there.host, "GET", "/", {}, seconds=10, max_bytes=2000) as answer:
            assert b"".join([piece async for piece in answer.pieces]) == b"x" * 2000
        with pytest.raises(Unreachable, match="large"):
            async with way.stream(there.host, "GET", "/", {}, seconds=10, max_bytes=1999) as answer:
                pass


async def test_time_is_bounded_from_the_first_look_up_on(tmp_path: Path) -> None:
    """Name servers that do not answer take no longer than the request may."""
    never = asyncio.Event()

    async def silent(host: str) -> Delegation:
        await never.wait()
        return Delegation(None)

    async with client() as http:
        way = HttpsWire(resolver=Resolver(clock=ManualClock(), well_known=silent, srv=look_up_srv), http=http)
        with pytest.raises(Unreachable, match=r"no answer within 0\.05 seconds"):
            await way.exchange("a.test", "GET", "/", {}, None, seconds=0.05, max_bytes=10)
        with pytest.raises(Unreachable, match=r"not found within 0\.05 seconds"):
            async with way.stream("a.test", "GET", "/", {}, seconds=0.05, max_bytes=10):
                pass
    never.set()


async def test_stream_that_breaks_says_so(tmp_path: Path) -> None:
    """A connection that ends early is no end of the answer."""
    authority = Authority.in_folder(tmp_path)

    async def breaking(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 100
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with site(breaking, authority=authority) as there, wire(authority) as way:
        with pytest.raises(Unreachable):
            async with way.stream(there.host, "GET", "/", {}, seconds=10, max_bytes=1000) as answer:
                async for _ in answer.pieces:
                    pass


async def test_two_homeservers_talk_over_tls(tmp_path: Path) -> None:
    """From the configuration to a signed request and its verified origin, nothing replaced."""
    authority = Authority.in_folder(tmp_path)
    certs, key = authority.issue("both", "localhost", "127.0.0.1")
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    settings: dict[str, Any] = {
        "allow_federation": True,
        "trusted_servers": (),
        "ip_range_denylist": (),
        "federation_ca_file": authority.file,
    }

    def listener(port: int) -> tuple[Listener, ...]:
        return (Listener(port=port, certs=certs, key=key), Listener(port=0))

    async with (
        serve(server_name=f"localhost:{ports[0]}", listeners=listener(ports[0]), **settings) as one,
        serve(server_name=f"127.0.0.1:{ports[1]}", listeners=listener(ports[1]), **settings) as two,
    ):
        for asking, asked in ((one, two), (two, one)):
            federation, keyring = asking.ctx.outbound.federation, asking.ctx.outbound.keyring
            answer = await federation.get(asked.server_name, "/_matrix/federation/v1/version")
            assert answer["server"]["name"] == "Conduit-py"
            signed = asked.ctx.signing_key.sign_json({"a": 1}, asked.server_name)
            await keyring.verify_json(asked.server_name, signed, valid_at_ms=asking.clock.now_ms())
