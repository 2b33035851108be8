"""Typing notices and their ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES
from conduit.protocol.ids import RoomId
from conduit.service.rooms.typing import MAX_TIMEOUT_MS, Typing
from tests.support.clock import ManualClock
from tests.support.rooms import ALICE, BOB, CAROL

ROOM, OTHER = RoomId("!r:localhost"), RoomId("!other:localhost")


@pytest.fixture
def db() -> Database:
    """A database for its counts."""
    return Database(MemoryEngine(TREE_NAMES))


@pytest.fixture
async def typing(db: Database, clock: ManualClock) -> AsyncIterator[Typing]:
    """Typing notices that end in time, seen by Carol."""
    typing = Typing(db=db, clock=clock, audience=lambda room_id: [frozenset({("user", CAROL)})])
    running = asyncio.ensure_future(typing.run())
    yield typing
    running.cancel()


async def test_notice_lasts_until_its_time_is_over(typing: Typing, clock: ManualClock) -> None:
    """To the millisecond, unless it is renewed; each for itself."""
    typing.start(ROOM, ALICE, 5000)
    typing.start(ROOM, BOB, 7000)
    await clock.advance(4.999)
    assert typing.users(ROOM) == [ALICE, BOB]
    typing.start(ROOM, BOB, 7000)
    await clock.advance(0.001)
    assert typing.users(ROOM) == [BOB]
    await clock.advance(6.998)
    assert typing.users(ROOM) == [BOB]
    await clock.advance(0.001)
    assert typing.users(ROOM) == []


async def test_shorter_notice_than_the_one_waited_for_ends_in_time(typing: Typing, clock: ManualClock) -> None:
    """The task looks again when a notice comes in."""
    typing.start(ROOM, ALICE, 60_000)
    await clock.advance(1)
    typing.start(OTHER, BOB, 1000)
    await clock.advance(1)
    assert typing.users(OTHER) == []
    assert typing.users(ROOM) == [ALICE]


async def test_no_notice_is_longer_than_allowed(typing: Typing, clock: ManualClock) -> None:
    """Whatever a client asks for."""
    typing.start(ROOM, ALICE, 10 * MAX_TIMEOUT_MS)
    await clock.advance(MAX_TIMEOUT_MS / 1000)
    assert typing.users(ROOM) == []


async def test_news_is_only_who_types(typing: Typing, clock: ManualClock, db: Database) -> None:
    """Renewing a notice or ending none changes nothing; beginning, stopping and running out does, in that room alone."""
    marks = [db.current_count()]

    def is_news() -> bool:
        before = marks[-1]
        marks.append(db.current_count())
        changed = typing.changed_since(ROOM, before)
        assert not typing.changed_since(OTHER, before)
        assert changed == (db.watch.last(("room", ROOM)) > before)
        return changed

    typing.stop(ROOM, ALICE)
    assert not is_news()
    typing.start(ROOM, ALICE, 5000)
    assert is_news()
    typing.start(ROOM, ALICE, 5000)
    assert not is_news()
    typing.stop(ROOM, ALICE)
    assert is_news()
    typing.stop(ROOM, ALICE)
    assert not is_news()
    typing.start(ROOM, ALICE, 5000)
    assert is_news()
    await clock.advance(5)
    assert is_news()
    assert not typing.changed_since(OTHER, 0)


async def test_task_rests_while_nobody_types(typing: Typing, clock: ManualClock) -> None:
    """It sleeps for the earliest notice only, and not at all without one."""
    await clock.advance(0)
    assert clock.sleeping == 0
    typing.start(ROOM, ALICE, 5000)
    await clock.advance(0)
    assert clock.sleeping == 1
    await clock.advance(5)
    assert clock.sleeping == 0


async def test_sender_hears_of_notices_that_begin_end_or_go_on(
    typing: Typing, db: Database, clock: ManualClock
) -> None:
    """A renewed one now and then only."""
    with db.watch.subscribe("typing") as news:
        typing.start(ROOM, ALICE, 30_000)
        assert await news.take(0) == [("typing", ROOM)]
        heard = []
        for second in range(0, 60, 5):
            typing.start(ROOM, ALICE, 30_000)
            if await news.take(0):
                heard.append(second)
            await clock.advance(5)
        assert heard == [25, 50]
        typing.stop(ROOM, ALICE)
        assert await news.take(0) == [("typing", ROOM)]
        typing.stop(ROOM, ALICE)
        assert await news.take(0) == []
