"""Profiles of other servers' users."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.service.browse.remote_profiles import KEPT_MS
from tests.support.federation import Network, network

EVE = "/profile/@eve:peer.test"
PROFILE = "/_matrix/federation/v1/query/profile"


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver."""
    async with network("one.test") as found:
        yield found


async def test_profile_is_kept_for_a_minute(net: Network) -> None:
    """Somebody's profile is looked at by many at once."""
    peer, client = net.peer("peer.test"), net["one.test"].client()
    peer.on("GET", PROFILE, {"displayname": "Eve"})
    for _ in range(3):
        assert await client.get(EVE) == {"displayname": "Eve"}
    assert len(peer.received) == 1
    net.clock.jump(KEPT_MS / 1000)
    assert await client.get(EVE) == {"displayname": "Eve"}
    assert len(peer.received) == 2


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ({"displayname": None, "avatar_url": ""}, {}),
        ({"displayname": 5, "avatar_url": ["x"]}, {}),
        ({"displayname": "x" * 10_000, "avatar_url": "http://peer.test/x"}, {}),
        ({"displayname": "Eve", "BAD FIELD": 1, "m.tz": 5, "org.fine": [1]}, {"displayname": "Eve", "org.fine": [1]}),
    ],
)
async def test_fields_of_the_wrong_shape_are_left_out(net: Network, answer: Any, shown: Any) -> None:
    """The rest is shown."""
    net.peer("peer.test").on("GET", PROFILE, answer)
    assert await net["one.test"].client().get(EVE) == shown


async def test_one_field_is_asked_for_as_such(net: Network) -> None:
    """What else the server tells is dropped; a field that is not set is not found."""
    peer, client = net.peer("peer.test"), net["one.test"].client()
    peer.on("GET", PROFILE, {"displayname": "Eve", "org.more": 1})
    assert await client.get(f"{EVE}/displayname") == {"displayname": "Eve"}
    await client.get(f"{EVE}/avatar_url", "M_NOT_FOUND")
    assert ("field", "displayname") in peer.received[0].query


@pytest.mark.parametrize(
    ("status", "errcode", "told"),
    [(404, "M_NOT_FOUND", "M_NOT_FOUND"), (403, "M_FORBIDDEN", "M_FORBIDDEN"), (500, "M_UNKNOWN", 502)],
)
async def test_refusal_is_passed_on(net: Network, status: int, errcode: str, told: Any) -> None:
    """And a server that is ill is a bad gateway."""
    net.peer("peer.test").on("GET", PROFILE, (status, {"errcode": errcode, "error": "No"}))
    await net["one.test"].client().get(EVE, told)
