"""Change of password over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.config.schema import Rate, RateLimits
from tests.support.homeserver import PASSWORD, Homeserver, serve

PATH = "/account/password"
NEW = "a new password"


def _change(password: Any = NEW, **more: Any) -> dict[str, Any]:
    auth = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"}, "password": PASSWORD}
    return {"new_password": password, "auth": auth, **more}


async def test_password_is_changed_and_other_sessions_end(hs: Homeserver) -> None:
    """The session that asked stays; the old password is worth nothing."""
    alice = await hs.register("alice")
    other = await hs.login("alice")
    assert await alice.post(PATH, _change()) == {}
    await alice.get("/account/whoami")
    await other.get("/account/whoami", "M_UNKNOWN_TOKEN")
    identifier = {"type": "m.id.user", "user": "alice"}
    old = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
    await hs.client().post("/login", old, "M_FORBIDDEN")
    await hs.login("alice", NEW)


async def test_other_sessions_can_be_kept(hs: Homeserver) -> None:
    """`logout_devices` decides."""
    alice = await hs.register("alice")
    other = await hs.login("alice")
    await alice.post(PATH, _change(logout_devices=False))
    await other.get("/account/whoami")


async def test_change_takes_the_old_password(hs: Homeserver) -> None:
    """And a session of the user."""
    alice = await hs.register("alice")
    await alice.post(PATH, {"new_password": NEW}, 401)
    wrong = _change()
    wrong["auth"]["password"] = NEW
    assert (await alice.post(PATH, wrong, 401))["errcode"] == "M_FORBIDDEN"
    await hs.client().post(PATH, _change(), "M_MISSING_TOKEN")
    await hs.login("alice", PASSWORD)


@pytest.mark.parametrize(
    ("password", "error"),
    [(None, "M_MISSING_PARAM"), (5, "M_BAD_JSON"), ("", "M_WEAK_PASSWORD"), ("x" * 513, "M_INVALID_PARAM")],
)
async def test_unusable_passwords_are_refused(hs: Homeserver, password: Any, error: str) -> None:
    """Before any authentication."""
    alice = await hs.register("alice")
    await alice.post(PATH, _change(password), error)


@pytest.mark.parametrize("path", [PATH, "/account/deactivate"])
async def test_checks_of_the_password_are_counted(path: str) -> None:
    """Right ones too: one user could keep the threads that verify passwords from all others."""
    async with serve(rate_limits=RateLimits(login=Rate(per_second=0.1, burst=2))) as hs:
        alice = await hs.register("alice")
        for _ in range(2):
            await alice.post(path, {"new_password": NEW}, 401)
        await alice.post(path, {"new_password": NEW}, "M_LIMIT_EXCEEDED")
