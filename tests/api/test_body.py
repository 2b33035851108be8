"""Reading request bodies within their limits."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest

from conduit.api.app import MAX_ANONYMOUS_BODY
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Routes
from conduit.protocol.errors import MatrixError
from conduit.service.context import Context
from tests.support.homeserver import Homeserver, serve

BASE = "/_conduit/test"
routes = Routes()
CUT: list[MatrixError] = []
"""How streams have ended that did not end well."""
CUT_OFF = asyncio.Event()
PAUSED = asyncio.Event()
HURRY = asyncio.Event()


@routes.post(BASE + "/echo", auth=Auth.NONE)
async def echo(ctx: Context, req: Request) -> Json:
    """Return the body."""
    return {"body": req.json()}


@routes.post(BASE + "/small", auth=Auth.NONE, max_body=100)
async def small(ctx: Context, req: Request) -> Json:
    """Take little."""
    return {"size": len(req.body)}


@routes.post(BASE + "/upload", auth=Auth.NONE, stream_body=True)
async def upload(ctx: Context, req: Request) -> Json:
    """Count a streamed body."""
    size = 0
    try:
        async for piece in req.stream():
            size += len(piece)
    except MatrixError as error:
        CUT.append(error)
        CUT_OFF.set()
        raise
    return {"size": size, "announced": req.content_length}


@routes.post(BASE + "/upload-later", auth=Auth.NONE, stream_body=True, max_body=16 << 20)
async def upload_later(ctx: Context, req: Request) -> Json:
    """Count a streamed body, but not before the connection is full."""
    size = 0
    async for piece in req.stream():
        size += len(piece)
        if not size - len(piece):
            PAUSED.set()
            await HURRY.wait()
    return {"size": size}


@routes.post(BASE + "/unread", auth=Auth.NONE, stream_body=True)
async def unread(ctx: Context, req: Request) -> Json:
    """Answer without reading."""
    return {}


@routes.get(BASE + "/get", auth=Auth.NONE)
async def get(ctx: Context, req: Request) -> Json:
    """Ignore bodies, as GET does."""
    return {"size": len(req.body)}


@pytest.fixture
async def hs() -> AsyncIterator[Homeserver]:
    """A homeserver with the endpoints above, which takes uploads up to a megabyte."""
    CUT.clear()
    CUT_OFF.clear()
    async with serve(extra=[routes], max_request_size=1_000_000) as server:
        yield server


async def _pieces(count: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "nonsense", ""])
async def test_json_is_taken_under_any_content_type(hs: Homeserver, content_type: str) -> None:
    """Browsers and scripts send JSON under many names."""
    response = await hs.client().raw("POST", BASE + "/echo", data=b'{"a": 1}', headers={"Content-Type": content_type})
    assert response.json() == {"body": {"a": 1}}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n'),
        ("application/x-www-form-urlencoded", b"a=1&b=2"),
        ("application/json", b"{"),
        ("application/json; charset=utf-16", '{"a": 1}'.encode("utf-16")),
    ],
)
async def test_what_is_not_json_is_not_parsed_otherwise(hs: Homeserver, content_type: str, body: bytes) -> None:
    """Forms and other encodings are refused as what they are: not JSON."""
    response = await hs.client().raw("POST", BASE + "/echo", data=body, headers={"Content-Type": content_type})
    assert (response.status, response.json()["errcode"]) == (400, "M_NOT_JSON")


@pytest.mark.parametrize("chunked", [False, True])
async def test_the_limit_holds_however_the_body_comes(hs: Homeserver, chunked: bool) -> None:
    """One byte over the limit is too much, announced or in chunks."""
    client = hs.client()
    for size, status in ((100, 200), (101, 413), (50_000, 413)):
        data = _pieces(1, size) if chunked else b"x" * size
        response = await client.raw("POST", BASE + "/small", data=data)
        assert response.status == status
        if status == 413:
            assert response.json()["errcode"] == "M_TOO_LARGE"


async def test_a_caller_without_a_token_may_send_little(hs: Homeserver) -> None:
    """The default for endpoints that anybody may call is small."""
    body = b'{"a": "' + b"x" * MAX_ANONYMOUS_BODY + b'"}'
    assert (await hs.client().raw("POST", BASE + "/echo", data=body)).status == 413
    assert (await hs.client().raw("POST", BASE + "/echo", data=_pieces(200, 1000))).status == 413


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP", "gzip, gzip"])
@pytest.mark.parametrize("path", ["/echo", "/upload"])
async def test_compressed_bodies_are_refused(hs: Homeserver, encoding: str, path: str) -> None:
    """A few bytes that would become gigabytes never do."""
    bomb = gzip.compress(b"x" * 5_000_000)
    response = await hs.client().raw("POST", BASE + path, data=bomb, headers={"Content-Encoding": encoding})
    assert (response.status, response.json()["errcode"]) == (415, "M_UNKNOWN")


async def test_a_stream_is_counted_against_the_upload_limit(hs: Homeserver) -> None:
    """A streamed body is not held in memory and ends at the limit."""
    client = hs.client()
    fits = await client.raw("POST", BASE + "/upload", data=_pieces(10, 100_000))
    assert fits.json() == {"size": 1_000_000, "announced": None}
    announced = await client.raw("POST", BASE + "/upload", data=b"x" * 1000)
    assert announced.json() == {"size": 1000, "announced": 1000}
    for data in (_pieces(11, 100_000), b"x" * 1_000_001):
        assert (await client.raw("POST", BASE + "/upload", data=data)).status == 413


async def test_a_stream_that_was_held_up_arrives_whole(hs: Homeserver) -> None:
    """Reading stops while more has come than is wanted yet, and goes on later, for the next request too."""
    client = hs.client()
    for _ in range(2):
        HURRY.clear()
        PAUSED.clear()
        task = asyncio.ensure_future(client.raw("POST", BASE + "/upload-later", data=_pieces(8, 1 << 20)))
        await asyncio.wait_for(PAUSED.wait(), 10)
        HURRY.set()
        assert (await asyncio.wait_for(task, 10)).json()["size"] == 8 << 20


async def test_an_unread_body_does_not_spoil_the_next_request(hs: Homeserver) -> None:
    """What a handler leaves is thrown away."""
    client = hs.client()
    assert (await client.raw("POST", BASE + "/unread", data=b"x" * 300_000)).status == 200
    assert (await client.raw("POST", BASE + "/small", data=b"x")).json() == {"size": 1}


async def test_a_body_on_get_is_ignored(hs: Homeserver) -> None:
    """GET has no body that means anything."""
    assert (await hs.client().raw("GET", BASE + "/get", data=b"x" * 1000)).json() == {"size": 0}


async def _open(hs: Homeserver) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = hs.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def test_a_client_that_waits_for_permission_gets_it(hs: Homeserver) -> None:
    """`Expect: 100-continue` is answered before the body is sent, as curl wants it for large uploads."""
    reader, writer = await _open(hs)
    head = f"POST {BASE}/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    writer.write(head.encode())
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"abc")
    answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()


async def test_a_refused_upload_is_refused_before_it_is_sent(hs: Homeserver) -> None:
    """Who asks first learns at once that it is too large."""
    reader, writer = await _open(hs)
    head = f"POST {BASE}/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
    writer.write(head.encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()


async def test_an_upload_that_breaks_off_is_an_error_for_the_handler(hs: Homeserver) -> None:
    """The handler sees a refusal and not the end of the body, so it keeps nothing."""
    _, writer = await _open(hs)
    writer.write(f"POST {BASE}/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc".encode())
    await writer.drain()
    writer.transport.abort()
    async with asyncio.timeout(5):
        await CUT_OFF.wait()
    assert CUT[0].status == 400


async def test_malformed_chunks_are_an_error(hs: Homeserver) -> None:
    """A broken transfer encoding is no end of the body either."""
    reader, writer = await _open(hs)
    head = f"POST {BASE}/upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode() + b"3\r\nabc\r\nzz\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    await writer.wait_closed()
