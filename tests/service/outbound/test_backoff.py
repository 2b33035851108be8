"""Who is left alone because it does not answer."""

from __future__ import annotations

import pytest

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES
from conduit.protocol.ids import ServerName
from conduit.service.outbound.backoff import FIRST_PAUSE_MS, LONGEST_PAUSE_MS, Backoff
from tests.support.clock import ManualClock

A = ServerName("a.test")


@pytest.fixture
def db() -> Database:
    """An empty database."""
    return Database(MemoryEngine(TREE_NAMES))


async def test_pauses_double_up_to_half_a_day(db: Database, clock: ManualClock) -> None:
    """Each failure after a pause makes the next one longer, within a fifth."""
    backoff = Backoff(db=db, clock=clock)
    assert backoff.may_try(A)
    for number in range(20):
        failing = backoff.failed(A, "no connection")
        pause = failing.retry_at - clock.now_ms()
        due = min(FIRST_PAUSE_MS * 2**number, LONGEST_PAUSE_MS)
        assert 0.79 * due <= pause <= 1.21 * due
        assert not backoff.may_try(A)
        clock.jump(pause / 1000)
        assert backoff.may_try(A)
    assert (failing.failures, failing.reason) == (20, "no connection")


async def test_failures_of_one_moment_count_once(db: Database, clock: ManualClock) -> None:
    """A hundred requests that were under way when a server died are one failure."""
    backoff = Backoff(db=db, clock=clock)
    for _ in range(100):
        backoff.failed(A)
    failing = backoff.failing(A)
    assert failing is not None
    assert failing.failures == 1


async def test_sign_of_life_ends_the_pause_and_wakes_the_sender(db: Database, clock: ManualClock) -> None:
    """Whatever waits to be sent goes out at once."""
    backoff = Backoff(db=db, clock=clock)
    backoff.failed(A)
    with db.watch.register([("destination", A)]) as waiter:
        backoff.alive(A)
        await db.durable()
        assert await waiter.wait(1)
    assert backoff.may_try(A)
    assert backoff.failing(A) is None
    assert not trees.destination_state.has(db, A)


async def test_state_survives_a_restart_beside_the_senders_own(db: Database, clock: ManualClock) -> None:
    """The rows are shared: what the sender keeps there is left alone."""
    with db.batch() as batch:
        trees.destination_state.put(batch, A, {"txn": {"id": "x"}})
    Backoff(db=db, clock=clock).failed(A, "dead")
    again = Backoff(db=db, clock=clock)
    assert not again.may_try(A)
    assert list(again.all_failing()) == [A]
    again.succeeded(A)
    assert trees.destination_state.get(db, A) == {"txn": {"id": "x"}}


@pytest.mark.parametrize(("asked", "pause"), [(0, 1_000), (-5, 1_000), (90_000, 90_000), (10**12, 3_600_000)])
async def test_server_is_left_alone_for_as_long_as_it_asks_for(
    db: Database, clock: ManualClock, asked: int, pause: int
) -> None:
    """Within bounds, however often it has failed; its own requests do not end that, an answer does."""
    backoff = Backoff(db=db, clock=clock)
    for _ in range(5):
        failing = backoff.failed(A, "it answered 429", asked_ms=asked)
        assert failing.retry_at == clock.now_ms() + pause
        backoff.alive(A)
        assert not backoff.may_try(A)
        clock.jump(pause / 1000)
        assert backoff.may_try(A)
    backoff.failed(A, "it answered 429", asked_ms=asked)
    backoff.succeeded(A)
    assert backoff.failing(A) is None
