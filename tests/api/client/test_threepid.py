"""Third-party identifiers: the account has none, and an identity server is asked in vain here (see tests/service/actions/test_bind_threepid.py)."""

from __future__ import annotations

import pytest

from tests.support.homeserver import Homeserver

REQUEST = {"client_secret": "abc", "email": "a@b.org", "send_attempt": 1}


async def test_nobody_has_any(hs: Homeserver) -> None:
    """The list is empty."""
    alice = await hs.register("alice")
    assert await alice.get("/account/3pid") == {"threepids": []}


async def test_none_can_be_added(hs: Homeserver) -> None:
    """Whatever the credentials."""
    alice = await hs.register("alice")
    await alice.post("/account/3pid/add", {"client_secret": "abc", "sid": "1"}, "M_THREEPID_DENIED")


async def test_binding_needs_an_identity_server(hs: Homeserver) -> None:
    """All four of its fields, and a server that is one and answers."""
    alice = await hs.register("alice")
    body = {"client_secret": "abc", "sid": "1", "id_server": "127.0.0.1:1", "id_access_token": "x"}
    for name in body:
        bad = {key: body[key] for key in body if key != name}
        await alice.post("/account/3pid/bind", bad, "M_MISSING_PARAM")
        await alice.post("/account/3pid", {"three_pid_creds": bad}, "M_MISSING_PARAM")
    await alice.post("/account/3pid/bind", {**body, "id_server": "a/b"}, "M_INVALID_PARAM")
    await alice.post("/account/3pid/bind", body, "M_CONNECTION_FAILED")
    await alice.post("/account/3pid", {"three_pid_creds": body}, "M_CONNECTION_FAILED")


@pytest.mark.parametrize("path", ["/account/3pid/delete", "/account/3pid/unbind"])
async def test_removing_one_finds_nothing_to_unbind(hs: Homeserver, path: str) -> None:
    """The answer says that no identity server was asked."""
    alice = await hs.register("alice")
    answer = await alice.post(path, {"medium": "email", "address": "a@b.org"})
    assert answer == {"id_server_unbind_result": "no-support"}
    await alice.post(path, {"medium": "email"}, "M_MISSING_PARAM")


@pytest.mark.parametrize("what", ["account/3pid", "account/password", "register"])
@pytest.mark.parametrize("medium", ["email", "msisdn"])
async def test_no_validation_is_sent(hs: Homeserver, what: str, medium: str) -> None:
    """Neither mail nor text message."""
    error = "M_THREEPID_MEDIUM_NOT_SUPPORTED" if what == "account/3pid" else "M_THREEPID_DENIED"
    await hs.client().post(f"/{what}/{medium}/requestToken", REQUEST, error)
