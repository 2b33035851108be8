"""Answers that need no waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.config.schema import Rate, RateLimits
from conduit.protocol.errors import Forbidden
from conduit.service.context import Context
from tests.support.homeserver import Homeserver, serve

BASE = "/_matrix/client/unstable/org.example"
routes = Routes()


def _quick(ctx: Context, req: Request) -> Json | None:
    way = req.query.text("way")
    if way == "bug":
        raise RuntimeError
    if way == "refuse":
        raise Forbidden("not like this")
    if way == "write":
        ctx.db.next_count()
        with ctx.db.batch() as batch:
            batch.put("global", b"test", b"1")
    return None if way == "long" else {"way": "at once", "user": req.user_id, "remote": req.remote}


@routes.get(BASE + "/either", auth=Auth.USER, limit=Limit.READ, at_once=_quick)
async def either(ctx: Context, req: Request) -> Json:
    """Say that this was the long way."""
    return {"way": "long", "user": req.user_id, "remote": req.remote}


@pytest.fixture
async def hs() -> AsyncIterator[Homeserver]:
    """A homeserver with the endpoint above."""
    async with serve(extra=[routes]) as server:
        yield server


@dataclass
class Line:
    """A connection, held open over many requests."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    token: str | None

    def request(self, query: str, *headers: str, version: str = "1.1") -> bytes:
        """Return a request as bytes."""
        lines = [
            f"GET {BASE}/either?{query} HTTP/{version}",
            "Host: x",
            f"Authorization: Bearer {self.token}",
            *headers,
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    async def answer(self) -> tuple[bytes, Any]:
        """Return the head and the body of the next answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head, orjson.loads(await self.reader.readexactly(length))

    async def ask(self, query: str = "", *headers: str, version: str = "1.1") -> tuple[bytes, Any]:
        """Send a request and return its answer."""
        self.writer.write(self.request(query, *headers, version=version))
        return await self.answer()


async def dial(hs: Homeserver) -> Line:
    """Return a connection on behalf of a new user."""
    host, port = hs.url.removeprefix("http://").split(":")
    alice = await hs.register("alice")
    return Line(*await asyncio.open_connection(host, int(port)), alice.token)


async def test_both_ways_answer_alike_and_alternate_on_one_connection(hs: Homeserver) -> None:
    """Only the handler differs: status, headers, caller and address are the same."""
    line = await dial(hs)
    for _ in range(3):
        quick, first = await line.ask()
        slow, second = await line.ask("way=long")
        assert (first.pop("way"), second.pop("way")) == ("at once", "long")
        assert first == second
        unlike = [
            (one, other) for one, other in zip(quick.split(b"\r\n"), slow.split(b"\r\n"), strict=True) if one != other
        ]
        assert [one.partition(b":")[0] for one, _ in unlike if not one.startswith(b"Date")] == [b"Content-Length"]
    line.writer.close()


async def test_pipelined_requests_keep_their_order(hs: Homeserver) -> None:
    """Whatever could be answered at once waits for what came before."""
    line = await dial(hs)
    line.writer.write(line.request("way=long") + line.request("") + line.request("way=long") + line.request(""))
    ways = [(await line.answer())[1]["way"] for _ in range(4)]
    assert ways[0::2] == ["long", "long"]
    assert (await line.ask())[1]["way"] == "at once"
    line.writer.close()


async def test_request_in_pieces_is_answered_once_it_is_whole(hs: Homeserver) -> None:
    """Byte by byte, and with the next one right behind."""
    line = await dial(hs)
    for _ in range(2):
        for byte in line.request(""):
            line.writer.write(bytes([byte]))
            await line.writer.drain()
            await asyncio.sleep(0)
        assert (await line.answer())[1]["way"] == "at once"
    line.writer.close()


@pytest.mark.parametrize("way", ["bug", "refuse", "write"])
async def test_doubt_leads_the_long_way(hs: Homeserver, way: str) -> None:
    """An error, a refusal, and an answer that may tell of what is not on disk yet."""
    line = await dial(hs)
    async with asyncio.timeout(30):
        body = (await line.ask(f"way={way}"))[1]
    # The engine in memory is durable at once, so here what was written may be told.
    assert body["way"] == ("at once" if way == "write" else "long")
    line.writer.close()


async def test_bad_token_is_refused(hs: Homeserver) -> None:
    """As on any way."""
    line = await dial(hs)
    line.token = "nobody"
    head, body = await line.ask()
    assert head.startswith(b"HTTP/1.1 401 ")
    assert body["errcode"] == "M_UNKNOWN_TOKEN"
    line.writer.close()


async def test_connection_that_is_to_close_is_closed(hs: Homeserver) -> None:
    """HTTP/1.0 and `Connection: close` go the long way."""
    for version, headers in (("1.0", ()), ("1.1", ("Connection: close",))):
        host, port = hs.url.removeprefix("http://").split(":")
        token = (await hs.register("user" + version.replace(".", ""))).token
        line = Line(*await asyncio.open_connection(host, int(port)), token)
        head, body = await line.ask("", *headers, version=version)
        assert body["way"] == "long"
        assert b"connection: close" in head.lower()
        assert await line.reader.read() == b""
        line.writer.close()


async def test_proxy_is_asked_for_the_address(hs: Homeserver) -> None:
    """The address of the client is taken from a proxy only if that is trusted."""
    line = await dial(hs)
    body = (await line.ask("", "X-Forwarded-For: 192.0.2.1"))[1]
    assert (body["way"], body["remote"]) == ("at once", "192.0.2.1")
    line.writer.close()
    async with serve(extra=[routes], trusted_proxies=()) as alone:
        line = await dial(alone)
        body = (await line.ask("", "X-Forwarded-For: 192.0.2.1"))[1]
        assert (body["way"], body["remote"]) == ("at once", "127.0.0.1")
        line.writer.close()


async def test_each_request_is_charged_once() -> None:
    """What is answered at once counts as any other, and refusals take nothing."""
    async with serve(extra=[routes], rate_limits=RateLimits(read=Rate(per_second=0.001, burst=4))) as hs:
        line = await dial(hs)
        found = [(await line.ask(query))[1].get("way") for query in ("", "way=long", "", "way=long", "", "way=long")]
        assert found == ["at once", "long", "at once", "long", None, None]
        line.writer.close()


async def test_stopping_server_answers_and_closes(hs: Homeserver) -> None:
    """The last answers say that the connection ends."""
    line = await dial(hs)
    hs.app.stopping = True
    head, body = await line.ask()
    assert body["way"] == "long"
    assert b"connection: close" in head.lower()
    assert await line.reader.read() == b""
    line.writer.close()
