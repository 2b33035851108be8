"""Refreshing access tokens over HTTP."""

from __future__ import annotations

from typing import Any

from tests.support.homeserver import Homeserver


async def _pair(hs: Homeserver) -> dict[str, Any]:
    body = {"username": "alice", "password": "x", "refresh_token": True, "auth": {"type": "m.login.dummy"}}
    answer: dict[str, Any] = await hs.client().post("/register", body)
    return answer


async def _refresh(hs: Homeserver, pair: dict[str, Any], expect: int | str = 200) -> dict[str, Any]:
    answer: dict[str, Any] = await hs.client().post("/refresh", {"refresh_token": pair["refresh_token"]}, expect)
    return answer


async def _works(hs: Homeserver, pair: dict[str, Any]) -> bool:
    response = await hs.client(pair["access_token"]).raw("GET", "/account/whoami")
    return response.status == 200


async def test_expired_token_is_softly_logged_out(hs: Homeserver) -> None:
    """The client may refresh, and goes on as the same device."""
    first = await _pair(hs)
    hs.clock.jump(first["expires_in_ms"] / 1000)
    answer = await hs.client(first["access_token"]).get("/account/whoami", 401)
    assert (answer["errcode"], answer["soft_logout"]) == ("M_UNKNOWN_TOKEN", True)
    second = await _refresh(hs, first)
    assert second["expires_in_ms"] == first["expires_in_ms"]
    who = await hs.client(second["access_token"]).get("/account/whoami")
    assert who["device_id"] == first["device_id"]


async def test_old_pair_lasts_until_the_new_one_is_used(hs: Homeserver) -> None:
    """A lost answer can be asked for again; the pair that got lost is dead then."""
    first = await _pair(hs)
    lost = await _refresh(hs, first)
    assert await _works(hs, first)
    second = await _refresh(hs, first)
    assert not await _works(hs, lost)
    await _refresh(hs, lost, "M_UNKNOWN_TOKEN")
    assert await _works(hs, second)
    assert not await _works(hs, first)
    await _refresh(hs, first, "M_UNKNOWN_TOKEN")


async def test_use_of_the_new_refresh_token_ends_the_old_pair(hs: Homeserver) -> None:
    """Also when the new access token was never used."""
    first = await _pair(hs)
    second = await _refresh(hs, first)
    third = await _refresh(hs, second)
    await _refresh(hs, first, "M_UNKNOWN_TOKEN")
    assert await _works(hs, second)
    assert await _works(hs, third)
    assert not await _works(hs, second)


async def test_login_without_refresh_gives_a_token_without_an_end(hs: Homeserver) -> None:
    """Clients that cannot refresh stay logged in."""
    alice = await hs.register("alice")
    hs.clock.jump(10 * 365 * 24 * 3600)
    await alice.get("/account/whoami")


async def test_refresh_refuses_malformed_requests(hs: Homeserver) -> None:
    """An access token is no refresh token."""
    alice = await hs.register("alice")
    await hs.client().post("/refresh", {}, "M_MISSING_PARAM")
    await hs.client().post("/refresh", {"refresh_token": 7}, "M_BAD_JSON")
    await hs.client().post("/refresh", {"refresh_token": alice.token}, "M_UNKNOWN_TOKEN")
    await hs.client().post("/refresh", {"refresh_token": "x" * 100_000}, "M_UNKNOWN_TOKEN")
