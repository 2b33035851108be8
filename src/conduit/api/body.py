"""Reading a request's body within its limit, whatever the client announced about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestPayloadError

from conduit.protocol.errors import BadRequest, TooLarge, UnsupportedContentType

IDLE_SECONDS = 60
"""How long the next piece of a body may take."""


def _check(http: web.BaseRequest, limit: int) -> None:
    # A compressed body could expand to anything; Matrix knows none, so none is taken.
    encoding = http.headers.get("Content-Encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedContentType("Compressed request bodies are not supported")
    length = http.content_length
    if length is not None and length > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The request exceeds {limit} bytes")


async def _continue(http: web.BaseRequest) -> None:
    # The client holds its body back until it is asked for it.
    if http.headers.get("Expect", "").lower() == "100-continue":
        await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        http.writer.output_size = 0


async def _next_piece(content: StreamReader) -> bytes:
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            return await content.readany()
    except TimeoutError as error:
        raise BadRequest("The body took too long to arrive", status=408) from error
    except (RequestPayloadError, ConnectionError) as error:
        raise BadRequest("The body was cut off or malformed") from error


async def read(http: web.BaseRequest, limit: int) -> bytes:
    """Return the whole body; raises `TooLarge` as soon as it exceeds `limit` bytes."""
    if not http.body_exists:
        return b""
    _check(http, limit)
    content = http.content
    if not content.is_eof():
        await _continue(http)
    pieces: list[bytes] = []
    size = 0
    while not content.at_eof():
        piece = await _next_piece(content) if not content.is_eof() else content.read_nowait(-1)
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def stream(http: web.BaseRequest, limit: int) -> AsyncIterator[bytes]:
    """Return the body piece by piece; raises `TooLarge` as soon as it exceeds `limit` bytes, `BadRequest` if it breaks off."""
    if not http.body_exists:
        return
    _check(http, limit)
    await _continue(http)
    content = http.content
    size = 0
    while not content.at_eof():
        piece = await _next_piece(content)
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        if piece:
            yield piece
