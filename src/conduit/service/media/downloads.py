"""Finding media to serve: items and thumbnails, with the headers that make serving them safe.

Source: client-server API, "Content repository": "Serving inline content", "Thumbnails".
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from conduit.database import trees
from conduit.database.layouts import MediaMeta
from conduit.protocol.errors import BadRequest, NotFound, NotYetUploaded, TooLarge
from conduit.protocol.ids import ServerName
from conduit.service.context import Context
from conduit.service.media import items, remote, thumbnails
from conduit.service.media.thumbnails import Size

INLINE_TYPES = frozenset(
    [
        "text/css",
        "text/plain",
        "text/csv",
        "application/json",
        "application/ld+json",
        "image/jpeg",
        "image/gif",
        "image/png",
        "image/apng",
        "image/webp",
        "image/avif",
        "video/mp4",
        "video/webm",
        "video/ogg",
        "video/quicktime",
        "audio/mp4",
        "audio/webm",
        "audio/aac",
        "audio/mpeg",
        "audio/ogg",
        "audio/wave",
        "audio/wav",
        "audio/x-wav",
        "audio/x-pn-wav",
        "audio/flac",
        "audio/x-flac",
    ]
)
"""What a browser may show in place; everything else is handed over as a file to be saved."""

MAX_WAIT_MS = 60_000
MAX_THUMBNAIL_INPUT = 50 << 20

_SAFETY = {
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline';"
        " object-src 'self';"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    # A media id never stands for other bytes; private, because who may fetch it is decided for each user.
    "Cache-Control": "private, max-age=31536000, immutable",
}


class Found(NamedTuple):
    """A file to serve."""

    path: Path
    content_type: str
    headers: dict[str, str]
    etag: str


def disposition(kind: str, filename: str) -> str:
    """Return a Content-Disposition header: plain where the name is plain ASCII, else in the form of RFC 6266."""
    if not filename:
        return kind
    if filename.isascii() and filename.isprintable() and not set(filename) & set('"\\%;'):
        return f'{kind}; filename="{filename}"'
    return f"{kind}; filename*=utf-8''{quote(filename, safe='', errors='replace')}"


def _found(ctx: Context, meta: MediaMeta, filename: str, *, inline: bool | None = None) -> Found:
    content_type = meta.content_type or "application/octet-stream"
    if inline is None:
        inline = content_type.partition(";")[0].strip().lower() in INLINE_TYPES
    headers = {**_SAFETY, "Content-Disposition": disposition("inline" if inline else "attachment", filename)}
    ctx.media_files.accesses[meta.sha256] = ctx.clock.now_ms() // items.SECOND_MS
    return Found(ctx.media_files.path_of(meta.sha256), content_type, headers, meta.sha256.hex()[:32])


def must_be_fetched(ctx: Context, server: ServerName, media_id: str) -> bool:
    """Tell whether another server would have to be asked for the item."""
    return server != ctx.server_name and items.get(ctx.db, server, media_id) is None


async def _item(
    ctx: Context, server: ServerName, media_id: str, wait_ms: int, *, authenticated: bool, fetch: bool
) -> MediaMeta:
    """Return an item that may be served, waiting at most `wait_ms` for one whose upload is announced.

    With `fetch` another server's is fetched if it is not kept here. Not for callers without a token: anybody could fill the disk.
    """
    meta = items.get(ctx.db, server, media_id)
    if meta is None and server != ctx.server_name and authenticated and fetch and ctx.outbound.policy.enabled:
        if items.is_blocked(ctx.db, server, media_id):
            raise NotFound("There is no such media")
        meta = await remote.fetch(ctx, server, media_id, wait_ms=min(wait_ms, MAX_WAIT_MS))
    if meta is None and _is_pending(ctx, server, media_id):
        with ctx.db.watch.register([("media", server, media_id)]) as waiter:
            meta = items.get(ctx.db, server, media_id)
            if meta is None and wait_ms:
                await waiter.wait(min(wait_ms, MAX_WAIT_MS) / 1000)
                meta = items.get(ctx.db, server, media_id)
        if meta is None:
            raise NotYetUploaded("The content has not been uploaded yet")
    if meta is None or items.is_blocked(ctx.db, server, media_id):
        raise NotFound("There is no such media")
    if not authenticated and not meta.unauthenticated:
        # The old endpoints are frozen: they serve only what was there when downloads needed no token.
        raise NotFound("There is no such media")
    return meta


def _is_pending(ctx: Context, server: str, media_id: str) -> bool:
    row = trees.media_pending.get(ctx.db, (server, media_id))
    return row is not None and bool(row["expires_at"] > ctx.clock.now_ms())


async def download(
    ctx: Context,
    server: ServerName,
    media_id: str,
    *,
    filename: str | None = None,
    wait_ms: int = 20_000,
    authenticated: bool = True,
    fetch: bool = True,
) -> Found:
    """Return the file of an item; `filename` replaces the uploader's. Raises `NotFound`, `NotYetUploaded`."""
    meta = await _item(ctx, server, media_id, wait_ms, authenticated=authenticated, fetch=fetch)
    return _found(ctx, meta, meta.filename if filename is None else filename)


async def thumbnail(
    ctx: Context,
    server: ServerName,
    media_id: str,
    *,
    width: int,
    height: int,
    method: str,
    animated: bool,
    wait_ms: int = 20_000,
    authenticated: bool = True,
    fetch: bool = True,
) -> Found:
    """Return a thumbnail no smaller than asked for, made and kept on first use, or the original where that is no larger.

    Raises `BadRequest` for what cannot be thumbnailed, `TooLarge` (with status 502 for another server's), `NotFound`, `NotYetUploaded`.
    """
    meta = await _item(ctx, server, media_id, wait_ms, authenticated=authenticated, fetch=fetch)
    size = thumbnails.choose(width, height, method, animated=animated)
    kind = meta.content_type.partition(";")[0].strip().lower()
    if size is None and not animated and kind in ("image/gif", "image/webp", "image/png", "image/apng"):
        # The original might move, and a still picture was asked for.
        size = Size(thumbnails.AS_LARGE, thumbnails.AS_LARGE, crop=False, animated=False)
    if size is None:
        return _original(ctx, meta, kind)
    async with ctx.media_files.making((server, media_id, size.key())):
        made = items.get_thumbnail(ctx.db, server, media_id, *size.key())
        if made is None:
            try:
                made = await _make(ctx, server, media_id, meta, size)
            except TooLarge as error:
                # What another server has let in is no fault of the client.
                raise TooLarge(error.error, status=413 if server == ctx.server_name else 502) from error
    if made is None:
        return _original(ctx, meta, kind)
    return _found(ctx, made, _thumbnail_name(made), inline=True)


def _original(ctx: Context, meta: MediaMeta, kind: str) -> Found:
    if kind not in thumbnails.CONTENT_TYPES:
        raise BadRequest("Cannot generate thumbnails for the requested content")
    return _found(ctx, meta, meta.filename or _thumbnail_name(meta), inline=True)


def _thumbnail_name(meta: MediaMeta) -> str:
    return "thumbnail." + meta.content_type.partition("/")[2].replace("jpeg", "jpg")


async def _make(ctx: Context, server: ServerName, media_id: str, meta: MediaMeta, size: Size) -> MediaMeta | None:
    known = items.file(ctx.db, meta.sha256)
    if known is not None and known.size > MAX_THUMBNAIL_INPUT:
        raise TooLarge("Content is too large to thumbnail")
    try:
        data = await ctx.media_files.read(meta.sha256)
    except FileNotFoundError as error:
        raise NotFound("There is no such media") from error
    picture = await ctx.media_files.thumbnailer.make(data, size)
    if picture is None:
        return None
    async with ctx.media_files.storing_bytes(picture.data) as stored:
        made = MediaMeta(stored.sha256, "", picture.content_type, meta.unauthenticated)
        with ctx.db.batch() as batch:
            now = ctx.clock.now_ms()
            items.put_thumbnail(batch, server, media_id, *size.key(), made, size=stored.size, now_ms=now)
    return made
