"""Finding media to serve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.database import trees
from conduit.database.layouts import MediaMeta
from conduit.protocol.errors import BadRequest, NotFound, NotYetUploaded, TooLarge
from conduit.protocol.ids import ServerName
from conduit.service.context import Context
from conduit.service.media import downloads, items, uploads
from conduit.service.media.downloads import Found
from tests.service.media.pictures import animation, opened, picture
from tests.support.clock import settle
from tests.support.rooms import ALICE, SERVER


async def once(data: bytes) -> AsyncIterator[bytes]:
    """Yield `data`."""
    yield data


async def upload(ctx: Context, data: bytes, content_type: str = "image/png", filename: str = "") -> str:
    """Upload bytes and return the media id."""
    uri = await uploads.upload(ctx, ALICE, once(data), filename=filename, content_type=content_type)
    return uri.rpartition("/")[2]


async def thumbnail(ctx: Context, media_id: str, width: int, height: int, **options: Any) -> Found:
    """Return a thumbnail, scaled and standing still unless told otherwise."""
    asked = {"method": "scale", "animated": False, **options}
    return await downloads.thumbnail(ctx, SERVER, media_id, width=width, height=height, **asked)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("", "inline"),
        ("a b.txt", 'inline; filename="a b.txt"'),
        ("100%", "inline; filename*=utf-8''100%25"),
        ('a"b', "inline; filename*=utf-8''a%22b"),
        ("a\\b", "inline; filename*=utf-8''a%5Cb"),
        ("../x", 'inline; filename="../x"'),
        ("a\nb", "inline; filename*=utf-8''a%0Ab"),
        ("日", "inline; filename*=utf-8''%E6%97%A5"),
        ("\ud800", "inline; filename*=utf-8''%3F"),
    ],
)
def test_file_name_cannot_break_out_of_its_header(filename: str, expected: str) -> None:
    """Plain names are quoted, all others percent-encoded."""
    assert downloads.disposition("inline", filename) == expected


async def test_no_script_is_ever_shown_in_place(ctx: Context) -> None:
    """Types with scripts are saved, and an unknown type is none at all."""
    for content_type in ("text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/pdf", ""):
        found = await downloads.download(ctx, SERVER, await upload(ctx, b"x", content_type))
        assert found.headers["Content-Disposition"] == "attachment"
        assert found.content_type == (content_type or "application/octet-stream")


async def test_fetching_is_noted(ctx: Context) -> None:
    """So that retention keeps what is used."""
    media_id = await upload(ctx, b"x")
    assert not ctx.media_files.accesses
    found = await downloads.download(ctx, SERVER, media_id, filename="other")
    assert found.path.read_bytes() == b"x"
    assert found.headers["Content-Disposition"] == 'inline; filename="other"'
    assert list(ctx.media_files.accesses.values()) == [ctx.clock.now_ms() // 1000]


async def test_blocked_media_is_not_found(ctx: Context) -> None:
    """Neither is another item with the same bytes."""
    media_ids = [await upload(ctx, b"x"), await upload(ctx, b"x")]
    with ctx.db.batch() as batch:
        trees.blocked_servername_mediaid.put(batch, (SERVER, media_ids[0]), (5, "reason"))
    for media_id in media_ids:
        with pytest.raises(NotFound):
            await downloads.download(ctx, SERVER, media_id)
        with pytest.raises(NotFound):
            await thumbnail(ctx, media_id, 32, 32)


async def test_without_a_token_only_old_media_is_served(ctx: Context) -> None:
    """Media from before downloads needed one, and its thumbnails."""
    new = await upload(ctx, picture(200, 200))
    with pytest.raises(NotFound):
        await downloads.download(ctx, SERVER, new, authenticated=False)
    meta = items.get(ctx.db, SERVER, new)
    assert meta is not None
    with ctx.db.batch() as batch:
        old = MediaMeta(meta.sha256, "", "image/png", True)
        items.put(batch, SERVER, "old", old, size=1, uploader=None, now_ms=0)
    assert (await downloads.download(ctx, SERVER, "old", authenticated=False)).path.exists()
    for authenticated in (True, False):
        assert (await thumbnail(ctx, "old", 32, 32, authenticated=authenticated)).path.exists()


async def test_download_of_a_reserved_id_waits_for_it(ctx: Context) -> None:
    """It is answered when the upload ends; without patience it is refused."""
    uri, _ = await uploads.reserve(ctx, ALICE)
    media_id = uri.rpartition("/")[2]
    with pytest.raises(NotYetUploaded):
        await downloads.download(ctx, SERVER, media_id, wait_ms=0)
    with pytest.raises(NotYetUploaded):
        await downloads.download(ctx, SERVER, media_id, wait_ms=1)
    waiting = asyncio.ensure_future(downloads.download(ctx, SERVER, media_id))
    await settle()
    assert not waiting.done()
    await uploads.fill(ctx, ALICE, SERVER, media_id, once(b"x"), filename="", content_type="text/plain")
    assert (await waiting).path.read_bytes() == b"x"


async def test_thumbnail_is_made_once_and_kept(ctx: Context) -> None:
    """Those who ask at the same time wait for the one who makes it; the second look finds it."""
    media_id = await upload(ctx, picture(400, 400))
    first, second = await asyncio.gather(thumbnail(ctx, media_id, 96, 96), thumbnail(ctx, media_id, 90, 90))
    assert first == second
    assert first.headers["Content-Disposition"] == 'inline; filename="thumbnail.jpg"'
    before = first.path.stat().st_mtime_ns
    assert (await thumbnail(ctx, media_id, 96, 96)).path == first.path
    assert first.path.stat().st_mtime_ns == before
    cropped = await thumbnail(ctx, media_id, 96, 50, method="crop")
    assert opened(cropped.path.read_bytes()).size == (96, 96)


async def test_large_still_pictures_are_not_served_smaller_than_asked_for(ctx: Context) -> None:
    """Beyond the largest thumbnail the original serves, whatever its type; of an animation, its first frame."""
    data = picture(1200, 900)
    found = await thumbnail(ctx, await upload(ctx, data), 1000, 1000)
    assert found.path.read_bytes() == data
    moving = await upload(ctx, animation(900, 700), "image/gif")
    still = opened((await thumbnail(ctx, moving, 1000, 1000)).path.read_bytes())
    assert (still.size, getattr(still, "n_frames", 1)) == ((900, 700), 1)
    assert (await thumbnail(ctx, moving, 1000, 1000, animated=True)).content_type == "image/gif"


async def test_what_is_no_picture_has_no_thumbnail(ctx: Context) -> None:
    """Neither by its bytes nor by its type; large files are not even read, and lost ones not found."""
    with pytest.raises(BadRequest):
        await thumbnail(ctx, await upload(ctx, b"text", "text/plain"), 32, 32)
    with pytest.raises(BadRequest):
        await thumbnail(ctx, await upload(ctx, b"text", "text/plain"), 5000, 5000)
    with pytest.raises(BadRequest):
        await thumbnail(ctx, await upload(ctx, picture(10, 10), "text/html"), 32, 32)
    for media_id, size, error in (("large", downloads.MAX_THUMBNAIL_INPUT + 1, TooLarge), ("lost", 1, NotFound)):
        with ctx.db.batch() as batch:
            meta = MediaMeta(media_id.encode().ljust(32), "", "image/png", False)
            items.put(batch, SERVER, media_id, meta, size=size, uploader=None, now_ms=0)
        with pytest.raises(error):
            await thumbnail(ctx, media_id, 32, 32)


@pytest.mark.parametrize(("server", "status"), [(SERVER, 413), ("elsewhere.org", 502)])
async def test_whose_picture_is_too_large_shows_in_the_status(ctx: Context, server: str, status: int) -> None:
    """One's own is the client's fault, another server's is not."""
    with ctx.db.batch() as batch:
        meta = MediaMeta(b"large".ljust(32), "", "image/png", False)
        size = downloads.MAX_THUMBNAIL_INPUT + 1
        items.put(batch, ServerName(server), "large", meta, size=size, uploader=None, now_ms=0)
    with pytest.raises(TooLarge) as refused:
        await downloads.thumbnail(ctx, ServerName(server), "large", width=32, height=32, method="crop", animated=False)
    assert refused.value.status == status
