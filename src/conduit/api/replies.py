"""From a handler's answer to bytes on the connection.

Nearly every answer is one small JSON object. `Whole` writes status line, headers and body in a single piece, which costs a fraction of
what the HTTP library's general response does; whatever streams goes through the library.

Source: client-server API, "API Standards", "Web Browser Clients"; RFC 9110, sections 13 and 14.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time

from conduit.api.web import Answer, RawReply, Reply, StreamReply
from conduit.protocol.errors import NotFound

CORS: dict[str, str] = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization",
}
SERVER = "Conduit-py"
CHUNK = 1 << 20
"""How much of a file is read at a time; smaller files are sent whole."""
_SHORT = 16 * 1024
"""Bodies up to this are sent in one piece with the head, which is cheaper than two in spite of the copy."""

_FIXED = "".join(f"{name}: {value}\r\n" for name, value in {"Server": SERVER, **CORS}.items())
_JSON = "application/json"
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
WRITE_SECONDS = 120
"""How long a client has to read a piece of an answer."""
_LINE_BREAKS = re.compile(r"[\r\n\0]")


def _head(status: int, content_type: str, headers: Mapping[str, str]) -> str:
    lines = _LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    lines = f"{lines}Content-Type: {content_type}\r\n{_FIXED}" if content_type else lines + _FIXED
    for name, value in headers.items():
        lines += f"{name}: {_LINE_BREAKS.sub(' ', value)}\r\n"
    return lines


_JSON_OK = _head(200, _JSON, {})


class Whole(web.StreamResponse):
    """A response that is known in full before its first byte is sent."""

    def __init__(self, head: str, body: bytes, status: int = 200) -> None:
        # The base class would build headers that are never used.
        self._head = head
        self._content = body
        self._status = status
        self._keep_alive: bool | None = None
        self._eof_sent = False

    @property
    def status(self) -> int:
        """The status code."""
        return self._status

    @property
    def body(self) -> bytes:
        """The bytes after the headers."""
        return self._content

    def packet(self) -> bytes:
        """Return all of it as it is sent on a connection of HTTP/1.1 that stays open."""
        body = self._content
        head = f"{self._head}Date: {rfc822_formatted_time()}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode("latin-1", "replace") + body

    async def prepare(self, request: web.BaseRequest) -> Any:
        """Send everything. Raises `ConnectionError` if the client is gone."""
        keep_alive = self._keep_alive
        if keep_alive is None:
            keep_alive = self._keep_alive = request.keep_alive
        connection = "" if keep_alive and request.version >= (1, 1) else _connection(keep_alive)
        body = self._content
        head = f"{self._head}Date: {rfc822_formatted_time()}\r\n{connection}Content-Length: {len(body)}\r\n\r\n"
        if self._status in (204, 304):
            head = f"{self._head}Date: {rfc822_formatted_time()}\r\n{connection}\r\n"
            body = b""
        elif request.method == "HEAD":
            body = b""
        await _write(request, head.encode("latin-1", "replace"), body)
        # The connection's task holds its last response until the next request comes, which may be in an hour.
        self._content = b""
        self._eof_sent = True

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has sent everything."""


async def _write(request: web.BaseRequest, head: bytes, body: bytes) -> None:
    writer, transport = request.writer, request.transport
    if len(body) <= _SHORT or transport is None or transport.is_closing():
        await writer.write(head + body)
        return
    # Both in one call of the system, without a copy; the library's writer would take two.
    writer.output_size += len(head) + len(body)
    transport.writelines((head, body))
    await writer.drain()


def _connection(keep_alive: bool | None) -> str:
    return "Connection: keep-alive\r\n" if keep_alive else "Connection: close\r\n"


def whole(answer: Answer) -> Whole | None:
    """Return the response for an answer that is complete, or `None` for a `StreamReply`."""
    if isinstance(answer, dict):
        return Whole(_JSON_OK, orjson.dumps(answer))
    if isinstance(answer, Reply):
        return Whole(_head(answer.status, _JSON, answer.headers), orjson.dumps(answer.body), answer.status)
    if isinstance(answer, RawReply):
        return Whole(_head(answer.status, answer.content_type, answer.headers), answer.body, answer.status)
    return None


PREFLIGHT = RawReply(b"", content_type="", status=204, headers={"Access-Control-Max-Age": "86400"})
"""The answer to OPTIONS: the CORS headers and nothing else."""


async def stream(answer: StreamReply, request: web.BaseRequest) -> web.StreamResponse:
    """Return the response for a `StreamReply`, sent already as far as it could not be sent whole."""
    if isinstance(answer.source, Path):
        return await _send_file(answer, answer.source, request)
    response = _streamed(answer, answer.status, answer.headers)
    if answer.size is not None:
        response.content_length = answer.size
    await _send(response, request, answer.source)
    return response


def _streamed(answer: StreamReply, status: int, headers: Mapping[str, str]) -> web.StreamResponse:
    clean = {name: _LINE_BREAKS.sub(" ", value) for name, value in headers.items()}
    return web.StreamResponse(
        status=status, headers={"Content-Type": answer.content_type, "Server": SERVER, **CORS, **clean}
    )


async def _send(response: web.StreamResponse, request: web.BaseRequest, pieces: AsyncIterator[bytes]) -> None:
    await response.prepare(request)
    if request.method == "HEAD":
        return
    async for piece in pieces:
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await response.write(piece)
        except TimeoutError as error:
            # Whoever takes nothing holds whatever the rest is made from.
            raise ConnectionResetError("The answer is not taken") from error
    await response.write_eof()


async def _send_file(answer: StreamReply, path: Path, request: web.BaseRequest) -> web.StreamResponse:
    headers = {**answer.headers, "Accept-Ranges": "bytes"}
    tag = None if answer.etag is None else f'"{answer.etag}"'
    if tag is not None:
        headers["ETag"] = tag
        if _names_tag(request.headers.get("If-None-Match"), tag):
            return Whole(_head(304, "", headers), b"", 304)
    wanted = request.headers.get("Range")
    condition = request.headers.get("If-Range")
    if answer.status != 200 or (condition is not None and condition != tag):
        wanted = None
    loop = asyncio.get_running_loop()
    try:
        opened = await loop.run_in_executor(None, _open, path, wanted, request.method == "HEAD")
    except FileNotFoundError as error:
        raise NotFound("The file is gone") from error
    try:
        first, end, status = opened.first, opened.end, answer.status
        if opened.is_part:
            if first >= end:
                headers["Content-Range"] = f"bytes */{opened.size}"
                return Whole(_head(416, "", headers), b"", 416)
            status = 206
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{opened.size}"
        if opened.data is not None:
            return Whole(_head(status, answer.content_type, headers), opened.data, status)
        response = _streamed(answer, status, headers)
        response.content_length = end - first
        await _send(response, request, _pieces(opened.file, first, end))
        return response
    finally:
        opened.file.close()


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Return the first byte asked for and the one after the last; an empty span cannot be satisfied.

    `None` if the header is to be ignored: it is malformed, has another unit, or asks for several ranges.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if not first:
        return max(size - int(last), 0), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


def _names_tag(header: str | None, tag: str) -> bool:
    if header is None:
        return False
    return header.strip() == "*" or any(part.strip().removeprefix("W/") == tag for part in header.split(","))


class _Opened(NamedTuple):
    """A file of which `first` to `end` is wanted, with these bytes if they are few."""

    file: FileIO
    size: int
    first: int
    end: int
    is_part: bool
    data: bytes | None


def _open(path: Path, wanted: str | None, head_only: bool) -> _Opened:
    """Open a file and read what is to be sent at once: one turn in a thread for most files."""
    file = FileIO(path)
    try:
        size = os.fstat(file.fileno()).st_size
        span = None if wanted is None else byte_range(wanted, size)
        first, end = span or (0, size)
        data = None
        if end - first <= CHUNK and not head_only:
            data = _read(file, first, max(0, end - first))
            end = first + len(data)
        return _Opened(file, size, first, end, span is not None, data)
    except BaseException:
        file.close()
        raise


def _read(file: FileIO, first: int, length: int) -> bytes:
    return os.pread(file.fileno(), length, first)


async def _pieces(file: FileIO, first: int, end: int) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    while first < end:
        piece = await loop.run_in_executor(None, _read, file, first, min(CHUNK, end - first))
        if not piece:
            raise ConnectionError("the file has become shorter")
        first += len(piece)
        yield piece
