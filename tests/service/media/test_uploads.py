"""Uploads, at once and to reserved ids."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from conduit.database import trees
from conduit.protocol.errors import CannotOverwriteMedia, Forbidden, InvalidParam, LimitExceeded, NotFound, TooLarge
from conduit.protocol.ids import ServerName, UserId
from conduit.service.context import Context
from conduit.service.media import items, uploads
from tests.support.clock import ManualClock
from tests.support.rooms import ALICE, BOB, SERVER

DAY = 24 * 3600


async def pieces(*data: bytes, meanwhile: Callable[[], Any] = lambda: None) -> AsyncIterator[bytes]:
    """Yield `data`; `meanwhile` is called before the last piece."""
    for number, piece in enumerate(data, 1):
        if number == len(data):
            meanwhile()
        yield piece


async def reserve(ctx: Context, user_id: UserId = ALICE) -> str:
    """Reserve an id and return it."""
    uri, _ = await uploads.reserve(ctx, user_id)
    return uri.rpartition("/")[2]


async def fill(ctx: Context, media_id: str, *data: bytes, user_id: UserId = ALICE, **options: Any) -> None:
    """Upload to a reserved id."""
    upload = pieces(*data, **options)
    await uploads.fill(ctx, user_id, SERVER, media_id, upload, filename="", content_type="text/plain")


@pytest.mark.parametrize(
    ("filename", "content_type"),
    [("x" * 256, ""), ("é" * 128, ""), ("a\0b", ""), ("", "x" * 256), ("", "text/plain\n"), ("", "täxt/plain")],
)
async def test_names_that_cannot_be_kept_are_refused(ctx: Context, filename: str, content_type: str) -> None:
    """Before a byte of the upload is read."""

    async def unread() -> AsyncIterator[bytes]:
        pytest.fail("the upload must not be read")
        yield b""

    with pytest.raises(InvalidParam):
        await uploads.upload(ctx, ALICE, unread(), filename=filename, content_type=content_type)


async def test_upload_is_an_item_of_its_user(ctx: Context) -> None:
    """With name, type and size; nobody may fetch it without a token."""
    uri = await uploads.upload(ctx, ALICE, pieces(b"ab", b"c"), filename="é" * 127, content_type="text/plain")
    scheme, _, server, media_id = uri.split("/")
    assert (scheme, server) == ("mxc:", SERVER)
    meta = items.get(ctx.db, SERVER, media_id)
    assert meta is not None
    assert (meta.filename, meta.content_type, meta.unauthenticated) == ("é" * 127, "text/plain", False)
    assert await ctx.media_files.read(meta.sha256) == b"abc"
    known = items.file(ctx.db, meta.sha256)
    assert known is not None
    assert known.size == 3
    assert list(items.of_user(ctx.db, SERVER, ALICE)) == [media_id]


async def test_user_has_a_bounded_number_of_reserved_ids(ctx: Context, clock: ManualClock) -> None:
    """Others are not affected; one that is filled or runs out makes room."""
    first = await reserve(ctx)
    clock.jump(60)
    for _ in range(uploads.MAX_PENDING - 1):
        await reserve(ctx)
    with pytest.raises(LimitExceeded) as refused:
        await reserve(ctx)
    assert refused.value.body()["retry_after_ms"] == (DAY - 60) * 1000
    await reserve(ctx, BOB)
    await fill(ctx, first, b"x")
    second = await reserve(ctx)
    with pytest.raises(LimitExceeded):
        await reserve(ctx)
    clock.jump(DAY - 1)
    await fill(ctx, second, b"y")
    clock.jump(1)
    for _ in range(uploads.MAX_PENDING):
        await reserve(ctx)


async def test_only_who_reserved_an_id_may_fill_it_and_once(ctx: Context) -> None:
    """Strangers learn nothing from it, before or after."""
    media_id = await reserve(ctx)
    with pytest.raises(Forbidden):
        await fill(ctx, media_id, b"x", user_id=BOB)
    await fill(ctx, media_id, b"x")
    with pytest.raises(Forbidden):
        await fill(ctx, media_id, b"x", user_id=BOB)
    with pytest.raises(CannotOverwriteMedia):
        await fill(ctx, media_id, b"x")
    with pytest.raises(NotFound):
        await fill(ctx, "unknown", b"x")
    with pytest.raises(NotFound):
        await uploads.fill(ctx, ALICE, ServerName("away.example"), media_id, pieces(b"x"), filename="", content_type="")


async def test_of_two_uploads_to_one_id_the_first_to_end_wins(ctx: Context) -> None:
    """The other is refused although it had begun earlier."""
    media_id = await reserve(ctx)
    ended = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"slow"
        await ended.wait()

    losing = asyncio.ensure_future(
        uploads.fill(ctx, ALICE, SERVER, media_id, slow(), filename="", content_type="text/plain")
    )
    await asyncio.sleep(0)
    await fill(ctx, media_id, b"quick")
    ended.set()
    with pytest.raises(CannotOverwriteMedia):
        await losing
    meta = items.get(ctx.db, SERVER, media_id)
    assert meta is not None
    assert await ctx.media_files.read(meta.sha256) == b"quick"


async def test_id_that_runs_out_during_the_upload_is_lost(ctx: Context, clock: ManualClock) -> None:
    """What was announced as unused after that time stays unused."""
    media_id = await reserve(ctx)
    with pytest.raises(NotFound):
        await fill(ctx, media_id, b"x", b"y", meanwhile=lambda: clock.jump(DAY))
    assert items.get(ctx.db, SERVER, media_id) is None


async def test_refused_upload_leaves_the_id_reserved(ctx: Context) -> None:
    """The client may try again with fewer bytes."""
    media_id = await reserve(ctx)
    with pytest.raises(TooLarge):
        await fill(ctx, media_id, b"x" * (ctx.config.max_request_size + 1))
    await fill(ctx, media_id, b"x")


async def test_sweep_removes_what_has_run_out(ctx: Context, clock: ManualClock) -> None:
    """With both of its rows, and nothing that may still be filled."""
    await reserve(ctx)
    clock.jump(1)
    kept = await reserve(ctx, BOB)
    clock.jump(DAY - 1)
    with ctx.db.batch() as batch:
        assert uploads.sweep_pending(batch, clock.now_ms()) == 1
    assert list(trees.media_pending.keys(ctx.db)) == [(SERVER, kept)]
    assert list(trees.media_pending_of_user.keys(ctx.db)) == [(BOB, kept)]
