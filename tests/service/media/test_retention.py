"""What the rules of retention delete, in which order it goes, and what they leave alone."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from conduit.config.schema import DEFAULT_RETENTION, Config, Media, Retention
from conduit.database.database import Database
from conduit.database.layouts import MediaMeta
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES
from conduit.protocol.ids import ServerName
from conduit.service.context import Context
from conduit.service.media import items, retention
from tests.support.clock import ManualClock, settle
from tests.support.rooms import SERVER

AWAY = ServerName("away.example")
DAY = 24 * 3600


def with_rules(ctx: Context, *rules: Retention) -> Context:
    """Return the context with these rules."""
    return replace(ctx, config=Config.for_tests(media=Media(retention=rules)))


async def add(ctx: Context, media_id: str, *, server: ServerName = SERVER, data: bytes = b"") -> bytes:
    """Store an item; by default its bytes are its id. Return the digest."""
    async with ctx.media_files.storing_bytes(data or media_id.encode()) as stored:
        meta = MediaMeta(stored.sha256, "", "image/png", False)
        with ctx.db.batch() as batch:
            now_ms = ctx.clock.now_ms()
            items.put(batch, server, media_id, meta, size=stored.size, uploader=None, now_ms=now_ms)
    return stored.sha256


async def add_thumbnail(ctx: Context, media_id: str, data: bytes) -> bytes:
    """Store a thumbnail of a local item; return its digest."""
    async with ctx.media_files.storing_bytes(data) as stored:
        meta = MediaMeta(stored.sha256, "", "image/png", False)
        with ctx.db.batch() as batch:
            now_ms = ctx.clock.now_ms()
            items.put_thumbnail(batch, SERVER, media_id, 32, 32, meta, size=stored.size, now_ms=now_ms)
    return stored.sha256


def is_there(ctx: Context, digest: bytes) -> bool:
    """Tell whether row and file are there; one without the other is a failure."""
    has_row, has_file = items.is_known_file(ctx.db, digest), ctx.media_files.path_of(digest).exists()
    assert has_row == has_file
    return has_row


@pytest.mark.parametrize(
    ("times", "expected"),
    [([], 360), ([30 * DAY], 3600), ([7200, 30 * DAY], 720), ([60], 60)],
)
def test_period_is_a_tenth_of_the_shortest_time(times: list[int], expected: float) -> None:
    """Between a minute and an hour."""
    assert retention.period_s([Retention(accessed=seconds) for seconds in times]) == expected
    assert retention.period_s([Retention(created=seconds) for seconds in times]) == expected


async def test_default_rules_keep_what_local_users_uploaded(ctx: Context, clock: ManualClock) -> None:
    """After a month without anybody fetching it, media from afar and thumbnails are gone, uploads are not."""
    ctx = with_rules(ctx, *DEFAULT_RETENTION)
    local, far = await add(ctx, "a"), await add(ctx, "b", server=AWAY)
    small = await add_thumbnail(ctx, "a", b"small")
    clock.jump(30 * DAY)
    assert await retention.sweep(ctx) == 0
    clock.jump(1)
    assert await retention.sweep(ctx) == 2
    assert [is_there(ctx, digest) for digest in (local, far, small)] == [True, False, False]
    assert items.get(ctx.db, AWAY, "b") is None
    assert items.get_thumbnail(ctx.db, SERVER, "a", 32, 32) is None


async def test_media_that_is_fetched_is_kept(ctx: Context, clock: ManualClock) -> None:
    """The last access counts, and is written by the sweep; the age counts whatever is fetched."""
    by_access = with_rules(ctx, Retention(scope="remote", accessed=100))
    digest = await add(by_access, "a", server=AWAY)
    clock.jump(90)
    ctx.media_files.accesses[digest] = clock.now_ms() // 1000
    clock.jump(90)
    assert await retention.sweep(by_access) == 0
    assert not ctx.media_files.accesses
    by_age = with_rules(ctx, Retention(scope="remote", created=150))
    assert await retention.sweep(by_age) == 1
    assert not is_there(ctx, digest)


async def test_rule_without_scope_is_for_scopes_without_a_rule(ctx: Context, clock: ManualClock) -> None:
    """A scope's own rule stands in for it."""
    ctx = with_rules(ctx, Retention(created=10), Retention(scope="local", created=1000))
    local, far = await add(ctx, "a"), await add(ctx, "b", server=AWAY)
    clock.jump(11)
    assert await retention.sweep(ctx) == 1
    assert [is_there(ctx, digest) for digest in (local, far)] == [True, False]


async def test_bytes_that_a_local_user_uploaded_too_are_local(ctx: Context, clock: ManualClock) -> None:
    """A rule for other servers' media never takes them."""
    ctx = with_rules(ctx, Retention(scope="remote", created=10))
    digest = await add(ctx, "a", server=AWAY, data=b"same")
    assert await add(ctx, "b", data=b"same") == digest
    clock.jump(11)
    assert await retention.sweep(ctx) == 0
    assert is_there(ctx, digest)


async def test_space_is_made_by_what_was_unused_for_longest(ctx: Context, clock: ManualClock) -> None:
    """Until no more than allowed is used, and not one file more; other scopes are not counted."""
    digests = []
    for name in "abcd":
        digests.append(await add(ctx, name, server=AWAY, data=name.encode() * 10))
        clock.jump(1)
    local = await add(ctx, "local", data=b"x" * 1000)
    ctx.media_files.accesses[digests[0]] = clock.now_ms() // 1000
    assert await retention.sweep(with_rules(ctx, Retention(scope="remote", space=40))) == 0
    assert await retention.sweep(with_rules(ctx, Retention(scope="remote", space=29))) == 2
    assert [is_there(ctx, digest) for digest in digests] == [True, False, False, True]
    assert is_there(ctx, local)
    assert await retention.sweep(with_rules(ctx, Retention(space=0))) == 3


async def test_without_rules_nothing_goes(ctx: Context, clock: ManualClock) -> None:
    """Only the times of access are written."""
    ctx = with_rules(ctx)
    digest = await add(ctx, "a", server=AWAY)
    clock.jump(1000 * DAY)
    ctx.media_files.accesses[digest] = now = clock.now_ms() // 1000
    assert await retention.sweep(ctx) == 0
    assert items.file(ctx.db, digest) == (1, now - 1000 * DAY, now)


async def test_deleted_file_takes_every_item_along(ctx: Context) -> None:
    """All names of the bytes, the items' thumbnails, and the thumbnails that are these bytes."""
    digest = await add(ctx, "a", data=b"same")
    await add(ctx, "b", server=AWAY, data=b"same")
    small = await add_thumbnail(ctx, "a", b"small")
    other = await add(ctx, "c")
    assert await add_thumbnail(ctx, "c", b"same") == digest
    await retention.delete_file(ctx, digest)
    assert [is_there(ctx, each) for each in (digest, small, other)] == [False, False, True]
    assert items.get(ctx.db, SERVER, "a") is None
    assert items.get(ctx.db, AWAY, "b") is None
    assert items.get_thumbnail(ctx.db, SERVER, "c", 32, 32) is None


class SlowDisk(MemoryEngine):
    """An engine whose syncs wait until they are let through."""

    name = "slow"

    def __init__(self) -> None:
        super().__init__(TREE_NAMES)
        self.go_on = threading.Event()
        self.go_on.set()

    def sync(self) -> None:
        """Wait."""
        assert self.go_on.wait(10)
        super().sync()


async def test_bytes_go_only_when_their_rows_are_durably_gone(ctx: Context) -> None:
    """A crash before that would bring the rows back; whoever uploads the bytes meanwhile keeps them."""
    disk = SlowDisk()
    ctx = replace(ctx, db=Database(disk))
    lost, kept = await add(ctx, "a"), await add(ctx, "b")
    await ctx.db.durable()
    disk.go_on.clear()
    deletions: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(retention.delete_file(ctx, digest)) for digest in (lost, kept)
    ]
    await settle()
    assert not items.is_known_file(ctx.db, lost)
    assert ctx.media_files.path_of(lost).exists()
    assert await add(ctx, "again", data=b"b") == kept
    disk.go_on.set()
    await asyncio.gather(*deletions)
    assert [is_there(ctx, digest) for digest in (lost, kept)] == [False, True]
    await ctx.db.close()


async def test_run_begins_with_files_that_no_row_names(ctx: Context, clock: ManualClock) -> None:
    """The remains of a crash go at the start; then the rules are looked at again and again."""
    ctx = with_rules(ctx, Retention(scope="remote", accessed=1000))
    async with ctx.media_files.storing_bytes(b"orphan") as orphan:
        pass
    digest = await add(ctx, "a", server=AWAY)
    running = asyncio.ensure_future(retention.run(ctx))
    while not clock.sleeping:
        await asyncio.to_thread(lambda: None)
    assert not ctx.media_files.path_of(orphan.sha256).exists()
    assert is_there(ctx, digest)
    for _ in range(11):
        clock.jump(100)
        while not clock.sleeping:
            await asyncio.to_thread(lambda: None)
    assert not is_there(ctx, digest)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
