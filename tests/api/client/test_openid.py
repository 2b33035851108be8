"""OpenID tokens over HTTP."""

from __future__ import annotations

from conduit.service.users import short_lived
from tests.support.homeserver import Homeserver


async def test_openid_token_proves_the_user_for_an_hour(hs: Homeserver) -> None:
    """It is good for that only: no access token."""
    alice = await hs.register("alice")
    answer = await alice.post("/user/@alice:localhost/openid/request_token")
    token = answer.pop("access_token")
    assert answer == {"token_type": "Bearer", "matrix_server_name": "localhost", "expires_in": 3600}
    assert short_lived.openid_user(hs.ctx.db, token, hs.clock.now_ms()) == "@alice:localhost"
    hs.clock.jump(3600)
    assert short_lived.openid_user(hs.ctx.db, token, hs.clock.now_ms()) is None
    await hs.client(token).get("/account/whoami", "M_UNKNOWN_TOKEN")


async def test_openid_token_is_given_for_oneself_only(hs: Homeserver) -> None:
    """Nobody proves to be somebody else."""
    alice = await hs.register("alice")
    await hs.register("bob")
    await alice.post("/user/@bob:localhost/openid/request_token", {}, "M_FORBIDDEN")
    await alice.post("/user/bob/openid/request_token", {}, "M_INVALID_PARAM")
