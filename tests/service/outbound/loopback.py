"""Small HTTP servers on loopback that answer what a test wants, with certificates of an authority of their own."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from conduit.config.schema import Proxy
from conduit.service.outbound.address_filter import AddressFilter
from conduit.service.outbound.http import HttpClient
from conduit.service.outbound.proxies import Proxies
from tests.support.certificates import Authority

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Site:
    """A running server; `url` has no slash at its end."""

    def __init__(self, port: int, scheme: str, name: str) -> None:
        self.port = port
        self.host = f"{name}:{port}"
        self.url = f"{scheme}://{self.host}"
        self.seen: list[web.BaseRequest] = []


@asynccontextmanager
async def site(
    handler: Handler,
    *,
    authority: Authority | None = None,
    names: tuple[str, ...] = ("localhost",),
    host: str = "",
    **certificate: Any,
) -> AsyncIterator[Site]:
    """Run a server on 127.0.0.1: with TLS if there is an authority, its certificate for `names` and otherwise as `Authority.issue` is told; URLs name it `host`."""
    seen: list[web.BaseRequest] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request)
        return await handler(request)

    server = web.Server(answer)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    context = None
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("site", *names, **certificate))
    tcp = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await tcp.start()
    assert tcp._server is not None
    port = tcp._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    running = Site(port, "http" if authority is None else "https", host or names[0])
    running.seen = seen
    try:
        yield running
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client(
    *, denied: tuple[str, ...] = (), ca_file: Path | None = None, proxy: Proxy | None = None
) -> AsyncIterator[HttpClient]:
    """Make an HTTP client that is closed in the end."""
    http = HttpClient(addresses=AddressFilter(denied), proxies=Proxies(proxy or Proxy()), ca_file=ca_file)
    try:
        yield http
    finally:
        await http.close()


def text(body: str = "hello", **options: object) -> Handler:
    """Return a handler that answers always the same."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=body, **options)  # type: ignore[arg-type]

    return handler
