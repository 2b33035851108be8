"""GET /versions."""

from __future__ import annotations

from tests.support.homeserver import Homeserver


async def test_versions_are_listed_without_a_token(hs: Homeserver) -> None:
    """Anybody may ask which versions are spoken."""
    body = await hs.client().get("/_matrix/client/versions")
    assert body["versions"][0] == "r0.0.1"
    assert body["versions"][-1] == "v1.19"
    assert all(value is True for value in body["unstable_features"].values())
