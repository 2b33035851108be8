"""Outgoing requests of any kind, against real servers on loopback."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from conduit.config.schema import PRIVATE_RANGES, GlobalProxy, Proxy
from conduit.service.outbound.errors import HttpDenied, HttpFailed
from tests.service.outbound.loopback import client, site, text
from tests.support.certificates import Authority

BOUNDS: Any = {"seconds": 10.0, "max_bytes": 1000}


async def test_answer_comes_back_whole() -> None:
    """Status, headers and body of a request with a body and headers of its own."""

    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        assert request.headers["User-Agent"].startswith("Conduit-py/")
        return web.Response(status=201, body=await request.read(), headers={"X-Got": request.headers["X-Sent"]})

    async with site(echo) as there, client() as http:
        got = await http.request("PUT", there.url + "/a%2Fb?c=%20d", body=b"1", headers={"X-Sent": "2"}, **BOUNDS)
        assert (got.status, got.body, got.headers["x-got"]) == (201, b"1", "2")
        assert there.seen[0].raw_path == "/a%2Fb?c=%20d"


@pytest.mark.parametrize("length", [True, False])
async def test_answer_that_is_too_large_is_given_up(length: bool) -> None:
    """Whether or not the length was announced, no more is read than allowed."""

    async def large(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        if length:
            response.content_length = 10_000_000
        await response.prepare(request)
        for _ in range(10_000):
            await response.write(b"x" * 1000)
        return response

    async with site(large) as there, client() as http:
        with pytest.raises(HttpFailed, match="large"):
            await http.request("GET", there.url, **BOUNDS)


async def test_answer_that_does_not_come_is_given_up() -> None:
    """A server that never answers, or that never ends, costs no more than the given time."""
    never = asyncio.Event()

    async def hang(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/drip":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"x")
        await never.wait()
        return web.Response()

    async with site(hang) as there, client() as http:
        for path in ("/", "/drip"):
            with pytest.raises(HttpFailed, match=r"no answer within 0\.2 seconds|broke off"):
                await http.request("GET", there.url + path, seconds=0.2, max_bytes=1000)
        never.set()


async def test_compressed_answers_are_not_expanded() -> None:
    """No few bytes turn into many: compression is not asked for, and not undone."""

    async def zipped(request: web.BaseRequest) -> web.StreamResponse:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=b"\x1f\x8b-bomb", headers={"Content-Encoding": "gzip"})

    async with site(zipped) as there, client() as http:
        assert (await http.request("GET", there.url, **BOUNDS)).body == b"\x1f\x8b-bomb"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_advisory_20_private_addresses_are_not_reached(host: str) -> None:
    """By an address, a name that resolves to one, or IPv6 that means one: no connection is opened."""
    async with site(text()) as there, client(denied=PRIVATE_RANGES) as http:
        with pytest.raises(HttpDenied, match="ip_range_denylist"):
            await http.request("GET", f"http://{host}:{there.port}/", **BOUNDS)
        assert there.seen == []
        answer = await http.request("GET", f"http://127.0.0.1:{there.port}/", filtered=False, **BOUNDS)
        assert answer.body == b"hello"


async def test_advisory_20_redirects_are_checked_too() -> None:
    """A redirect to a private address ends there, by whatever name."""

    async def redirect(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": request.query_string})

    async with (
        site(text("secret")) as inner,
        site(redirect) as outer,
        client(denied=("127.0.0.2/32", "::1/128")) as http,
    ):
        for target in ("127.0.0.2", "[::ffff:127.0.0.2]", "[::1]"):
            with pytest.raises(HttpDenied):
                await http.request("GET", f"{outer.url}/?http://{target}:{inner.port}/", redirects=3, **BOUNDS)
        assert inner.seen == []
        good = f"{outer.url}/?http://127.0.0.1:{inner.port}/"
        assert (await http.request("GET", good, redirects=3, **BOUNDS)).body == b"secret"


async def test_redirects_are_followed_only_as_far_as_asked() -> None:
    """Not at all by default, never in circles, and without what was meant for the first host."""

    async def again(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/end":
            assert "Authorization" not in request.headers
            return web.Response(text="end")
        target = "/end" if request.path == "/once" else "/again"
        return web.Response(status=307, headers={"Location": target})

    async with site(again) as there, client() as http:
        assert (await http.request("GET", there.url + "/once", **BOUNDS)).status == 307
        headers = {"Authorization": "secret"}
        got = await http.request("GET", there.url + "/once", headers=headers, redirects=1, **BOUNDS)
        assert got.body == b"end"
        assert (await http.request("GET", there.url, redirects=5, **BOUNDS)).status == 307
        assert len(there.seen) == 1 + 2 + 6
        assert (await http.request("POST", there.url + "/once", body=b"", redirects=5, **BOUNDS)).status == 307


async def test_certificates_are_verified(tmp_path: Path) -> None:
    """Only an authority that is known counts, and only for the names in the certificate."""
    authority = Authority.in_folder(tmp_path)
    async with site(text(), authority=authority) as there:
        async with client() as http:
            with pytest.raises(HttpFailed, match="certificate is not valid"):
                await http.request("GET", there.url, **BOUNDS)
        async with client(ca_file=authority.file) as http:
            assert (await http.request("GET", there.url, **BOUNDS)).body == b"hello"
            with pytest.raises(HttpFailed, match="certificate is not valid"):
                await http.request("GET", f"https://127.0.0.1:{there.port}", **BOUNDS)
            with pytest.raises(HttpFailed, match="certificate is not valid"):
                await http.request("GET", there.url, tls_name="other.test", **BOUNDS)


async def test_certificate_may_name_another_host_or_an_address(tmp_path: Path) -> None:
    """Who was found by an SRV record proves to be the name that was looked up."""
    authority = Authority.in_folder(tmp_path)
    names = ("matrix.test", "127.0.0.1")
    async with (
        site(text(), authority=authority, names=names, host="localhost") as there,
        client(ca_file=authority.file) as http,
    ):
        assert (await http.request("GET", there.url, tls_name="matrix.test", **BOUNDS)).status == 200
        # The same address under another name does not use the first one's connection.
        with pytest.raises(HttpFailed, match="certificate is not valid"):
            await http.request("GET", there.url, tls_name="other.test", **BOUNDS)
        url = f"https://127.0.0.1:{there.port}"
        assert (await http.request("GET", url, tls_name="127.0.0.1", **BOUNDS)).status == 200


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://no-such-host.invalid/", "cannot be resolved"),
        ("ftp://localhost/", "not valid"),
        ("http://", "not valid"),
        ("http://a b/", "not valid|resolved|understood"),
        ("http://localhost:99999/", "not valid|resolved|understood|connection"),
    ],
)
async def test_what_cannot_be_asked_says_why(url: str, reason: str) -> None:
    """Names without an address and URLs that are none."""
    async with client() as http:
        with pytest.raises(HttpFailed, match=reason):
            await http.request("GET", url, **BOUNDS)


async def test_port_where_nobody_listens_says_so() -> None:
    """The reason is the system's."""
    async with site(text()) as there:
        pass
    async with client() as http:
        with pytest.raises(HttpFailed, match="no connection: connection refused") as caught:
            await http.request("GET", there.url, **BOUNDS)
        assert not caught.value.connected


async def test_what_is_not_http_is_not_understood() -> None:
    """A server of another kind."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with client() as http:
        with pytest.raises(HttpFailed):
            await http.request("GET", f"http://127.0.0.1:{port}/", **BOUNDS)
    server.close()


async def test_proxy_gets_what_is_for_others(tmp_path: Path) -> None:
    """A plain request reaches the proxy with the whole URL, even if the proxy is in a denied network."""
    async with site(text("by proxy")) as proxy:
        rules = Proxy(global_=GlobalProxy(url=proxy.url))
        async with client(denied=PRIVATE_RANGES, proxy=rules) as http:
            got = await http.request("GET", "http://somewhere.test/x", **BOUNDS)
            assert got.body == b"by proxy"
            assert proxy.seen[0].raw_path == "http://somewhere.test/x"
            with pytest.raises(HttpDenied):
                await http.request("GET", "http://10.0.0.1/", **BOUNDS)


async def test_socks_proxy_resolves_the_name() -> None:
    """With socks5h the host's name goes to the proxy, as .onion needs it."""
    asked: list[bytes] = []

    async def socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        methods = (await reader.readexactly(2))[1]
        await reader.readexactly(methods)
        writer.write(b"\x05\x00")
        head = await reader.readexactly(5)
        assert head[:4] == b"\x05\x01\x00\x03"
        asked.append(await reader.readexactly(head[4] + 2))
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nonion")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(socks, "127.0.0.1", 0)
    url = f"socks5h://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with client(proxy=Proxy(global_=GlobalProxy(url=url)), denied=PRIVATE_RANGES) as http:
        got = await http.request("GET", "http://abc.onion/", **BOUNDS)
    assert (got.body, asked) == (b"onion", [b"abc.onion" + (80).to_bytes(2, "big")])
    server.close()


async def test_stream_gives_pieces_as_they_come() -> None:
    """The beginning is there before the end has been sent."""
    go_on = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await go_on.wait()
        await response.write(b"second")
        return response

    async with site(slow) as there, client() as http, http.stream("GET", there.url, **BOUNDS) as answer:
        pieces = aiter(answer.pieces)
        assert await anext(pieces) == b"first"
        go_on.set()
        assert await anext(pieces) == b"second"


async def test_closed_client_refuses() -> None:
    """While the server stops nothing goes out any more."""
    async with client() as http:
        await http.close()
        with pytest.raises(HttpFailed, match="stopping"):
            await http.request("GET", "http://localhost/", **BOUNDS)
