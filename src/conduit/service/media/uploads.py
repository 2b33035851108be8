"""Uploads: at once, or to a media id that was reserved before.

Source: client-server API, "Content repository"; POST /upload, POST /create, PUT /upload/{serverName}/{mediaId}.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from conduit.database import trees
from conduit.database.database import Batch
from conduit.database.layouts import MediaMeta
from conduit.protocol.errors import CannotOverwriteMedia, Forbidden, InvalidParam, LimitExceeded, NotFound
from conduit.protocol.ids import MxcUri, ServerName, UserId
from conduit.service.context import Context
from conduit.service.media import items
from conduit.utils.tokens import random_text

MEDIA_ID_LENGTH = 32
PENDING_LIFETIME_MS = 24 * 3600 * 1000
MAX_PENDING = 50
"""How many ids a user may have reserved at a time."""
MAX_NAME_BYTES = 255
MAX_TYPE_BYTES = 255


def check_name(filename: str, content_type: str) -> None:
    """Raise `InvalidParam` for a file name or content type that cannot be kept."""
    if len(filename.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES or "\0" in filename:
        raise InvalidParam(f"A file name holds at most {MAX_NAME_BYTES} bytes")
    if len(content_type) > MAX_TYPE_BYTES or not content_type.isprintable() or not content_type.isascii():
        raise InvalidParam("Not a content type")


async def upload(
    ctx: Context, user_id: UserId, pieces: AsyncIterator[bytes], *, filename: str, content_type: str
) -> MxcUri:
    """Store an upload and return its URI. Raises `TooLarge`, `InvalidParam`."""
    media_id = random_text(MEDIA_ID_LENGTH)
    await _store(ctx, user_id, media_id, pieces, filename, content_type)
    return MxcUri(f"mxc://{ctx.server_name}/{media_id}")


async def reserve(ctx: Context, user_id: UserId) -> tuple[MxcUri, int]:
    """Return a URI to be uploaded to later, and until when (ms since the epoch). Raises `LimitExceeded` for too many of them."""
    now = ctx.clock.now_ms()
    pending = [expires for expires in _pending(ctx, user_id) if expires > now]
    if len(pending) >= MAX_PENDING:
        raise LimitExceeded("Too many uploads are pending", retry_after_ms=max(1, min(pending) - now))
    media_id = random_text(MEDIA_ID_LENGTH)
    expires_at = now + PENDING_LIFETIME_MS
    with ctx.db.batch() as batch:
        row = {"user": user_id, "expires_at": expires_at}
        trees.media_pending.put(batch, (ctx.server_name, media_id), row)
        trees.media_pending_of_user.put(batch, (user_id, media_id), expires_at)
    return MxcUri(f"mxc://{ctx.server_name}/{media_id}"), expires_at


def _pending(ctx: Context, user_id: UserId) -> list[int]:
    return [expires for _, expires in trees.media_pending_of_user.scan(ctx.db, (user_id,))]


async def fill(
    ctx: Context,
    user_id: UserId,
    server: ServerName,
    media_id: str,
    pieces: AsyncIterator[bytes],
    *,
    filename: str,
    content_type: str,
) -> None:
    """Store the upload for a reserved id. Raises `NotFound`, `Forbidden`, `CannotOverwriteMedia`, `TooLarge`."""
    _check_may_fill(ctx, user_id, server, media_id)
    await _store(ctx, user_id, media_id, pieces, filename, content_type, reserved=True)


def _check_may_fill(ctx: Context, user_id: UserId, server: ServerName, media_id: str) -> None:
    if server == ctx.server_name and items.get(ctx.db, server, media_id) is not None:
        if items.uploader(ctx.db, server, media_id) != user_id[1:].partition(":")[0]:
            raise Forbidden("The media ID belongs to another user")
        raise CannotOverwriteMedia("Media already uploaded")
    row = trees.media_pending.get(ctx.db, (server, media_id))
    if row is None or row["expires_at"] <= ctx.clock.now_ms():
        raise NotFound("Unknown media ID")
    if row["user"] != user_id:
        raise Forbidden("The media ID belongs to another user")


async def _store(
    ctx: Context,
    user_id: UserId,
    media_id: str,
    pieces: AsyncIterator[bytes],
    filename: str,
    content_type: str,
    *,
    reserved: bool = False,
) -> None:
    check_name(filename, content_type)
    server = ctx.server_name
    async with ctx.media_files.storing(pieces, ctx.config.max_request_size) as stored:
        if reserved:
            # The upload took its time: another one to the same id may have been quicker.
            _check_may_fill(ctx, user_id, server, media_id)
        meta = MediaMeta(stored.sha256, filename, content_type, False)
        with ctx.db.batch() as batch:
            now = ctx.clock.now_ms()
            items.put(batch, server, media_id, meta, size=stored.size, uploader=user_id, now_ms=now)
            _drop_pending(batch, server, media_id, user_id)
            batch.wake(("media", server, media_id))


def _drop_pending(batch: Batch, server: str, media_id: str, user_id: str) -> None:
    trees.media_pending.delete(batch, (server, media_id))
    trees.media_pending_of_user.delete(batch, (user_id, media_id))


def sweep_pending(batch: Batch, now_ms: int) -> int:
    """Remove the reserved ids whose time is over; return how many."""
    over = [(key, row["user"]) for key, row in trees.media_pending.scan(batch) if row["expires_at"] <= now_ms]
    for (server, media_id), user_id in over:
        _drop_pending(batch, server, media_id, user_id)
    return len(over)
