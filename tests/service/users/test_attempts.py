"""Counting failed logins."""

from __future__ import annotations

import pytest

from conduit.config.schema import Rate
from conduit.protocol.errors import LimitExceeded
from conduit.service.users import attempts
from conduit.service.users.attempts import Attempts

RATE = Rate(per_second=0.1, burst=3)


def test_account_rests_after_its_burst_of_failures() -> None:
    """And may be tried again, once each ten seconds; others are free."""
    counted = Attempts()
    for _ in range(3):
        counted.check("alice", RATE, 0)
        counted.failed("alice", RATE, 0)
    with pytest.raises(LimitExceeded) as limited:
        counted.check("alice", RATE, 0)
    assert limited.value.retry_after_ms == 10_001
    counted.check("bob", RATE, 0)
    counted.check("alice", RATE, 10)
    counted.failed("alice", RATE, 10)
    with pytest.raises(LimitExceeded):
        counted.check("alice", RATE, 10)
    counted.check("alice", RATE, 100)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names are guessed at."""
    monkeypatch.setattr(attempts, "_MAX_ACCOUNTS", 10)
    counted = Attempts()
    for number in range(100):
        counted.failed(f"user{number}", RATE, 0)
        assert len(counted._forgiven_at) <= 10
