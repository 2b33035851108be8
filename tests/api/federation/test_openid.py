"""Telling third parties whose OpenID token they hold."""

from __future__ import annotations

from tests.support.homeserver import Homeserver


async def test_third_party_learns_whose_token_it_holds(hs: Homeserver) -> None:
    """Until the token expires; not from access tokens, and not without one."""
    alice = await hs.register("alice")
    token = (await alice.post("/user/@alice:localhost/openid/request_token"))["access_token"]
    path = "/_matrix/federation/v1/openid/userinfo"
    assert await hs.client().get(path, params={"access_token": token}) == {"sub": "@alice:localhost"}
    await hs.client().get(path, "M_UNKNOWN_TOKEN", params={"access_token": alice.token})
    await hs.client().get(path, "M_MISSING_TOKEN")
    hs.clock.jump(3600)
    await hs.client().get(path, "M_UNKNOWN_TOKEN", params={"access_token": token})
