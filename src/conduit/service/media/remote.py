"""Media of other servers: fetched when a user of this one asks for it, kept as long as the configuration says.

Each item is fetched once at a time, through a file of bounded size; who asks meanwhile waits for it. That it could not be had is remembered for a short while.

Source: server-server API, "Content Repository"; client-server API, "Content repository".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Final, NamedTuple

from conduit.database.layouts import MediaMeta
from conduit.protocol.errors import ConnectionFailed, MatrixError, NotFound, NotYetUploaded, TooLarge
from conduit.protocol.ids import ServerName
from conduit.service.context import Context
from conduit.service.media import items, uploads
from conduit.service.media.multipart import Header, Malformed, media_part
from conduit.service.outbound.errors import HttpFailed, Refused, RemoteError
from conduit.service.outbound.wire import WireStream

PAUSE_SECONDS: Final = 30.0
"""How long a server may send nothing."""
FETCH_SECONDS: Final = 600.0
"""How long a file may take altogether."""
FAILED_MS: Final = 60_000
"""How long it is remembered that an item could not be had."""
_REDIRECTS: Final = 3
_ANY_SIZE: Final = 1 << 50
"""What is too large is noticed where it is written: the server has done nothing wrong."""
_OLD_ENDPOINTS: Final = ("/_matrix/media/v3/download", "/_matrix/media/r0/download")


class _Source(NamedTuple):
    """Where the bytes come from, and what is said of them."""

    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]


async def fetch(ctx: Context, server: ServerName, media_id: str, *, wait_ms: int) -> MediaMeta:
    """Return the item, now that it is kept here. `wait_ms` is how long the other server may wait for an upload.

    Raises `NotFound`, `NotYetUploaded`, `TooLarge` with status 502, and `ConnectionFailed`.
    """
    key = ("media", server, media_id)
    failed = ctx.outbound.recent.get(("failed", *key), ctx.clock.now_ms())
    if isinstance(failed, MatrixError):
        raise failed
    return await ctx.outbound.flights.join(ctx.tasks, key, lambda: _fetch(ctx, server, media_id, wait_ms))


async def _fetch(ctx: Context, server: ServerName, media_id: str, wait_ms: int) -> MediaMeta:
    try:
        async with asyncio.timeout(FETCH_SECONDS), AsyncExitStack() as stack:
            return await _store(ctx, server, media_id, await _open(ctx, stack, server, media_id, wait_ms))
    except (RemoteError, HttpFailed, Malformed, TimeoutError, MatrixError) as reason:
        error = _told(server, reason)
        if not isinstance(error, NotYetUploaded):
            until_ms = ctx.clock.now_ms() + FAILED_MS
            ctx.outbound.recent.put(("failed", "media", server, media_id), error, until_ms=until_ms)
        raise error from reason


def _told(server: ServerName, reason: Exception) -> MatrixError:
    """Return what a client is told."""
    if isinstance(reason, TooLarge) or (isinstance(reason, Refused) and reason.errcode == "M_TOO_LARGE"):
        return TooLarge("Content is too large to serve", status=502)
    if isinstance(reason, Refused):
        if reason.errcode == "M_NOT_YET_UPLOADED":
            return NotYetUploaded("The content has not been uploaded yet")
        return NotFound("There is no such media")
    if isinstance(reason, MatrixError):
        return reason
    return ConnectionFailed(f"The media could not be fetched from {server}")


async def _open(ctx: Context, stack: AsyncExitStack, server: ServerName, media_id: str, wait_ms: int) -> _Source:
    """Ask for the item by today's endpoint, and where that is unknown by those from before."""
    federation = ctx.outbound.federation
    path = federation.path("/_matrix/federation/v1/media/download", media_id)
    query = {"timeout_ms": str(wait_ms)}
    seconds = PAUSE_SECONDS + wait_ms / 1000
    try:
        got = await stack.enter_async_context(
            federation.stream(server, path, query, seconds=seconds, max_bytes=_ANY_SIZE)
        )
    except Refused as error:
        if not error.is_unrecognised:
            raise
        return await _open_old(ctx, stack, server, media_id, wait_ms)
    return await _opened(ctx, stack, got)


async def _opened(ctx: Context, stack: AsyncExitStack, got: WireStream) -> _Source:
    header = Header(_lower(got.headers))
    if header.kind != "multipart/mixed" or header.boundary is None:
        raise Malformed("the answer is not in parts")
    headers, body = await media_part(got.pieces, header.boundary)
    location = headers.get("location")
    return _Source(headers, body) if location is None else await _open_url(ctx, stack, location)


async def _open_old(ctx: Context, stack: AsyncExitStack, server: ServerName, media_id: str, wait_ms: int) -> _Source:
    refused: Refused | None = None
    # It must not ask a third server: this could go round in circles.
    query = {"allow_remote": "false", "timeout_ms": str(wait_ms)}
    for base in _OLD_ENDPOINTS:
        path = ctx.outbound.federation.path(base, server, media_id)
        try:
            got = await stack.enter_async_context(
                ctx.outbound.federation.stream(server, path, query, seconds=PAUSE_SECONDS, max_bytes=_ANY_SIZE)
            )
        except Refused as error:
            refused = error
            if not error.is_unrecognised:
                raise
            continue
        headers = _lower(got.headers)
        if got.status >= 300:
            return await _open_url(ctx, stack, headers.get("location", ""))
        return _Source(headers, got.pieces)
    assert refused is not None
    raise refused


async def _open_url(ctx: Context, stack: AsyncExitStack, url: str) -> _Source:
    """Follow a server's word that the bytes lie elsewhere. The address filter holds there too."""
    got = await stack.enter_async_context(
        ctx.outbound.http.stream("GET", url, seconds=PAUSE_SECONDS, max_bytes=_ANY_SIZE, redirects=_REDIRECTS)
    )
    if got.status != 200:
        raise HttpFailed(f"it answered {got.status}")
    return _Source(_lower(got.headers), got.pieces)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


async def _store(ctx: Context, server: ServerName, media_id: str, source: _Source) -> MediaMeta:
    header = Header(source.headers)
    filename, content_type = header.filename, header.content_type
    try:
        uploads.check_name("", content_type)
    except MatrixError:
        content_type = ""
    try:
        uploads.check_name(filename, "")
    except MatrixError:
        filename = ""
    async with ctx.media_files.storing(source.pieces, ctx.config.max_request_size) as stored:
        meta = MediaMeta(stored.sha256, filename, content_type or "application/octet-stream", False)
        with ctx.db.batch() as batch:
            items.put(batch, server, media_id, meta, size=stored.size, uploader=None, now_ms=ctx.clock.now_ms())
    return meta
