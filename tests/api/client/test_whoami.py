"""GET /account/whoami."""

from __future__ import annotations

from tests.support.homeserver import Homeserver


async def test_whoami_tells_user_and_device(hs: Homeserver) -> None:
    """Both of the token that was used."""
    alice = await hs.register("alice", device_id="PHONE")
    answer = await alice.get("/account/whoami")
    assert answer == {"user_id": "@alice:localhost", "device_id": "PHONE", "is_guest": False}


async def test_whoami_wants_a_token(hs: Homeserver) -> None:
    """Without one there is nobody to name."""
    await hs.client().get("/account/whoami", "M_MISSING_TOKEN")
