"""Files, ranges and streams."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from conduit.api import replies
from conduit.api.replies import byte_range
from conduit.api.request import Request
from conduit.api.web import Auth, RawReply, Routes, StreamReply
from conduit.service.context import Context
from tests.support.homeserver import Homeserver, serve

BASE = "/_conduit/test"
SMALL = bytes(range(256))
MIDDLE = bytes(range(256)) * 100
LARGE = bytes(range(256)) * 4096
"""A megabyte: more than is sent whole."""
routes = Routes()


def _file(ctx: Context, name: str) -> Path:
    return Path(ctx.config.database_path) / name


@routes.get(BASE + "/file/{name}", auth=Auth.NONE)
async def file(ctx: Context, req: Request) -> StreamReply:
    """Send a file."""
    headers = {"Content-Disposition": "inline"}
    return StreamReply(_file(ctx, req.params["name"]), "image/png", headers, etag="tag1")


@routes.get(BASE + "/stream", auth=Auth.NONE)
async def stream(ctx: Context, req: Request) -> StreamReply:
    """Send pieces."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 10_000

    size = req.query.number("size")
    return StreamReply(pieces(), "text/plain", size=size)


ENDED = asyncio.Event()
"""Set when the endless stream has been let go of."""


@routes.get(BASE + "/endless", auth=Auth.NONE)
async def endless(ctx: Context, req: Request) -> StreamReply:
    """Send for ever."""

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1_000_000
        finally:
            ENDED.set()

    return StreamReply(pieces(), "text/plain")


@routes.get(BASE + "/broken", auth=Auth.NONE)
async def broken(ctx: Context, req: Request) -> StreamReply:
    """Fail half-way."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 10_000
        raise RuntimeError("half-way")

    return StreamReply(pieces())


@routes.get(BASE + "/raw", auth=Auth.NONE)
async def raw(ctx: Context, req: Request) -> RawReply:
    """Send bytes."""
    return RawReply(b"<p>", "text/html", 202, {"X-A": "b"})


@routes.get(BASE + "/middle", auth=Auth.NONE)
async def middle(ctx: Context, req: Request) -> RawReply:
    """Send some more bytes."""
    return RawReply(MIDDLE)


@pytest.fixture
async def hs(tmp_path: Path) -> AsyncIterator[Homeserver]:
    """A homeserver with two files."""
    (tmp_path / "small").write_bytes(SMALL)
    (tmp_path / "large").write_bytes(LARGE)
    (tmp_path / "empty").write_bytes(b"")
    async with serve(extra=[routes], directory=tmp_path) as server:
        yield server


@pytest.mark.parametrize(
    ("header", "size", "span"),
    [
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=2-5", 10, (2, 6)),
        ("bytes=2-", 10, (2, 10)),
        ("bytes=-3", 10, (7, 10)),
        ("bytes=-30", 10, (0, 10)),
        ("bytes=0-99", 10, (0, 10)),
        ("bytes=10-", 10, (10, 10)),
        ("bytes=99-200", 10, (99, 10)),
        ("bytes=-0", 10, (10, 10)),
        ("bytes=0-", 0, (0, 0)),
        ("bytes=5-2", 10, None),
        ("bytes=-", 10, None),
        ("bytes=0-1,3-4", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=٣-", 10, None),
        ("items=0-1", 10, None),
        ("bytes", 10, None),
        ("bytes=" + "9" * 5000 + "-", 10, None),
    ],
)
def test_range_headers(header: str, size: int, span: tuple[int, int] | None) -> None:
    """One well-formed range is understood; anything else means the whole file."""
    assert byte_range(header, size) == span


@pytest.mark.parametrize(("name", "content"), [("small", SMALL), ("large", LARGE), ("empty", b"")])
async def test_a_file_is_sent_whole(hs: Homeserver, name: str, content: bytes) -> None:
    """With its type, its length and the offer of ranges."""
    response = await hs.client().raw("GET", f"{BASE}/file/{name}")
    assert response.status == 200
    assert response.body == content
    assert response.headers["Content-Length"] == str(len(content))
    assert response.headers["Content-Type"] == "image/png"
    assert response.headers["Content-Disposition"] == "inline"
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["ETag"] == '"tag1"'
    assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(("name", "content"), [("small", SMALL), ("large", LARGE)])
@pytest.mark.parametrize(("first", "last"), [(0, 0), (10, 99), (1, 255)])
async def test_a_range_is_sent_alone(hs: Homeserver, name: str, content: bytes, first: int, last: int) -> None:
    """206 with exactly the bytes asked for."""
    headers = {"Range": f"bytes={first}-{last}"}
    response = await hs.client().raw("GET", f"{BASE}/file/{name}", headers=headers)
    assert response.status == 206
    assert response.body == content[first : last + 1]
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/{len(content)}"


async def test_a_large_range_is_streamed(hs: Homeserver) -> None:
    """A range larger than what is sent at a time comes in full too."""
    response = await hs.client().raw("GET", f"{BASE}/file/large", headers={"Range": "bytes=100-"})
    assert response.status == 206
    assert response.body == LARGE[100:]


async def test_a_range_beyond_the_end_cannot_be_satisfied(hs: Homeserver) -> None:
    """416 says how long the file is."""
    response = await hs.client().raw("GET", f"{BASE}/file/small", headers={"Range": "bytes=256-"})
    assert response.status == 416
    assert response.headers["Content-Range"] == "bytes */256"
    assert response.body == b""


async def test_a_known_version_is_not_sent_again(hs: Homeserver) -> None:
    """`If-None-Match` with the tag gets 304; `If-Range` with another tag gets the whole file."""
    client = hs.client()
    for header in ('"tag1"', 'W/"tag1"', '"x", "tag1"', "*"):
        response = await client.raw("GET", f"{BASE}/file/large", headers={"If-None-Match": header})
        assert (response.status, response.body) == (304, b"")
    assert (await client.raw("GET", f"{BASE}/file/small", headers={"If-None-Match": '"tag2"'})).status == 200
    stale = {"Range": "bytes=0-9", "If-Range": '"tag2"'}
    assert (await client.raw("GET", f"{BASE}/file/small", headers=stale)).status == 200
    fresh = {"Range": "bytes=0-9", "If-Range": '"tag1"'}
    assert (await client.raw("GET", f"{BASE}/file/small", headers=fresh)).status == 206


@pytest.mark.parametrize("name", ["small", "large"])
async def test_head_of_a_file_tells_its_length(hs: Homeserver, name: str) -> None:
    """Without sending it."""
    response = await hs.client().raw("HEAD", f"{BASE}/file/{name}")
    assert response.status == 200
    assert response.body == b""
    assert response.headers["Content-Length"] == str(len(SMALL if name == "small" else LARGE))


async def test_a_file_that_is_gone_is_not_found(hs: Homeserver) -> None:
    """Nothing below the handler makes a 500 of it."""
    response = await hs.client().raw("GET", f"{BASE}/file/none")
    assert (response.status, response.json()["errcode"]) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize("query", ["", "?size=50000"])
async def test_pieces_are_sent_as_they_come(hs: Homeserver, query: str) -> None:
    """With a length if it is known, in chunks otherwise."""
    response = await hs.client().raw("GET", f"{BASE}/stream{query}")
    assert response.body == b"x" * 50_000
    assert response.headers.get("Content-Length") == ("50000" if query else None)


async def test_an_answer_that_fails_half_way_is_cut_off(hs: Homeserver) -> None:
    """The client must not take the part for the whole."""
    with pytest.raises(aiohttp.ClientError):
        await hs.client().raw("GET", f"{BASE}/broken")
    assert isinstance(hs.bugs.pop(), RuntimeError)


async def test_raw_bytes_are_sent_as_they_are(hs: Homeserver) -> None:
    """With the status, type and headers of the handler."""
    response = await hs.client().raw("GET", f"{BASE}/raw")
    assert (response.status, response.body) == (202, b"<p>")
    assert response.headers["Content-Type"] == "text/html"
    assert response.headers["X-A"] == "b"


async def test_a_connection_that_is_kept_does_not_keep_its_last_answer(hs: Homeserver) -> None:
    """Hundreds of clients wait between two requests: what each was told last must not stay in memory."""
    before = sys.getrefcount(MIDDLE)
    response = await hs.client().raw("GET", f"{BASE}/middle")
    assert response.body == MIDDLE
    assert sys.getrefcount(MIDDLE) == before


def test_every_status_line_is_ready() -> None:
    """Status lines are made beforehand, reason and all."""
    assert replies._LINES[404] == "HTTP/1.1 404 Not Found\r\n"


async def test_advisory_25_answer_that_is_not_taken_is_given_up(
    hs: Homeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client asks for a long answer and reads none of it: what the rest is made from is let go of, and that is no fault of ours."""
    monkeypatch.setattr(replies, "WRITE_SECONDS", 0.05)
    ENDED.clear()
    host, port = hs.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, port, limit=1)
    writer.write(f"GET {BASE}/endless HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(20):
        await ENDED.wait()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert hs.last_bug is None
