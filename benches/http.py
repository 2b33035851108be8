"""A small HTTP client for load: one connection, one request at a time, little CPU of its own.

The load generator shares the machine with what it measures, so it must cost less than any server. Not a general client.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson


class Answer(NamedTuple):
    """A response and how long it took."""

    status: int
    body: bytes
    seconds: float

    def json(self) -> Any:
        """Return the decoded body; raise if the request failed."""
        if self.status != 200:
            raise RuntimeError(f"status {self.status}: {self.body[:300]!r}")
        return orjson.loads(self.body)


class Connection:
    """A kept-alive connection with an access token."""

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._host, self._port = parts.hostname, parts.port
        self.token = token
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json"
    ) -> Answer:
        """Send one request and return the answer. `body` is bytes or something to be sent as JSON."""
        data = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
        if self.token:
            head += f"Authorization: Bearer {self.token}\r\n"
        head += f"Content-Type: {content_type}\r\nContent-Length: {len(data)}\r\n\r\n"
        started = time.perf_counter()
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=1 << 22)
        reader, writer = self._streams
        writer.write(head.encode() + data)
        status, answer = await self._read(reader)
        return Answer(status, answer, time.perf_counter() - started)

    async def _read(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])
        if b"\r\ntransfer-encoding: chunked" in head:
            pieces = []
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                pieces.append(await reader.readexactly(size))
                await reader.readexactly(2)
            await reader.readexactly(2)
            body = b"".join(pieces)
        else:
            at = head.find(b"\r\ncontent-length:")
            length = int(head[at + 17 : head.index(b"\r\n", at + 2)]) if at >= 0 else 0
            body = await reader.readexactly(length)
        if b"\r\nconnection: close" in head:
            await self.close()
        return status, body

    async def get(self, path: str) -> Any:
        """Return the decoded answer to a GET; raise unless it is 200."""
        return (await self.request("GET", path)).json()

    async def post(self, path: str, body: Any) -> Any:
        """Return the decoded answer to a POST; raise unless it is 200."""
        return (await self.request("POST", path, body)).json()

    async def put(self, path: str, body: Any) -> Any:
        """Return the decoded answer to a PUT; raise unless it is 200."""
        return (await self.request("PUT", path, body)).json()

    async def close(self) -> None:
        """Close the connection; the next request opens it again."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
