"""Requests to other servers, signed.

    answer = await ctx.outbound.federation.get(server, path("/_matrix/federation/v1/make_join", room_id, user_id), {"ver": [...]})

Every method returns the decoded answer or raises a `RemoteError`: `Unreachable` if there is none, `Refused` for an error of theirs.

Source: server-server API, "Request Authentication".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from conduit.protocol.canonical_json import dump, loads
from conduit.protocol.errors import BadJson, MatrixError, NotJson
from conduit.protocol.ids import ServerName, is_server_name
from conduit.protocol.signing import SigningKey
from conduit.service.outbound.backoff import Backoff
from conduit.service.outbound.errors import Refused, Unreachable
from conduit.service.outbound.policy import ServerPolicy
from conduit.service.outbound.turns import Turns
from conduit.service.outbound.wire import Wire, WireAnswer, WireStream

Json = dict[str, Any]
Query = Mapping[str, str | Sequence[str]]

SECONDS = 60.0
MAX_ANSWER = 10 * 1024 * 1024
"""Bytes that an answer may have unless its caller says otherwise."""
LARGE = 256 * 1024
"""From how many bytes on an answer is taken apart beside the loop; no error is that long."""
MOST_TO_ONE = 25
"""Requests under way to one server, or to those of one owner."""
_TOO_MANY = 429
_WELL = frozenset({"M_NOT_YET_UPLOADED", "M_TOO_LARGE"})
"""Errors that come with a status of 500 or more from a server that is well."""


def path(base: str, *segments: str) -> str:
    """Return `base` with `segments` appended, each percent-encoded: `path("/_matrix/federation/v1/event", event_id)`."""
    return "/".join([base, *(quote(segment, safe="") for segment in segments)])


def signed_bytes(method: str, target: str, origin: str, destination: str | None, content: bytes | None) -> bytes:
    """Return what the signature of a request covers, in canonical form; `content` is the canonical form of its body."""
    head = b'{"content":' + content + b"," if content is not None else b"{"
    if destination is not None:
        head += b'"destination":' + orjson.dumps(destination) + b","
    rest = orjson.dumps({"method": method, "origin": origin, "uri": target})
    return head + rest[1:]


class FederationClient:
    """The way to ask other servers. At most `max_requests` are under way at a time."""

    path = staticmethod(path)

    def __init__(
        self,
        *,
        server_name: str,
        signing_key: Callable[[], SigningKey],
        wire: Wire,
        backoff: Backoff,
        policy: ServerPolicy,
        max_requests: int = 100,
    ) -> None:
        self._server_name = server_name
        self._signing_key = signing_key
        self._wire = wire
        self._backoff = backoff
        self._policy = policy
        most = max(1, min(MOST_TO_ONE, max_requests // 4))
        # Whoever answers slowly takes a part of all places, not all.
        self._turns = Turns(max_requests, of_room=max_requests, of_household=most, of_server=most)

    async def get(
        self,
        server: str,
        target: str,
        query: Query | None = None,
        *,
        seconds: float = SECONDS,
        max_bytes: int = MAX_ANSWER,
        now: bool = False,
        signed: bool = True,
    ) -> Json:
        """Return the answer to a GET. With `now` a server is asked even if it has failed just before."""
        answer = await self.exchange(
            "GET", server, _with_query(target, query), seconds=seconds, max_bytes=max_bytes, now=now, signed=signed
        )
        return await _parsed(server, answer.body)

    async def put(
        self,
        server: str,
        target: str,
        body: Json | bytes,
        query: Query | None = None,
        *,
        seconds: float = SECONDS,
        max_bytes: int = MAX_ANSWER,
        now: bool = False,
    ) -> Json:
        """Return the answer to a PUT. A body of bytes is canonical JSON."""
        target = _with_query(target, query)
        answer = await self.exchange("PUT", server, target, body, seconds=seconds, max_bytes=max_bytes, now=now)
        return await _parsed(server, answer.body)

    async def post(
        self,
        server: str,
        target: str,
        body: Json | bytes,
        query: Query | None = None,
        *,
        seconds: float = SECONDS,
        max_bytes: int = MAX_ANSWER,
        now: bool = False,
    ) -> Json:
        """Return the answer to a POST. A body of bytes is canonical JSON."""
        target = _with_query(target, query)
        answer = await self.exchange("POST", server, target, body, seconds=seconds, max_bytes=max_bytes, now=now)
        return await _parsed(server, answer.body)

    async def exchange(
        self,
        method: str,
        server: str,
        target: str,
        body: Json | bytes | None = None,
        *,
        seconds: float = SECONDS,
        max_bytes: int = MAX_ANSWER,
        now: bool = False,
        signed: bool = True,
        fault: Callable[[WireAnswer], str | None] = lambda answer: None,
    ) -> WireAnswer:
        """Return a good answer (2xx) as bytes: for large ones, which the caller parses piece by piece. `target` holds the query.

        An answer for which `fault` gives a reason counts as none: the server fails.
        """
        self._check(server, now)
        content = dump(body) if isinstance(body, dict) else body
        headers = self._headers(method, server, target, content, signed)
        async with self._turns.place(None, ServerName(server)):
            try:
                answer = await self._wire.exchange(
                    server, method, target, headers, content, seconds=seconds, max_bytes=max_bytes
                )
            except Unreachable as error:
                self._backoff.failed(server, error.reason)
                raise
        reason = fault(answer)
        if reason is not None:
            self._backoff.failed(server, reason, asked_ms=self._asked_pause(answer.status, answer.headers))
            raise Unreachable(server, reason)
        if 200 <= answer.status < 300:
            self._backoff.succeeded(server)
            return answer
        raise self._refusal(server, answer.status, answer.headers, answer.body)

    @asynccontextmanager
    async def stream(
        self,
        server: str,
        target: str,
        query: Query | None = None,
        *,
        seconds: float = SECONDS,
        max_bytes: int,
        now: bool = False,
    ) -> AsyncIterator[WireStream]:
        """Return the beginning of a good answer to a GET, whose body is still to be read. `seconds` bounds each pause in it."""
        self._check(server, now)
        target = _with_query(target, query)
        headers = self._headers("GET", server, target, None, True)
        async with AsyncExitStack() as stack:
            # A long body takes no place: what bounds those is whoever asks for them.
            async with self._turns.place(None, ServerName(server)):
                try:
                    answer = await stack.enter_async_context(
                        self._wire.stream(server, "GET", target, headers, seconds=seconds, max_bytes=max_bytes)
                    )
                except Unreachable as error:
                    self._backoff.failed(server, error.reason)
                    raise
            if not 200 <= answer.status < 400:
                body = b""
                async for piece in answer.pieces:
                    body += piece
                    if len(body) > MAX_ANSWER:
                        break
                raise self._refusal(server, answer.status, answer.headers, body)
            self._backoff.succeeded(server)
            yield answer

    def _check(self, server: str, now: bool) -> None:
        if not is_server_name(server):
            raise Unreachable(server, "this is no server name")
        if server == self._server_name:
            raise Unreachable(server, "this is the server itself")
        refusal = self._policy.refusal(server)
        if refusal is not None:
            raise Unreachable(server, refusal)
        if not now and not self._backoff.may_try(server):
            raise Unreachable(server, "it did not answer a moment ago")

    def _headers(self, method: str, server: str, target: str, content: bytes | None, signed: bool) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if signed:
            headers["Authorization"] = self.authorization(method, server, target, content)
        return headers

    def authorization(self, method: str, server: str, target: str, content: bytes | None) -> str:
        """Return the header that proves a request to be of this server; `content` is canonical JSON. For who is asked by other means."""
        key = self._signing_key()
        signature = key.sign(signed_bytes(method, target, self._server_name, server, content))
        return f'X-Matrix origin="{self._server_name}",destination="{server}",key="{key.key_id}",sig="{signature}"'

    def _asked_pause(self, status: int, headers: Mapping[str, str]) -> int | None:
        """Return the pause (ms) that an answer asks for, `None` if it asks for none that is understood."""
        wanted = headers.get("retry-after", "").strip()
        if status != _TOO_MANY or not wanted:
            return None
        if wanted.isascii() and wanted.isdigit():
            return int(wanted[:9]) * 1000
        try:
            return int(parsedate_to_datetime(wanted).timestamp() * 1000) - self._backoff.now_ms()
        except (ValueError, OverflowError):
            return None

    def _refusal(self, server: str, status: int, headers: Mapping[str, str], body: bytes) -> Refused | Unreachable:
        try:
            decoded = loads(body, strict=False) if len(body) <= LARGE else None
        except MatrixError:
            decoded = None
        fields = decoded if isinstance(decoded, dict) else {}
        if (status >= 500 and fields.get("errcode") not in _WELL) or status < 400 or status == _TOO_MANY:
            reason = f"it answered {status}"
            self._backoff.failed(server, reason, asked_ms=self._asked_pause(status, headers))
            return Unreachable(server, reason)
        self._backoff.succeeded(server)
        return Refused(server, status, fields)


def _with_query(target: str, query: Query | None) -> str:
    return f"{target}?{urlencode(query, doseq=True)}" if query else target


async def _parsed(server: str, body: bytes) -> Json:
    # A large answer is looked at beside the loop.
    return await asyncio.to_thread(parse, server, body) if len(body) > LARGE else parse(server, body)


def parse(server: str, body: bytes) -> Json:
    """Return the JSON object that an answer holds; raises `Unreachable` for anything else. Events in it are not checked."""
    try:
        value = loads(body, strict=False)
    except (NotJson, BadJson) as error:
        raise Unreachable(server, f"its answer is not understood: {error.error}") from None
    if not isinstance(value, dict):
        raise Unreachable(server, "its answer is no JSON object")
    return value
