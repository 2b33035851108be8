"""With whom the server talks."""

from __future__ import annotations

import pytest

from conduit.service.outbound.policy import ServerPolicy


def test_nobody_is_talked_with_while_federation_is_off() -> None:
    """Whatever the lists say."""
    assert ServerPolicy(enabled=False, allowed=("*",)).refusal("a.test") is not None


def test_everybody_is_without_lists() -> None:
    """The default."""
    assert ServerPolicy(enabled=True).refusal("a.test") is None


@pytest.mark.parametrize(
    ("server", "allowed"),
    [
        ("good.test", True),
        ("GOOD.test:8448", True),
        ("a.good.test", False),
        ("bad.good.net", False),
        ("x.good.net", True),
    ],
)
def test_lists_are_globs_over_hosts(server: str, allowed: bool) -> None:
    """Ports and case do not count, and what is denied is never allowed."""
    policy = ServerPolicy(enabled=True, allowed=("good.test", "*.good.net"), denied=("bad.*",))
    assert (policy.refusal(server) is None) is allowed


def test_settings_are_taken_over() -> None:
    """A reload changes whom the server talks with."""
    policy = ServerPolicy(enabled=True)
    policy.configure(enabled=True, allowed=(), denied=("*.evil.test",))
    assert policy.refusal("a.evil.test") is not None
    assert policy.refusal("b.test") is None
