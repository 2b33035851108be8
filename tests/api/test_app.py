"""The life of a request, over real HTTP."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncIterator

import orjson
import pytest

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Reply, Routes
from conduit.config.schema import Config, Rate, RateLimits
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES
from conduit.protocol.errors import Forbidden, LimitExceeded, UnknownToken
from conduit.service.context import Context
from tests.support.clock import ManualClock, settle
from tests.support.homeserver import Homeserver, serve

BASE = "/_conduit/test"
routes = Routes()
EVENTS: dict[str, asyncio.Event] = {}
"""What the handlers below wait for or set, so that tests need not sleep."""


def _event(name: str) -> asyncio.Event:
    return EVENTS.setdefault(name, asyncio.Event())


@routes.get(BASE + "/hello", auth=Auth.NONE)
async def hello(ctx: Context, req: Request) -> Json:
    """Say what was asked."""
    _event("greeted").set()
    return {"remote": req.remote, "local": req.is_local, "q": req.query.text("q", "")}


@routes.post(BASE + "/echo", auth=Auth.NONE)
async def echo(ctx: Context, req: Request) -> Json:
    """Return the body."""
    return {"body": req.json()}


@routes.get(BASE + "/fragment", auth=Auth.NONE)
async def fragment(ctx: Context, req: Request) -> Json:
    """Answer with JSON that is bytes already."""
    return {"events": [orjson.Fragment(b'{"a":1}')]}


@routes.get(BASE + "/bug", auth=Auth.NONE)
async def bug(ctx: Context, req: Request) -> Json:
    """Fail."""
    raise ZeroDivisionError("secret detail")


@routes.get(BASE + "/unserialisable", auth=Auth.NONE)
async def unserialisable(ctx: Context, req: Request) -> Json:
    """Answer with what is no JSON."""
    return {"a": object()}


@routes.get(BASE + "/refuse/{how}", auth=Auth.NONE)
async def refuse(ctx: Context, req: Request) -> Json:
    """Raise the error that is asked for."""
    if req.params["how"] == "limit":
        raise LimitExceeded(retry_after_ms=1500)
    if req.params["how"] == "soft":
        raise UnknownToken("Gone", soft_logout=True)
    raise Forbidden("Not for you", status=418)


@routes.get(BASE + "/limited", auth=Auth.NONE, limit=Limit.MESSAGE)
async def limited(ctx: Context, req: Request) -> Json:
    """Be limited."""
    return {}


@routes.get(BASE + "/charge/{key}", auth=Auth.NONE)
async def charge(ctx: Context, req: Request) -> Json:
    """Take from another bucket."""
    req.charge(Limit.MESSAGE, req.params["key"])
    return {}


HELD = b"what a request holds"


@routes.put(BASE + "/hold", auth=Auth.NONE, limit=Limit.MESSAGE)
async def hold(ctx: Context, req: Request) -> Json:
    """Hold some bytes in the request, and do with it what handlers do."""
    req.body = HELD
    req.charge(Limit.LOGIN, "somebody")
    return {"limit": req.query.number("limit", 1), "local": req.is_local}


@routes.get(BASE + "/poll", auth=Auth.NONE, long_poll=True)
async def poll(ctx: Context, req: Request) -> Json:
    """Wait for news that never come."""
    _event("polling").set()
    try:
        await asyncio.Event().wait()
    finally:
        _event("poll ended").set()
    return {}


@routes.put(BASE + "/deed", auth=Auth.NONE)
async def deed(ctx: Context, req: Request) -> Json:
    """Do something in two steps."""
    _event("deed begun").set()
    await _event("deed may end").wait()
    _event("deed done").set()
    return {"done": True}


@routes.put(BASE + "/store", auth=Auth.NONE)
async def store(ctx: Context, req: Request) -> Json:
    """Write something and answer at once."""
    with ctx.db.batch() as batch:
        batch.next_count()
        batch.put("global", b"test", b"1")
    _event("stored").set()
    return {"stored": True}


@routes.put(BASE + "/store-and-refuse", auth=Auth.NONE)
async def store_and_refuse(ctx: Context, req: Request) -> Json:
    """Write something and refuse."""
    await store(ctx, req)
    raise Forbidden("Written down")


@routes.post(BASE + "/status", auth=Auth.NONE)
async def status(ctx: Context, req: Request) -> Reply:
    """Answer with a status and headers of its own."""
    return Reply({"a": "é"}, status=201, headers={"X-Note": "one\r\nSet-Cookie: x=1"})


@pytest.fixture
async def hs() -> AsyncIterator[Homeserver]:
    """A homeserver with the endpoints above."""
    EVENTS.clear()
    async with serve(extra=[routes]) as server:
        yield server


async def _exchange(hs: Homeserver, request: bytes) -> bytes:
    """Return everything that the server sends for raw bytes until it closes the connection."""
    host, port = hs.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_an_answer_has_the_cors_headers_and_no_more(hs: Homeserver) -> None:
    """Every answer says that any web page may use it, and little else."""
    response = await hs.client().raw("GET", BASE + "/hello?q=a%20b")
    assert response.status == 200
    assert response.json() == {"remote": "127.0.0.1", "local": True, "q": "a b"}
    assert set(response.headers) == {
        "Access-Control-Allow-Headers",
        "Access-Control-Allow-Methods",
        "Access-Control-Allow-Origin",
        "Content-Length",
        "Content-Type",
        "Date",
        "Server",
    }
    assert response.headers["Content-Type"] == "application/json"
    assert "Python" not in response.headers["Server"]


async def test_an_unknown_path_is_unrecognised(hs: Homeserver) -> None:
    """404 M_UNRECOGNIZED, with CORS headers, so that web clients can read it."""
    response = await hs.client().raw("GET", "/_matrix/client/v3/nonsense")
    assert (response.status, response.json()["errcode"]) == (404, "M_UNRECOGNIZED")
    assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_wrong_method_is_unrecognised_too(hs: Homeserver) -> None:
    """405 M_UNRECOGNIZED, and the methods that exist."""
    response = await hs.client().raw("DELETE", BASE + "/hello")
    assert (response.status, response.json()["errcode"]) == (405, "M_UNRECOGNIZED")
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert (await hs.client().raw("PROPFIND", BASE + "/hello")).status == 405


@pytest.mark.parametrize("path", [BASE + "/deed", "/_matrix/client/v3/sync", "/_matrix/nonsense"])
async def test_options_runs_nothing_and_needs_no_token(hs: Homeserver, path: str) -> None:
    """A preflight request gets the CORS headers."""
    response = await hs.client().raw("OPTIONS", path)
    assert response.status == 204
    assert response.body == b""
    assert response.headers["Access-Control-Allow-Methods"] == "GET, POST, PUT, DELETE, OPTIONS"
    assert response.headers["Access-Control-Allow-Headers"] == "X-Requested-With, Content-Type, Authorization"
    assert not _event("deed begun").is_set()


async def test_head_answers_as_get_without_a_body(hs: Homeserver) -> None:
    """The length is that of GET's body."""
    get = await hs.client().raw("GET", BASE + "/hello")
    head = await hs.client().raw("HEAD", BASE + "/hello")
    assert head.status == 200
    assert head.body == b""
    assert head.headers["Content-Length"] == str(len(get.body))


async def test_a_fragment_is_written_as_it_is(hs: Homeserver) -> None:
    """Stored JSON goes out without being parsed."""
    assert (await hs.client().raw("GET", BASE + "/fragment")).body == b'{"events":[{"a":1}]}'


async def test_a_handler_cannot_be_made_to_inject_headers(hs: Homeserver) -> None:
    """Line breaks in header values become spaces."""
    response = await hs.client().raw("POST", BASE + "/status", {})
    assert response.status == 201
    assert response.json() == {"a": "é"}
    assert response.headers["X-Note"] == "one  Set-Cookie: x=1"
    assert "Set-Cookie" not in response.headers


async def test_a_bug_is_a_500_that_tells_nothing_but_its_id(hs: Homeserver, caplog: pytest.LogCaptureFixture) -> None:
    """The traceback is in the log, not in the answer; the connection goes on."""
    client = hs.client()
    with pytest.raises(AssertionError, match="500"):
        await client.raw("GET", BASE + "/bug")
    assert isinstance(hs.bugs.pop(), ZeroDivisionError)
    with pytest.raises(AssertionError) as failure:
        await client.raw("GET", BASE + "/unserialisable")
    assert "Internal server error, request " in str(failure.value)
    assert "object" not in str(failure.value)
    assert isinstance(hs.bugs.pop(), TypeError)
    assert (await client.raw("GET", BASE + "/hello")).status == 200


async def test_errors_have_their_own_status_and_keys(hs: Homeserver) -> None:
    """What an error carries is what the client sees."""
    client = hs.client()
    refused = await client.raw("GET", BASE + "/refuse/x")
    assert (refused.status, refused.json()) == (418, {"errcode": "M_FORBIDDEN", "error": "Not for you"})
    soft = await client.raw("GET", BASE + "/refuse/soft")
    assert (soft.status, soft.json()["soft_logout"]) == (401, True)
    limit = await client.raw("GET", BASE + "/refuse/limit")
    assert limit.status == 429
    assert limit.json()["retry_after_ms"] == 1500
    assert limit.headers["Retry-After"] == "2"


async def test_a_caller_is_charged_by_address_until_time_goes_on(hs: Homeserver) -> None:
    """Who is nobody is counted by where he comes from; what stands behind a proxy is told apart."""
    rates = RateLimits(message=Rate(per_second=1, burst=2))
    async with serve(extra=[routes], rate_limits=rates) as server:
        client = server.client()
        statuses = [(await client.raw("GET", BASE + "/limited")).status for _ in range(3)]
        assert statuses == [200, 200, 429]
        other = {"X-Forwarded-For": "192.0.2.7"}
        assert (await client.raw("GET", BASE + "/limited", headers=other)).status == 200
        server.clock.jump(1)
        assert (await client.raw("GET", BASE + "/limited")).status == 200


async def test_a_handler_can_charge_another_bucket(hs: Homeserver) -> None:
    """Failed logins are counted for the account that they are tried on."""
    async with serve(extra=[routes], rate_limits=RateLimits(message=Rate(per_second=1, burst=1))) as server:
        client = server.client()
        assert (await client.raw("GET", BASE + "/charge/a")).status == 200
        assert (await client.raw("GET", BASE + "/charge/a")).status == 429
        assert (await client.raw("GET", BASE + "/charge/b")).status == 200


async def test_bad_paths_and_queries_are_refused(hs: Homeserver) -> None:
    """Broken escapes are the client's mistake."""
    assert (await hs.client().raw("GET", BASE + "/refuse/%ff")).json()["errcode"] == "M_INVALID_PARAM"
    assert (await hs.client().raw("GET", BASE + "/hello?q=%ff")).json()["errcode"] == "M_INVALID_PARAM"


async def test_a_client_that_leaves_ends_its_long_poll(hs: Homeserver) -> None:
    """Nobody waits on behalf of a closed connection."""
    request = hs.start(hs.client().raw("GET", BASE + "/poll"))
    await _event("polling").wait()
    request.cancel()
    async with asyncio.timeout(5):
        await _event("poll ended").wait()


async def test_a_client_that_leaves_does_not_stop_a_deed(hs: Homeserver) -> None:
    """What has begun to change something is done to its end."""
    request = hs.start(hs.client().raw("PUT", BASE + "/deed", {}))
    await _event("deed begun").wait()
    request.cancel()
    await settle()
    _event("deed may end").set()
    async with asyncio.timeout(5):
        await _event("deed done").wait()


async def test_stopping_answers_long_polls_and_finishes_deeds() -> None:
    """A poll is told to come again at once; a deed gets its answer."""
    EVENTS.clear()
    async with serve(extra=[routes]) as hs:
        waiting = hs.start(hs.client().raw("GET", BASE + "/poll"))
        acting = hs.start(hs.client().raw("PUT", BASE + "/deed", {}))
        await _event("polling").wait()
        await _event("deed begun").wait()
        stopping = hs.start(hs.running.stop(5))
        answer = await waiting
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "1"
        assert not stopping.done()
        _event("deed may end").set()
        assert (await acting).json() == {"done": True}
        await stopping


@pytest.mark.parametrize(
    "request_line",
    [
        b"GARBAGE",
        b"GET",
        b"GET / HTTP/9.9",
        b"GET /\x00 HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET " + BASE.encode() + b"/hello HTTP/1.1\r\nContent-Length: x",
        b"GET " + BASE.encode() + b"/hello HTTP/1.1\r\nBad Header: x",
    ],
)
async def test_what_is_not_http_is_answered_with_json(hs: Homeserver, request_line: bytes) -> None:
    """The error is a standard one, and the connection ends."""
    answer = await _exchange(hs, request_line + b"\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert orjson.loads(body)["errcode"] == "M_UNKNOWN"
    assert b"Connection: close" in head


async def test_a_filter_in_the_query_may_be_long(hs: Homeserver) -> None:
    """Thirty kilobytes of query are read; endless ones are refused."""
    client = hs.client()
    long = await client.raw("GET", BASE + "/hello?q=" + "x" * 30_000)
    assert len(long.json()["q"]) == 30_000
    answer = await _exchange(hs, b"GET " + BASE.encode() + b"/hello?q=" + b"x" * 80_000 + b" HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 414 ")
    assert b"M_TOO_LARGE" in answer


async def test_the_full_form_of_a_target_means_its_path(hs: Homeserver) -> None:
    """Proxies may send `GET http://host/path`."""
    path = BASE.encode()
    answer = await _exchange(
        hs, b"GET http://x.example" + path + b"/hello?q=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    star = await _exchange(hs, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert star.startswith(b"HTTP/1.1 204 ")


async def test_old_http_is_answered(hs: Homeserver) -> None:
    """HTTP/1.0 ends the connection after the answer unless asked otherwise."""
    answer = await _exchange(hs, b"GET " + BASE.encode() + b"/hello HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in answer


async def test_requests_can_be_pipelined(hs: Homeserver) -> None:
    """Two requests in one packet get two answers, in their order."""
    one = b"GET " + BASE.encode() + b"/hello?q=%d HTTP/1.1\r\nHost: x\r\n%s\r\n"
    answer = await _exchange(hs, one % (1, b"") + one % (2, b"Connection: close\r\n"))
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.index(b'"q":"1"') < answer.index(b'"q":"2"')


class SlowDisk(MemoryEngine):
    """An engine whose syncs wait until they are let go, or fail."""

    name = "slow"

    def __init__(self) -> None:
        super().__init__(TREE_NAMES)
        self.may_sync = threading.Event()
        self.may_sync.set()
        self.broken = False

    def sync(self) -> None:
        """Wait for permission."""
        self.may_sync.wait(30)
        if self.broken:
            raise OSError("the disk is gone")
        super().sync()


@pytest.mark.parametrize("path", ["/store", "/store-and-refuse"])
async def test_nothing_is_answered_before_it_is_on_disk(path: str) -> None:
    """Neither to the one who wrote nor to one who could read what was written; not even a refusal."""
    EVENTS.clear()
    disk = SlowDisk()
    async with serve(extra=[routes], db=Database(disk)) as hs:
        disk.may_sync.clear()
        writing = hs.start(hs.client().raw("PUT", BASE + path, {}))
        await _event("stored").wait()
        reading = hs.start(hs.client().raw("GET", BASE + "/hello"))
        await _event("greeted").wait()
        await settle()
        assert not writing.done()
        assert not reading.done()
        disk.may_sync.set()
        assert (await writing).status == (200 if path == "/store" else 403)
        assert (await reading).status == 200


async def test_a_failed_disk_is_an_outage_and_ends_the_server() -> None:
    """What could not be stored is not acknowledged, nothing is answered as if all were well, and the server knows."""
    disk = SlowDisk()
    hs = Homeserver(Config.for_tests(), ManualClock(), [routes], Database(disk))
    await hs.open()
    try:
        disk.broken = True
        response = await hs.client().raw("PUT", BASE + "/store", {})
        assert response.status == 503
        assert response.headers["Retry-After"] == "30"
        assert (await hs.client().raw("GET", BASE + "/hello")).status == 503
        assert hs.running.failed.done()
    finally:
        disk.broken = False
        await hs.close()


async def test_a_request_is_forgotten_once_it_is_answered(hs: Homeserver) -> None:
    """Nothing in it leads back to itself: its body and what was read from it go at once, not when the collector comes."""
    before = sys.getrefcount(HELD)
    gc.disable()
    try:
        response = await hs.client().raw("PUT", BASE + "/hold?limit=7", json={"a": 1})
        assert response.json()["limit"] == 7
        assert sys.getrefcount(HELD) == before
    finally:
        gc.enable()
