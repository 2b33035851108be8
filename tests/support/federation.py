"""Several homeservers in one process, and scripted ones, joined by a wire that a test can cut.

async with network("one.test", "two.test") as net:
    alice = await net["one.test"].register("alice")
    net.board.split(["one.test"], ["two.test"]); net.board.heal()

    peer = net.peer("evil.test")                # has a signing key, answers /_matrix/key/v2/server, everything else 404
    peer.on("GET", r"/_matrix/federation/v1/make_join/.*", {"room_version": "10", "event": {...}})
    await peer.put("one.test", "/_matrix/federation/v1/send/1", {...})       # a signed request; expect=200
    event = peer.event("10", "m.room.message", sender="@eve:evil.test", ...)
    peer.received                               # what it was asked
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import aiohttp
import orjson
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from conduit.api.replies import Whole
from conduit.protocol.canonical_json import dump
from conduit.protocol.pdu import Event, seal
from conduit.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from conduit.protocol.signing import SigningKey
from conduit.service.outbound.errors import Unreachable
from conduit.service.outbound.federation import signed_bytes
from conduit.service.outbound.wire import WireAnswer, WireStream
from tests.support.client import Expect, Response
from tests.support.clock import START_MS, ManualClock
from tests.support.contract import contract
from tests.support.homeserver import Homeserver, serve

Json = dict[str, Any]

GUARD_SECONDS = 30.0
"""Real time after which an exchange has hung."""


@dataclass
class Incoming:
    """A request as a server receives it."""

    origin: str
    """Who has sent it, by the wire; what the request says is in its headers."""
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The path as it was sent, without the query."""
        return self.target.partition("?")[0]

    @property
    def segments(self) -> list[str]:
        """The decoded segments of the path."""
        return [unquote(segment) for segment in self.path.split("/")[1:]]

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query parameters, in their order."""
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    def json(self) -> Any:
        """The decoded body."""
        return orjson.loads(self.body)


Endpoint = Callable[[Incoming], Awaitable[WireAnswer]]


class Switchboard:
    """Who reaches whom. Every request goes through here, is recorded and may be lost."""

    def __init__(self) -> None:
        self.requests: list[Incoming] = []
        """Everything that was delivered, with the destination's name in `deliveries` at the same place."""
        self.deliveries: list[str] = []
        self.on_exchange: Callable[[Incoming, str], None] = lambda incoming, server: None
        """Called before each delivery; may raise `Unreachable`."""
        self._endpoints: dict[str, Endpoint] = {}
        self._groups: list[frozenset[str]] = []
        self._cut: set[tuple[str, str]] = set()
        self._down: set[str] = set()
        self._lost: dict[tuple[str, str], int] = {}
        self._tasks: set[asyncio.Task[WireAnswer]] = set()

    def attach(self, server: str, endpoint: Endpoint) -> None:
        """Let `endpoint` answer for `server`."""
        self._endpoints[server] = endpoint

    def detach(self, server: str) -> None:
        """Let nobody answer for `server` any more."""
        self._endpoints.pop(server, None)

    def wire(self, origin: str) -> BoardWire:
        """Return the wire of one server."""
        return BoardWire(self, origin)

    def split(self, *groups: Iterable[str]) -> None:
        """Let servers reach only those of their own group; who is in none reaches everybody."""
        self._groups = [frozenset(group) for group in groups]

    def cut(self, one: str, other: str, *, both: bool = True) -> None:
        """Let `one` no longer reach `other`, nor, with `both`, the other way round."""
        self._cut |= {(one, other), (other, one)} if both else {(one, other)}

    def down(self, *servers: str) -> None:
        """Let nobody reach these servers, nor they anybody."""
        self._down |= set(servers)

    def lose_answers(self, origin: str, server: str, count: int = 1) -> None:
        """Deliver the next requests of `origin` to `server` and lose the answers."""
        self._lost[origin, server] = count

    def heal(self) -> None:
        """Let everybody reach everybody."""
        self._groups, self._cut, self._down, self._lost = [], set(), set(), {}

    def connected(self, one: str, other: str) -> bool:
        """Tell whether `one` reaches `other`."""
        if (one, other) in self._cut or {one, other} & self._down:
            return False
        first = next((group for group in self._groups if one in group), None)
        second = next((group for group in self._groups if other in group), None)
        return first is None or second is None or first is second

    async def deliver(self, server: str, incoming: Incoming) -> WireAnswer:
        """Return the answer of `server`; raises `Unreachable`. Who gives up waiting does not end what the server does."""
        endpoint = self._endpoints.get(server)
        if endpoint is None or not self.connected(incoming.origin, server):
            raise Unreachable(server, "it cannot be reached")
        self.on_exchange(incoming, server)
        self.requests.append(incoming)
        self.deliveries.append(server)
        task = asyncio.get_running_loop().create_task(_answered(endpoint, incoming))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout(GUARD_SECONDS):
                answer = await asyncio.shield(task)
        except TimeoutError:
            raise Unreachable(server, "it did not answer in time") from None
        lost = self._lost.get((incoming.origin, server), 0)
        if lost:
            self._lost[incoming.origin, server] = lost - 1
            raise Unreachable(server, "the answer was lost")
        if not self.connected(server, incoming.origin):
            raise Unreachable(server, "the connection broke")
        return answer

    async def close(self) -> None:
        """Wait for what is under way; what hangs, because a test has failed before it let it go on, is ended."""
        if self._tasks:
            _, hanging = await asyncio.wait(self._tasks, timeout=GUARD_SECONDS)
            for task in hanging:
                task.cancel()


async def _answered(endpoint: Endpoint, incoming: Incoming) -> WireAnswer:
    return await endpoint(incoming)


class BoardWire:
    """One server's end of a switchboard: a `Wire`."""

    def __init__(self, board: Switchboard, origin: str) -> None:
        self.board = board
        self.origin = origin

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
        answer = await self.board.deliver(server, Incoming(self.origin, method, target, headers, body or b""))
        if len(answer.body) > max_bytes:
            raise Unreachable(server, "its answer is too large")
        return answer

    @asynccontextmanager
    async def stream(
        self, server: str, method: str, target: str, headers: Mapping[str, str], *, seconds: float, max_bytes: int
    ) -> AsyncIterator[WireStream]:
        answer = await self.board.deliver(server, Incoming(self.origin, method, target, headers, b""))
        yield WireStream(answer.status, answer.headers, _pieces(server, answer.body, max_bytes))

    async def close(self) -> None:
        pass


async def _pieces(server: str, body: bytes, max_bytes: int) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 65_536):
        if at + 65_536 > max_bytes and len(body) > max_bytes:
            raise Unreachable(server, "its answer is too large")
        yield body[at : at + 65_536]


# --- homeservers on the board --------------------------------------------------------------------------------------


class _Collector(AbstractStreamWriter):
    """Takes what a server writes, in place of a connection."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.status = 0
        self.headers: CIMultiDict[str] = CIMultiDict()

    async def write(self, chunk: Any) -> None:
        self.written += chunk
        self.output_size = len(self.written)

    async def write_eof(self, chunk: bytes = b"") -> None:
        self.written += chunk

    async def drain(self) -> None:
        pass

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:
        pass

    def enable_chunking(self) -> None:
        pass

    async def write_headers(self, status_line: str, headers: CIMultiDict[str]) -> None:
        self.status = int(status_line.split(" ")[1])
        self.headers = CIMultiDict(headers)


class _Connection:
    """What the web layer asks of a connection."""

    peername = ("127.0.0.1", 1)
    sockname = ("127.0.0.1", 2)
    transport = None
    ssl_context = None
    cancellable: Any = None
    _request_handler: Any = None

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    @property
    def writer(self) -> None:
        return None


def endpoint_of(server: Homeserver) -> Endpoint:
    """Return what answers for a homeserver on a switchboard: its web application, without a socket."""

    async def answer(incoming: Incoming) -> WireAnswer:
        if server._running is None:
            raise Unreachable(server.server_name, "it is not running")
        request, collector = _request(incoming)
        response = await server.app.handle(request)
        if isinstance(response, Whole):
            await response.prepare(request)
            head, _, body = bytes(collector.written).partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")[1:]
            headers = CIMultiDict((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
            got = WireAnswer(response.status, headers, body)
        else:
            got = WireAnswer(response.status, CIMultiDict(response.headers), bytes(collector.written))
        _judge(server, incoming, got)
        return got

    return answer


def _request(incoming: Incoming) -> tuple[web.BaseRequest, _Collector]:
    loop = asyncio.get_running_loop()
    headers = CIMultiDict(incoming.headers)
    if incoming.body:
        headers["Content-Length"] = str(len(incoming.body))
    headers.setdefault("Host", "board")
    message = RawRequestMessage(
        incoming.method,
        incoming.target,
        aiohttp.HttpVersion11,
        CIMultiDictProxy(headers),
        tuple((name.encode(), value.encode()) for name, value in headers.items()),
        False,
        None,
        False,
        False,
        URL(incoming.target, encoded=True),
    )
    connection: Any = _Connection()
    payload = aiohttp.StreamReader(_Protocol(loop=loop), 2**20, loop=loop)
    if incoming.body:
        payload.feed_data(incoming.body)
    payload.feed_eof()
    collector = _Collector()
    task: Any = asyncio.current_task()
    return web.BaseRequest(message, payload, connection, collector, task, loop), collector


class _Protocol(aiohttp.base_protocol.BaseProtocol):
    """A flow control that never stops anybody."""

    def pause_reading(self) -> None:
        pass

    def resume_reading(self, resume_parser: bool = True) -> None:
        pass


def _judge(server: Homeserver, incoming: Incoming, got: WireAnswer) -> None:
    if got.status == 500:
        raise AssertionError(f"{incoming.method} {incoming.target} -> 500 {got.body!r}") from server.last_bug
    judge = contract()
    if judge is not None and got.headers.get("Content-Type") == "application/json":
        judge.check(incoming.method, incoming.target, got.status, orjson.loads(got.body))


# --- scripted servers ----------------------------------------------------------------------------------------------

Script = Json | list[Any] | WireAnswer | tuple[int, Any] | Callable[[Incoming], Any]


class Peer:
    """A server whose every answer is a script. It signs well unless told otherwise."""

    def __init__(self, name: str, board: Switchboard, clock: ManualClock | None = None) -> None:
        self.name = name
        self.board = board
        self.clock = clock
        self.key = SigningKey(hashlib.sha256(name.encode()).digest(), "peer")
        self.old_keys: Json = {}
        """`old_verify_keys` of its key object."""
        self.valid_until_ts = START_MS + 10 * 24 * 3_600_000
        self.received: list[Incoming] = []
        """Every request but those for its keys."""
        self._scripts: list[tuple[str, re.Pattern[str], Script]] = []
        self._count = 0
        board.attach(name, self._answer)

    # --- answering

    def on(self, method: str, pattern: str, answer: Script) -> None:
        """Answer requests whose path (still encoded) matches with an object, `(status, object)`, a `WireAnswer`, or what a function of the request returns.

        What was said last goes first.
        """
        self._scripts.insert(0, (method, re.compile(pattern), answer))

    def key_document(self) -> Json:
        """Return the key object that it publishes."""
        return self.key.sign_json(
            {
                "server_name": self.name,
                "verify_keys": {self.key.key_id: {"key": self.key.public_key}},
                "old_verify_keys": self.old_keys,
                "valid_until_ts": self.valid_until_ts,
            },
            self.name,
        )

    async def _answer(self, incoming: Incoming) -> WireAnswer:
        for method, pattern, script in self._scripts:
            if method == incoming.method and pattern.fullmatch(incoming.path):
                self.received.append(incoming)
                answer = script(incoming) if callable(script) else script
                if inspect.isawaitable(answer):
                    answer = await answer
                return _wire_answer(answer)
        if incoming.path == "/_matrix/key/v2/server":
            return _wire_answer(self.key_document())
        self.received.append(incoming)
        return _wire_answer((404, {"errcode": "M_UNRECOGNIZED", "error": "Not scripted"}))

    # --- asking

    async def request(
        self, server: str, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Return the answer of a homeserver to a signed request; `headers` replace what it would send."""
        content = None if body is None else dump(body)
        sent = {"Authorization": self.authorization(server, method, target, content)}
        if content is not None:
            sent["Content-Type"] = "application/json"
        incoming = Incoming(self.name, method, target, {**sent, **(headers or {})}, content or b"")
        answer = await self.board.deliver(server, incoming)
        return Response(answer.status, answer.headers, answer.body)

    def authorization(self, server: str | None, method: str, target: str, content: bytes | None) -> str:
        """Return the header that signs a request."""
        signature = self.key.sign(signed_bytes(method, target, self.name, server, content))
        destination = "" if server is None else f'destination="{server}",'
        return f'X-Matrix origin="{self.name}",{destination}key="{self.key.key_id}",sig="{signature}"'

    async def ask(self, server: str, method: str, target: str, body: Any = None, expect: Expect = 200) -> Any:
        """Return the decoded answer, which has the expected status or error code."""
        response = await self.request(server, method, target, body)
        decoded = response.json() if response.body else {}
        got: Expect = decoded.get("errcode", response.status) if isinstance(expect, str) else response.status
        if got != expect:
            raise AssertionError(f"{method} {target}: expected {expect}, got {response.status} {decoded}")
        return decoded

    async def get(self, server: str, target: str, expect: Expect = 200) -> Any:
        """GET, signed."""
        return await self.ask(server, "GET", target, None, expect)

    async def put(self, server: str, target: str, body: Any = None, expect: Expect = 200) -> Any:
        """PUT, signed."""
        return await self.ask(server, "PUT", target, {} if body is None else body, expect)

    async def post(self, server: str, target: str, body: Any = None, expect: Expect = 200) -> Any:
        """POST, signed."""
        return await self.ask(server, "POST", target, {} if body is None else body, expect)

    async def send(self, server: str, pdus: Iterable[Event | Json] = (), edus: Iterable[Json] = ()) -> Json:
        """Send a transaction and return its answer."""
        self._count += 1
        body = {
            "origin": self.name,
            "origin_server_ts": START_MS if self.clock is None else self.clock.now_ms(),
            "pdus": [pdu.pdu if isinstance(pdu, Event) else pdu for pdu in pdus],
            "edus": list(edus),
        }
        answer: Json = await self.put(server, f"/_matrix/federation/v1/send/txn{self._count}", body)
        return answer

    # --- events

    def event(
        self,
        version: str | RoomVersion,
        kind: str,
        *,
        sender: str,
        content: Json,
        room_id: str | None = None,
        prev: Iterable[Event] = (),
        auth: Iterable[Event] = (),
        depth: int | None = None,
        key: SigningKey | None = None,
        **more: Any,
    ) -> Event:
        """Return an event of any room version, hashed and signed; `more` are further keys, such as `state_key` or `redacts`."""
        rules = ROOM_VERSIONS[version] if isinstance(version, str) else version
        prev, auth = list(prev), list(auth)
        now = START_MS if self.clock is None else self.clock.now_ms()
        pdu: Json = {
            "type": kind,
            "sender": sender,
            "content": content,
            "room_id": room_id,
            "prev_events": [event.reference() for event in prev],
            "auth_events": [event.reference() for event in auth],
            "depth": 1 + max((event.depth for event in prev), default=0) if depth is None else depth,
            "origin_server_ts": now,
            **more,
        }
        if room_id is None:
            del pdu["room_id"]
        if not rules.event_ids_are_hashes:
            self._count += 1
            pdu.setdefault("event_id", f"$peer{self._count}:{self.name}")
        return seal(pdu, rules, self.name, key or self.key)


def _wire_answer(answer: Any) -> WireAnswer:
    if isinstance(answer, WireAnswer):
        return answer
    status, body = answer if isinstance(answer, tuple) else (200, answer)
    return WireAnswer(status, CIMultiDict({"Content-Type": "application/json"}), orjson.dumps(body))


# --- networks ------------------------------------------------------------------------------------------------------


@dataclass
class Network:
    """Homeservers that reach each other. `net["one.test"]` is one of them."""

    board: Switchboard
    clock: ManualClock
    servers: dict[str, Homeserver] = field(default_factory=dict)
    peers: dict[str, Peer] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Homeserver:
        return self.servers[name]

    def __iter__(self) -> Iterable[Homeserver]:
        return iter(self.servers.values())

    def peer(self, name: str) -> Peer:
        """Return the scripted server of that name, made now if there is none."""
        if name not in self.peers:
            self.peers[name] = Peer(name, self.board, self.clock)
        return self.peers[name]


@asynccontextmanager
async def network(*names: str, clock: ManualClock | None = None, **settings: Any) -> AsyncIterator[Network]:
    """Run homeservers of these names, on one clock and one switchboard. `settings` are those of `serve`, for all of them."""
    net = Network(Switchboard(), clock or ManualClock())
    settings.setdefault("allow_federation", True)
    settings.setdefault("trusted_servers", ())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(net.board.close)
        for name in names:
            server = await stack.enter_async_context(
                serve(server_name=name, clock=net.clock, wire=net.board.wire(name), **settings)
            )
            net.servers[name] = server
            net.board.attach(name, endpoint_of(server))
        yield net
