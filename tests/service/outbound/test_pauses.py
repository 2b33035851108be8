"""How soon a server is asked for its keys again."""

from __future__ import annotations

import pytest

from conduit.service.outbound.pauses import FIRST_PAUSE, LONGEST_PAUSE, RENEWALS, Pauses
from tests.support.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


def test_server_that_fails_is_left_alone_for_ever_longer(clock: ManualClock) -> None:
    """Up to ten minutes; an answer makes it new."""
    pauses = Pauses(clock)
    assert pauses.may_ask("a.test")
    for number in range(8):
        pauses.failed("a.test")
        clock.jump(min(FIRST_PAUSE * 2**number, LONGEST_PAUSE) - 1)
        assert not pauses.may_ask("a.test")
        clock.jump(1)
        assert pauses.may_ask("a.test")
    pauses.answered("a.test")
    assert not pauses.may_ask("a.test")
    clock.jump(FIRST_PAUSE)
    pauses.failed("a.test")
    clock.jump(FIRST_PAUSE)
    assert pauses.may_ask("a.test")


def test_server_that_answers_is_asked_for_newer_keys_some_times_at_once(clock: ManualClock) -> None:
    """Then the pause holds for that too; one failure does not end it, two do."""
    pauses = Pauses(clock)
    pauses.answered("a.test")
    for _ in range(2):
        assert [pauses.may_renew("a.test") for _ in range(RENEWALS + 2)] == [True] * RENEWALS + [False] * 2
        clock.jump(FIRST_PAUSE)
        assert pauses.may_renew("a.test")
        pauses.answered("a.test")
    clock.jump(2 * FIRST_PAUSE)
    pauses.failed("b.test")
    assert pauses.may_renew("b.test")
    pauses.failed("b.test")
    assert not pauses.may_renew("b.test")
