"""Rate limits."""

from __future__ import annotations

import pytest

from conduit.api.limits import Limit, Limits, address_key
from conduit.config.schema import Rate, RateLimits
from conduit.protocol.errors import LimitExceeded
from tests.support.clock import ManualClock


def _limits(clock: ManualClock, per_second: float = 2, burst: int = 3) -> Limits:
    return Limits(RateLimits(message=Rate(per_second=per_second, burst=burst)), clock)


def _taken(buckets: Limits, key: str, attempts: int, limit: Limit = Limit.MESSAGE) -> int:
    taken = 0
    for _ in range(attempts):
        try:
            buckets.charge(limit, key)
        except LimitExceeded:
            continue
        taken += 1
    return taken


def test_a_burst_passes_and_then_the_rate_holds(clock: ManualClock) -> None:
    """Three at once, then two a second."""
    buckets = _limits(clock)
    assert _taken(buckets, "@a:x", 10) == 3
    clock.jump(0.5)
    assert _taken(buckets, "@a:x", 10) == 1
    clock.jump(60)
    assert _taken(buckets, "@a:x", 10) == 3


def test_a_refusal_says_when_to_come_again_and_costs_nothing(clock: ManualClock) -> None:
    """Who waits as told gets through, however often he asked before."""
    buckets = _limits(clock)
    _taken(buckets, "@a:x", 3)
    for _ in range(50):
        with pytest.raises(LimitExceeded) as refusal:
            buckets.charge(Limit.MESSAGE, "@a:x")
    assert 0 < refusal.value.retry_after_ms <= 501
    clock.jump(refusal.value.retry_after_ms / 1000)
    buckets.charge(Limit.MESSAGE, "@a:x")


def test_callers_and_classes_are_counted_apart(clock: ManualClock) -> None:
    """One user's burst is nobody else's, and messages are not joins."""
    buckets = _limits(clock)
    assert _taken(buckets, "@a:x", 10) == 3
    assert _taken(buckets, "@b:x", 10) == 3
    assert _taken(buckets, "@a:x", 5, Limit.JOIN) == 5


def test_switched_off_nothing_is_limited(clock: ManualClock) -> None:
    """`enabled = false` lets everything through."""
    buckets = Limits(RateLimits(enabled=False), clock)
    assert _taken(buckets, "@a:x", 5000) == 5000
    assert len(buckets) == 0


def test_the_class_without_a_rate_is_free(clock: ManualClock) -> None:
    """`Limit.NONE` is no bucket."""
    assert _taken(_limits(clock), "@a:x", 1000, Limit.NONE) == 1000


def test_every_class_has_a_setting() -> None:
    """No class is unlimited by a slip of its name."""
    for limit in Limit:
        assert limit is Limit.NONE or hasattr(RateLimits(), limit.value)


def test_memory_is_bounded(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of addresses does not pile up, and full buckets are dropped first."""
    monkeypatch.setattr("conduit.utils.buckets.MAX_BUCKETS", 100)
    buckets = _limits(clock)
    for number in range(1000):
        buckets.charge(Limit.MESSAGE, f"10.0.{number // 250}.{number % 250}")
    assert len(buckets) <= 100
    _taken(buckets, "@late:x", 3)
    for number in range(40):
        buckets.charge(Limit.MESSAGE, f"other{number}")
    assert _taken(buckets, "@late:x", 3) == 0


def test_new_rates_can_be_taken_over(clock: ManualClock) -> None:
    """A reload of the settings holds at once."""
    buckets = _limits(clock)
    _taken(buckets, "@a:x", 10)
    buckets.configure(RateLimits(message=Rate(per_second=1, burst=7)))
    assert _taken(buckets, "@a:x", 10) == 7


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002"),
        ("2001:db8:1:2::9", "2001:0db8:0001:0002"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("not:an:address", "not:an:address"),
    ],
)
def test_an_ipv6_household_is_one_caller(address: str, key: str) -> None:
    """Who has a /64 has all its addresses."""
    assert address_key(address) == key
