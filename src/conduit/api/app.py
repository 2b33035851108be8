"""The life of a request: find the endpoint, ask who calls, charge the caller, read the body, run the handler, answer.

The order is deliberate. Nothing of a body is read before the caller is known to be allowed, and no answer leaves before all that it
may tell of is on disk (`db.durable`), whether this request wrote it or another.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections import Counter
from collections.abc import Callable, Iterable

import structlog
from aiohttp import web

from conduit.api import auth, body, replies
from conduit.api.dispatch import Endpoint, Match, Table
from conduit.api.errors import reply_for
from conduit.api.limits import Limit, Limits, address_key
from conduit.api.remote import Proxies
from conduit.api.request import Request
from conduit.api.web import Answer, Auth, Reply, Route
from conduit.api.x_matrix import Claim
from conduit.protocol.errors import BadRequest, LimitExceeded, MatrixError, Unknown, Unrecognized
from conduit.service.context import Context

log = structlog.get_logger(__name__)

MAX_ANONYMOUS_BODY = 128 * 1024
"""What an endpoint without a token reads at most: a login or a registration is far smaller."""
MAX_BODY = 8 * 1024 * 1024
"""The largest JSON body taken: key backups send some thousand keys at once."""
MAX_SERVER_BODY = 12 * 1024 * 1024
"""The largest body taken from another server: a transaction has 50 events of up to 64 KiB, and 100 EDUs."""
MAX_CLAIMED = 32
"""Bodies of servers, not verified yet, that are read from one address at a time."""
CLAIMED_SECONDS = 120
BYTES_A_REQUEST = 16 * 1024
"""So many bytes of another server's body count as one more request: the longer it is, the more it costs to take."""
_LARGE = 256 * 1024
_READS = frozenset({"GET", "HEAD"})


class App:
    """All endpoints over one `Context`. `handle` is what the HTTP server calls.

    `outages` are the exceptions of the floors below that mean no bug but that the server cannot, at the moment.
    """

    def __init__(
        self, ctx: Context, tables: Iterable[Iterable[Route]], *, outages: tuple[type[Exception], ...] = ()
    ) -> None:
        self.ctx = ctx
        self._outages = outages
        self.table = Table(tables)
        self.limits = Limits(ctx.config.rate_limits, ctx.clock)
        self.on_bug: Callable[[Exception], None] = lambda error: None
        """Told of every exception that became a 500."""
        self.stopping = False
        self.proxies = Proxies(ctx.config.trusted_proxies)
        self._polls: set[asyncio.Task[None]] = set()
        self._reading: Counter[str] = Counter()
        run = secrets.token_hex(3)
        self._ids = (f"{run}-{number}" for number in itertools.count(1))

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; raises nothing but cancellation."""
        request_id = next(self._ids)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            answer = await self._answer(http, request_id)
            await self.ctx.db.durable()
            response: web.StreamResponse | None = replies.whole(answer)
            if response is None:
                response = await replies.stream(answer, http)  # type: ignore[arg-type]
        except Exception as error:
            response = await self._failed(error, http, request_id)
        if self.stopping:
            response.force_close()
        log.info("request", method=http.method, path=http.raw_path.partition("?")[0], status=response.status)
        return response

    async def _failed(self, error: Exception, http: web.BaseRequest, request_id: str) -> replies.Whole:
        if http.writer.output_size > 0:
            # The answer has begun; all that can still be told is that it does not end well.
            if not isinstance(error, ConnectionError):
                log.error("reply_failed", exc_info=error)
                self.on_bug(error)
            transport = http.transport
            if transport is not None:
                transport.abort()
            raise asyncio.CancelledError
        if isinstance(error, MatrixError):
            try:
                # A refusal may tell of what was written as well.
                await self.ctx.db.durable()
            except Exception as fault:
                error = fault
        if not isinstance(error, (MatrixError, *self._outages)):
            self.on_bug(error)
        answer = replies.whole(reply_for(error, request_id, self._outages))
        assert answer is not None
        return answer

    async def _answer(self, http: web.BaseRequest, request_id: str) -> Answer:
        path, _, raw_query = http.raw_path.partition("?")
        if not path.startswith("/"):
            path = _origin_form(path)
        match = self.table.find(http.method, path)
        endpoint = match.endpoint if match is not None else None
        if match is None or endpoint is None:
            return _no_endpoint(http.method, path, match)
        ctx = self.ctx
        headers = http.headers
        peer = _peer(http)
        forwarded = headers.getall("X-Forwarded-For", ())
        remote = self.proxies.client(peer, forwarded) if forwarded else peer
        route = endpoint.route
        claims: list[Claim] | None = None
        requester = None
        if route.auth is Auth.SERVER:
            claims = await auth.claims_of_server(ctx, headers.getall("Authorization", ()))
        else:
            requester = auth.authenticate(ctx, route, headers, raw_query, remote)

        request = Request(
            method=http.method,
            path=path,
            raw_query=raw_query,
            params=match.params,
            headers=headers,
            remote=remote,
            peer=peer,
            request_id=request_id,
            requester=requester,
            limits=self.limits,
        )
        request.holds_events = route.holds_events
        if claims is not None:
            await self._take_claimed_body(http, request, route)
            await auth.verify_server(ctx, claims, f"{path}?{raw_query}" if "?" in http.raw_path else path, request)
            request.charge(Limit.FEDERATION, requests=1 + len(request.body) // BYTES_A_REQUEST)
        if route.limit is not Limit.NONE and (requester is None or requester.appservice_id is None):
            request.charge(route.limit)
        if claims is None:
            await self._take_body(http, request, route, MAX_BODY if requester is not None else MAX_ANONYMOUS_BODY)
            if http.body_exists:
                # A body may be held back for long. Whose session has ended meanwhile can do nothing with it any more.
                request.requester = auth.authenticate(ctx, route, headers, raw_query, remote)
        return await self._run(http, endpoint, request)

    async def _take_claimed_body(self, http: web.BaseRequest, request: Request, route: Route) -> None:
        """Read the body of a request that says to come from a server; only with the body can its signature be checked.

        Until then it is a stranger's: each address may have few of them under way, and not for long.
        """
        reading, key = self._reading, address_key(request.remote)
        if reading[key] >= MAX_CLAIMED:
            raise LimitExceeded(retry_after_ms=1000)
        reading[key] += 1
        try:
            async with asyncio.timeout(CLAIMED_SECONDS):
                await self._take_body(http, request, route, MAX_SERVER_BODY)
        except TimeoutError as error:
            raise BadRequest("The body took too long to arrive", status=408) from error
        finally:
            reading[key] -= 1
            if not reading[key]:
                del reading[key]

    async def _take_body(self, http: web.BaseRequest, request: Request, route: Route, largest_json: int) -> None:
        limit = route.max_body
        if limit is None:
            limit = self.ctx.config.max_request_size
            if route.auth is Auth.SERVER:
                limit = largest_json
            elif not route.stream_body:
                limit = min(largest_json, limit)
        if route.stream_body:
            request.content_length = http.content_length
            request.attach(body.stream(http, limit))
        elif http.method not in _READS:
            request.body = await body.read(http, limit)
            if len(request.body) > _LARGE:
                # Beside the loop, which so stands only while the parser works: 6 ms a megabyte, in place of 20. What is wrong is told to whoever asks for it.
                with contextlib.suppress(MatrixError):
                    await asyncio.to_thread(request.json)

    async def _run(self, http: web.BaseRequest, endpoint: Endpoint, request: Request) -> Answer:
        route = endpoint.route
        if route.method != "GET":
            # A deed runs to its end, whether or not the client still waits for the answer.
            return await route.handler(self.ctx, request)
        task = asyncio.current_task()
        assert task is not None
        protocol = http.protocol
        protocol.cancellable = task  # type: ignore[attr-defined]
        if not route.long_poll:
            try:
                return await route.handler(self.ctx, request)
            finally:
                protocol.cancellable = None  # type: ignore[attr-defined]
        if self.stopping:
            return _stopping()
        self._polls.add(task)
        try:
            return await route.handler(self.ctx, request)
        except asyncio.CancelledError:
            if not self.stopping or http.transport is None:
                raise
            task.uncancel()
            return _stopping()
        finally:
            self._polls.discard(task)
            protocol.cancellable = None  # type: ignore[attr-defined]

    def end_polls(self) -> None:
        """Begin to stop: answer all requests that wait for news now, and let connections end after their answer."""
        self.stopping = True
        for task in self._polls:
            task.cancel()


def _stopping() -> Reply:
    return Reply(Unknown("The server is stopping").body(), status=503, headers={"Retry-After": "1"})


def _no_endpoint(method: str, path: str, match: Match | None) -> Answer:
    if method == "OPTIONS":
        return replies.PREFLIGHT
    if match is None:
        raise Unrecognized("Unrecognized request")
    allowed = set(match.allowed) | {"OPTIONS"}
    if "GET" in allowed:
        allowed.add("HEAD")
    refusal = Unrecognized("This endpoint does not take this method", status=405)
    return Reply(refusal.body(), status=405, headers={"Allow": ", ".join(sorted(allowed))})


def _peer(http: web.BaseRequest) -> str:
    """Return the address of the connection's other end; empty for a Unix socket."""
    peer = http.protocol.peername
    return str(peer[0]) if isinstance(peer, tuple | list) and peer else ""


def _origin_form(target: str) -> str:
    # "GET http://host/path" is legal and means "/path"; "OPTIONS *" means the server as a whole.
    _, scheme, rest = target.partition("://")
    _, slash, path = rest.partition("/")
    return slash + path if scheme else "/" + target
