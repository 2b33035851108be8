"""Where requests come in: TCP, TLS and Unix sockets, and how they end.

The HTTP itself (parsing, keep-alive, pipelining) is aiohttp's low-level server, without its application, router and middlewares.
"""

from __future__ import annotations

import asyncio
import os
import socket as _socket
import ssl
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from conduit.api import at_once, replies
from conduit.api.app import App
from conduit.api.limits import address_key
from conduit.api.remote import peer_address
from conduit.api.web import Reply
from conduit.config.schema import Listener
from conduit.protocol.errors import BadRequest, MatrixError, TooLarge

log = structlog.get_logger(__name__)

KEEPALIVE_SECONDS = 75
"""Longer than reverse proxies keep their end (nginx: 60 s), so that they never send into a closing connection."""
MAX_LINE = 64 * 1024
"""Of a request line: `?filter=` may hold a whole filter."""
MAX_HEADER = 16 * 1024
BACKLOG = 1024
_USER_TIMEOUT: int | None = getattr(_socket, "TCP_USER_TIMEOUT", None)
UNREAD_MS = 180_000
"""How long the other end of a connection may leave unread what was sent."""
MAX_CONNECTIONS = 1024
"""Of one address, but for proxies: each takes some twenty kilobytes, whether or not anything comes through it. A house full of people has a few hundred."""


class CannotListen(Exception):
    """An address cannot be bound, or a certificate not be loaded; the message is for the operator."""


_INNARDS = (
    "_buffer_paused",
    "_keepalive_handle",
    "_messages",
    "_next_keepalive_close_time",
    "_parser",
    "_payload_parser",
    "_reading_paused",
    "_waiter",
)
_KNOWS_INNARDS = hasattr(HttpRequestParser, "message_consumed") and all(
    hasattr(RequestHandler, name) for name in _INNARDS
)
"""Whether the HTTP library is made as `_Connection` thinks; where not, every request goes the long way."""


class _Addresses:
    """How many connections each address has open."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._told: set[str] = set()
        """Those of whom the log says that they want too many."""

    def enter(self, address: str) -> bool:
        """Count a connection; tell whether it may stay. `leave` follows either way."""
        self._open[address] += 1
        if self._open[address] <= MAX_CONNECTIONS:
            return True
        if address not in self._told:
            self._told.add(address)
            hint = "if this is a reverse proxy, name it in trusted_proxies"
            log.warning("too_many_connections", address=address, hint=hint)
        return False

    def leave(self, address: str) -> None:
        """Count a connection no longer."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]
            self._told.discard(address)


class _Connection(RequestHandler):
    """One connection. Unlike aiohttp's own it answers errors below HTTP as Matrix does, and ends only what may be ended."""

    __slots__ = ("_addresses", "_app", "_from", "cancellable")

    def __init__(self, manager: web.Server, app: App, addresses: _Addresses, **options: Any) -> None:
        super().__init__(manager, **options)
        self._app = app
        self._addresses = addresses
        self._from = ""
        """The address in whose name the connection is counted; empty if it is not."""
        self.cancellable: asyncio.Task[Any] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve, unless its address has too many connections already."""
        peer = peer_address(transport.get_extra_info("peername"))
        if not self._app.proxies.has(peer):
            self._from = address_key(peer)
            if not self._addresses.enter(self._from):
                assert isinstance(transport, asyncio.Transport)
                transport.abort()
                return
            _set_patience(transport)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take what has come; answer at once what can be, where nothing else is under way on this connection."""
        waiter = self._waiter if _KNOWS_INNARDS else None
        if waiter is None or waiter.done() or self._messages or self._payload_parser is not None:
            super().data_received(data)
            return
        # The connection's task waits for a request: it is not told of one that has its answer already.
        self._waiter = None
        try:
            super().data_received(data)
        finally:
            self._waiter = waiter
        if len(self._messages) == 1 and self._answered_at_once():
            return
        if self._messages and not waiter.done():
            waiter.set_result(None)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on reading where it was paused. The library asks for it after each piece of a body, which costs a turn of its parser."""
        if not _KNOWS_INNARDS or self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    def _answered_at_once(self) -> bool:
        message, payload = self._messages[0]
        transport = self.transport
        if not isinstance(message, RawRequestMessage) or payload is not EMPTY_PAYLOAD or message.should_close:
            return False
        if transport is None or self._parser is None or self._upgraded or self._paused:
            return False
        response = at_once.answer(self._app, message, peer_address(self.peername))
        if response is None:
            return False
        self._messages.popleft()
        self._parser.message_consumed()
        transport.write(response.packet())
        log.info("request", method=message.method, path=message.path.partition("?")[0], status=response.status)
        self._keepalive = True
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """End a handler that only reads; one that writes goes on."""
        task = self.cancellable
        if self._from:
            self._addresses.leave(self._from)
        super().connection_lost(exc)
        if task is not None:
            task.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to what is not HTTP."""
        if isinstance(exc, LineTooLong):
            error: MatrixError = TooLarge("The request line or a header is too long", status=414)
        else:
            error = BadRequest("Not a valid HTTP request", status=status)
            if status >= 500:
                log.error("connection_failed", exc_info=exc)
        response = replies.whole(Reply(error.body(), status=error.status))
        assert response is not None
        response.force_close()
        return response


class _Server(web.Server):
    def __init__(self, app: App, **options: Any) -> None:
        super().__init__(app.handle, **options)
        self._app = app
        self._addresses = _Addresses()

    def __call__(self) -> RequestHandler:
        return _Connection(self, self._app, self._addresses, loop=self._loop, **self._kwargs)


@dataclass(slots=True)
class Listening:
    """Open listeners; made by `start`. `addresses` are `host:port`, `[host]:port` or a socket's path, with a scheme."""

    app: App
    http: web.Server
    sockets: list[asyncio.AbstractServer] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    _tls: list[tuple[ssl.SSLContext, Listener]] = field(default_factory=list)

    def reload_certificates(self) -> None:
        """Read certificates and keys anew, for the connections to come. Raises `CannotListen` and keeps the old ones."""
        for context, listener in self._tls:
            _load_chain(_new_context(), listener)
            _load_chain(context, listener)

    async def stop(self, drain_seconds: float = 10.0) -> None:
        """Take no more connections, answer long polls at once and the rest within `drain_seconds`, then close."""
        for socket in self.sockets:
            socket.close()
        self.app.end_polls()
        self.http.pre_shutdown()
        await self.http.shutdown(drain_seconds)
        for socket in self.sockets:
            await socket.wait_closed()


async def start(app: App, listeners: Sequence[Listener]) -> Listening:
    """Open `listeners` and serve `app` on them. Raises `CannotListen`, and then leaves none open."""
    http = _Server(
        app,
        keepalive_timeout=KEEPALIVE_SECONDS,
        max_line_size=MAX_LINE,
        max_field_size=MAX_HEADER,
        auto_decompress=False,
        access_log=None,
    )
    listening = Listening(app, http)
    try:
        for listener in listeners:
            await _open(listening, listener)
    except BaseException:
        for socket in listening.sockets:
            socket.close()
        raise
    return listening


async def _open(listening: Listening, listener: Listener) -> None:
    loop = asyncio.get_running_loop()
    context = None
    if listener.certs is not None:
        context = _new_context()
        _load_chain(context, listener)
        listening._tls.append((context, listener))
    scheme = "http" if context is None else "https"
    try:
        if listener.path is not None:
            path = str(listener.path)
            socket: asyncio.AbstractServer = await loop.create_unix_server(
                listening.http, path, ssl=context, backlog=BACKLOG
            )
            os.chmod(path, int(listener.mode, 8))
            listening.addresses.append(f"{scheme}+unix:{path}")
        else:
            server = await loop.create_server(
                listening.http, listener.address, listener.port, ssl=context, backlog=BACKLOG
            )
            socket = server
            for bound in server.sockets:
                host, port = bound.getsockname()[:2]
                listening.addresses.append(
                    f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
                )
    except OSError as error:
        where = str(listener.path) if listener.path is not None else f"{listener.address} port {listener.port}"
        # The loop's own words name the address once more; the numbers of what cannot be resolved are not the system's.
        if error.errno and not isinstance(error, _socket.gaierror):
            why = os.strerror(error.errno)
        else:
            why = error.strerror or str(error)
        raise CannotListen(f"cannot listen on {where}: {why[:1].lower()}{why[1:]}") from error
    listening.sockets.append(socket)


def _set_patience(transport: asyncio.BaseTransport) -> None:
    """Have the kernel end a connection whose other end takes nothing of what is sent for long: the rest of it waits in memory."""
    opened = transport.get_extra_info("socket")
    if opened is not None and _USER_TIMEOUT is not None:
        opened.setsockopt(_socket.IPPROTO_TCP, _USER_TIMEOUT, UNREAD_MS)


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load_chain(context: ssl.SSLContext, listener: Listener) -> None:
    assert listener.certs is not None
    try:
        # Without a password the library would ask for it on the terminal, and everything would wait.
        context.load_cert_chain(listener.certs, listener.key, password="")
    except ssl.SSLError as error:
        why = (
            f"the key {listener.key} belongs to another"
            if error.reason == "KEY_VALUES_MISMATCH"
            else f"it or its key {listener.key} is no PEM file, or one with a password"
        )
        raise CannotListen(f"cannot use the certificate {listener.certs}: {why}") from error
    except OSError as error:
        raise CannotListen(
            f"cannot use the certificate {listener.certs} or its key: {error.strerror or error}"
        ) from error
