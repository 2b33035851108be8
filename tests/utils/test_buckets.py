"""Buckets that are emptied by use and fill again."""

from __future__ import annotations

import pytest

from conduit.utils import buckets
from conduit.utils.buckets import Buckets
from tests.support.clock import ManualClock


def test_bucket_holds_a_burst_and_fills_evenly(clock: ManualClock) -> None:
    """Three at once, then one every two seconds; whoever is refused is told when."""
    some = Buckets(0.5, 3, clock)
    assert [some.take("a") for _ in range(3)] == [0, 0, 0]
    assert some.take("a") == pytest.approx(2)
    clock.jump(2)
    assert some.take("a") == 0
    assert some.take("a") > 0
    assert some.take("b") == 0


def test_several_drops_are_taken_together_or_not_at_all(clock: ManualClock) -> None:
    """What was refused is still there for who wants less."""
    some = Buckets(1, 6, clock)
    assert [some.take("a", 2), some.take("a", 3)] == [0, 0]
    assert some.take("a", 3) == pytest.approx(2)
    assert some.take("a") == 0


def test_no_number_of_drops_is_more_than_half_a_bucket(clock: ManualClock) -> None:
    """Else what costs more than there ever is could never be had."""
    some = Buckets(1, 6, clock)
    assert [some.take("a", 50), some.take("a", 50)] == [0, 0]
    assert some.take("a") > 0
    assert Buckets(1, 1, clock).take("a", 9) == 0


def test_buckets_of_many_are_bounded(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full ones take no place; of the others the oldest go."""
    monkeypatch.setattr(buckets, "MAX_BUCKETS", 10)
    some = Buckets(1, 5, clock)
    for number in range(100):
        some.take(number)
    assert len(some) <= 10
