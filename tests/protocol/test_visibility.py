from __future__ import annotations

import itertools
from typing import Any

import pytest

from conduit.protocol.visibility import may_see, may_see_change, server_may_see, visibility_of

MEMBERSHIPS = ("join", "invite", "leave", "ban", "knock")
VISIBILITIES = ("world_readable", "shared", "invited", "joined")


@pytest.mark.parametrize(
    ("visibility", "membership", "joined_since"), list(itertools.product(VISIBILITIES, MEMBERSHIPS, (True, False)))
)
def test_event_is_seen_by_the_five_rules(visibility: str, membership: str, joined_since: bool) -> None:
    """The whole table."""
    expected = (
        visibility == "world_readable"
        or membership == "join"
        or (visibility == "shared" and joined_since)
        or (visibility == "invited" and membership == "invite")
    )
    assert may_see(visibility, membership, joined_since=joined_since) is expected


def test_change_is_seen_from_either_side() -> None:
    """Of the visibility, and of the user's own membership."""
    assert may_see_change(("joined", "world_readable"), ("leave", "leave"), joined_since=False)
    assert may_see_change(("world_readable", "joined"), ("leave", "leave"), joined_since=False)
    assert may_see_change(("joined", "joined"), ("leave", "join"), joined_since=False)
    assert may_see_change(("joined", "joined"), ("join", "leave"), joined_since=False)
    assert not may_see_change(("joined", "joined"), ("invite", "leave"), joined_since=True)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "shared"),
        ({}, "shared"),
        ({"history_visibility": "joined"}, "joined"),
        ({"history_visibility": "private"}, "shared"),
        ({"history_visibility": ["joined"]}, "shared"),
    ],
)
def test_visibility_defaults_to_shared(content: dict[str, Any] | None, expected: str) -> None:
    """Where it is not set, or not understood."""
    assert visibility_of(content) == expected


@pytest.mark.parametrize(
    ("visibility", "memberships", "expected"),
    [
        ("world_readable", [], True),
        ("shared", [], True),
        ("invited", ["invite"], True),
        ("invited", ["leave", "join"], True),
        ("invited", ["leave"], False),
        ("joined", ["invite"], False),
        ("joined", ["ban", "join"], True),
    ],
)
def test_server_sees_what_one_of_its_users_saw(visibility: str, memberships: list[str], expected: bool) -> None:
    """By their memberships at the event."""
    assert server_may_see(visibility, memberships) is expected
