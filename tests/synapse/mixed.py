"""Servers of ours in this process and a Synapse outside of it, with a network between them that can be cut.

Ours reach each other by a switchboard; to and from Synapse they speak HTTPS.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, cast

from aiohttp import web

from conduit.api import listen
from conduit.api.app import App
from conduit.config.schema import Listener, Proxy
from conduit.service.outbound.address_filter import AddressFilter
from conduit.service.outbound.errors import Unreachable
from conduit.service.outbound.http import HttpClient
from conduit.service.outbound.https_wire import HttpsWire
from conduit.service.outbound.proxies import Proxies
from conduit.service.outbound.resolver import Resolver, look_up_srv
from conduit.service.outbound.wire import Wire, WireAnswer, WireStream
from tests.support.clock import ManualClock
from tests.support.federation import Switchboard, endpoint_of
from tests.support.homeserver import Homeserver, serve
from tests.support.synapse import Synapse, free_port

REST_SECONDS = 0.1
_MOST_AT_ONCE = 60.0
"""Synapse lives in real time; ours may be ahead of it, but not so far that keys end."""


class MixedWire:
    """The wire of one server of ours: the switchboard, or HTTPS to Synapse while the switchboard says that it is reached."""

    def __init__(self, board: Switchboard, name: str, outside: str, https: HttpsWire) -> None:
        self._board = board
        self._name = name
        self._outside = outside
        self._https = https
        self._inside: Wire = board.wire(name)

    def _wire_to(self, server: str) -> Wire:
        if server != self._outside:
            return self._inside
        if not self._board.connected(self._name, server):
            raise Unreachable(server, "it cannot be reached")
        return self._https

    async def exchange(
        self,
        server: str,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        seconds: float,
        max_bytes: int,
    ) -> WireAnswer:
        wire = self._wire_to(server)
        return await wire.exchange(server, method, target, headers, body, seconds=seconds, max_bytes=max_bytes)

    def stream(
        self, server: str, method: str, target: str, headers: Mapping[str, str], *, seconds: float, max_bytes: int
    ) -> AbstractAsyncContextManager[WireStream]:
        wire = self._wire_to(server)
        return wire.stream(server, method, target, headers, seconds=seconds, max_bytes=max_bytes)

    async def close(self) -> None:
        pass


class Gate:
    """What listens for Synapse in place of an `App`: answers nothing while the server is cut off from it. In all else it is the app."""

    def __init__(self, app: App, board: Switchboard, name: str, outside: str) -> None:
        self._app = app
        self._board = board
        self._names = name, outside

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, or break the connection."""
        if not self._board.connected(*self._names) and request.transport is not None:
            request.transport.abort()
        return await self._app.handle(request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)


class MixedField:
    """The field of a quarrel with Synapse."""

    def __init__(self, board: Switchboard, clock: ManualClock) -> None:
        self._board = board
        self._clock = clock

    def split(self, groups: list[list[str]]) -> None:
        """Let servers reach only those of their own group."""
        self._board.split(*groups)

    def heal(self) -> None:
        """Let everybody reach everybody."""
        self._board.heal()

    async def pass_time(self, seconds: float) -> None:
        """Move our clock."""
        await self._clock.advance(min(seconds, _MOST_AT_ONCE))

    async def rest(self) -> None:
        """Let Synapse work."""
        await asyncio.sleep(REST_SECONDS)


@asynccontextmanager
async def ours_beside(synapse: Synapse, count: int) -> AsyncIterator[tuple[list[Homeserver], MixedField]]:
    """Run servers of ours that reach Synapse and are reached by it."""
    board, clock = Switchboard(), ManualClock(int(time.time() * 1000))

    async def no_delegation(host: str) -> Any:
        raise AssertionError(f"{host} has a port in its name")

    resolver = Resolver(clock=clock, well_known=no_delegation, srv=look_up_srv)
    http = HttpClient(addresses=AddressFilter(()), proxies=Proxies(Proxy()), ca_file=synapse.authority.file)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(board.close)
        stack.push_async_callback(http.close)
        servers = []
        for _ in range(count):
            port = free_port(synapse.folder / "claims")
            name = f"127.0.0.1:{port}"
            certs, key = synapse.authority.issue(f"ours-{port}", "127.0.0.1")
            wire = MixedWire(board, name, synapse.server_name, HttpsWire(resolver=resolver, http=http))
            settings: dict[str, Any] = {"server_name": name, "allow_federation": True, "trusted_servers": ()}
            server = await stack.enter_async_context(serve(clock=clock, wire=wire, **settings))
            board.attach(name, endpoint_of(server))
            gate = cast(App, Gate(server.app, board, name, synapse.server_name))
            listening = await listen.start(gate, [Listener(port=port, certs=certs, key=key)])
            stack.push_async_callback(listening.stop, 1.0)
            servers.append(server)
        yield servers, MixedField(board, clock)
