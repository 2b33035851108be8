"""Who asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from conduit.api.auth import access_token
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Routes
from conduit.protocol.ids import UserId
from conduit.service.context import Context
from conduit.service.users import accounts, tokens
from tests.support.client import User
from tests.support.homeserver import Homeserver, serve

BASE = "/_conduit/test"
routes = Routes()


async def _who(ctx: Context, req: Request) -> Json:
    """Tell who asks."""
    if req.requester is None:
        return {}
    return {"user": req.user_id, "device": req.device_id}


for _name, _auth, _options in (
    ("none", Auth.NONE, {}),
    ("optional", Auth.OPTIONAL, {}),
    ("user", Auth.USER, {}),
    ("guests", Auth.USER, {"allow_guests": True}),
    ("locked", Auth.USER, {"allow_locked": True}),
    ("appservice", Auth.APPSERVICE, {}),
    ("admin", Auth.ADMIN, {}),
):
    routes.get(f"{BASE}/{_name}", auth=_auth, **_options)(_who)  # type: ignore[arg-type]
routes.post(f"{BASE}/do", auth=Auth.USER)(_who)


@pytest.fixture
async def hs() -> AsyncIterator[Homeserver]:
    """A homeserver with the endpoints above, which takes guests."""
    async with serve(extra=[routes], allow_guest_registration=True) as server:
        yield server


@pytest.fixture
async def alice(hs: Homeserver) -> User:
    """A user."""
    return await hs.register("alice")


def _set(hs: Homeserver, user: User, **flags: bool) -> None:
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, UserId(user.user_id), **flags)


@pytest.mark.parametrize(
    ("headers", "query", "token"),
    [
        ({"Authorization": "Bearer abc"}, "", "abc"),
        ({"Authorization": "bearer abc"}, "", "abc"),
        ({"Authorization": "Bearer  abc "}, "", "abc"),
        ({"Authorization": "Bearer abc"}, "access_token=def", "abc"),
        ({"Authorization": "Basic abc"}, "access_token=def", "def"),
        ({}, "a=b&access_token=d%2Ff", "d/f"),
        ({}, "access_token=", None),
        ({"Authorization": "Bearer "}, "", None),
        ({"Authorization": "Bearer"}, "", None),
        ({"Authorization": "abc"}, "", None),
        ({}, "my_access_token=abc", None),
        ({}, "", None),
    ],
)
def test_the_token_is_in_the_header_or_the_query(headers: dict[str, str], query: str, token: str | None) -> None:
    """The header goes first; other schemes are no tokens."""
    assert access_token(headers, query) == token


async def test_a_token_names_user_and_device(hs: Homeserver, alice: User) -> None:
    """In the header, and in the query for old clients."""
    me = {"user": alice.user_id, "device": alice.device_id}
    assert await alice.get(f"{BASE}/user") == me
    assert await alice.get(f"{BASE}/optional") == me
    assert await hs.client().get(f"{BASE}/user", params={"access_token": alice.token}) == me


async def test_no_token_is_missing(hs: Homeserver) -> None:
    """401 M_MISSING_TOKEN where one is needed; nothing where it is not."""
    response = await hs.client().raw("GET", f"{BASE}/user")
    assert (response.status, response.json()["errcode"]) == (401, "M_MISSING_TOKEN")
    assert await hs.client().get(f"{BASE}/optional") == {}
    assert await hs.client().get(f"{BASE}/none") == {}


@pytest.mark.parametrize("token", ["nonsense", "x" * 10_000, "a:b", "%00", "' or 1=1", "é"])
async def test_a_foreign_token_is_unknown(hs: Homeserver, token: str) -> None:
    """401 M_UNKNOWN_TOKEN for a hard logout, also where a token is optional; where none is read it does not matter."""
    client = hs.client()
    params = {"access_token": token}
    for path in ("user", "optional"):
        response = await client.raw("GET", f"{BASE}/{path}", params=params)
        assert (response.status, response.json()["errcode"]) == (401, "M_UNKNOWN_TOKEN")
        assert response.json()["soft_logout"] is False
    assert await client.get(f"{BASE}/none", params=params) == {}


async def test_an_expired_token_is_a_soft_logout(hs: Homeserver, alice: User) -> None:
    """The client keeps its keys and refreshes or logs in again."""
    with hs.ctx.db.batch() as batch:
        issued = tokens.issue(
            batch, UserId(alice.user_id), alice.device_id, now_ms=hs.clock.now_ms(), lifetime_ms=60_000
        )
    client = hs.client(issued.access_token)
    await client.get(f"{BASE}/user")
    hs.clock.jump(61)
    response = await client.raw("GET", f"{BASE}/user")
    assert (response.status, response.json()["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    assert response.json()["soft_logout"] is True


async def test_a_locked_account_may_only_log_out(hs: Homeserver, alice: User) -> None:
    """401 M_USER_LOCKED with a soft logout, until it is unlocked."""
    _set(hs, alice, locked=True)
    response = await alice.raw("GET", f"{BASE}/user")
    assert (response.status, response.json()["errcode"]) == (401, "M_USER_LOCKED")
    assert response.json()["soft_logout"] is True
    await alice.get(f"{BASE}/locked")
    _set(hs, alice, locked=False)
    await alice.get(f"{BASE}/user")


@pytest.mark.parametrize("body", [b"{}", b""])
async def test_a_body_held_back_does_nothing_once_its_session_has_ended(
    hs: Homeserver, alice: User, body: bytes
) -> None:
    """Or requests that were begun in time could be finished hours after the user has logged the thief out."""
    reader, writer = await asyncio.open_connection(*hs.url.removeprefix("http://").split(":"))
    head = f"POST {BASE}/do HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n"
    writer.write(f"{head}Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n".encode())
    # That is said to who has been let in.
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await alice.post("/logout")
    writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n")
    answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"M_UNKNOWN_TOKEN" in answer
    writer.close()
    await writer.wait_closed()


async def test_a_suspended_account_is_told_to_the_handler(hs: Homeserver, alice: User) -> None:
    """What a suspended user may do differs from deed to deed; reading goes on."""
    _set(hs, alice, suspended=True)
    await alice.get(f"{BASE}/user")


async def test_guests_enter_only_where_they_may(hs: Homeserver) -> None:
    """403 M_GUEST_ACCESS_FORBIDDEN elsewhere."""
    answer = await hs.client().post("/register", {}, params={"kind": "guest"})
    guest = hs.client(answer["access_token"])
    await guest.get(f"{BASE}/guests")
    await guest.get(f"{BASE}/optional")
    response = await guest.raw("GET", f"{BASE}/user")
    assert (response.status, response.json()["errcode"]) == (403, "M_GUEST_ACCESS_FORBIDDEN")


async def test_other_kinds_of_callers_are_told_apart(hs: Homeserver, alice: User) -> None:
    """A user is neither an application service nor an administrator, unless made one."""
    await alice.get(f"{BASE}/appservice", 403)
    await alice.get(f"{BASE}/admin", 403)
    _set(hs, alice, admin=True)
    await alice.get(f"{BASE}/admin")


async def test_a_caller_is_charged_by_name(hs: Homeserver) -> None:
    """Two users at one address are two callers, and a user at two addresses is one."""
    from conduit.api.web import Limit
    from conduit.config.schema import Rate, RateLimits

    table = Routes()
    table.get(f"{BASE}/limited", limit=Limit.MESSAGE)(_who)
    rates = replace(RateLimits(), message=Rate(per_second=1, burst=2))
    async with serve(extra=[table], rate_limits=rates) as server:
        alice, bob = await server.register("alice"), await server.register("bob")
        assert [(await alice.raw("GET", f"{BASE}/limited")).status for _ in range(3)] == [200, 200, 429]
        assert (await bob.raw("GET", f"{BASE}/limited")).status == 200
        elsewhere = {"X-Forwarded-For": "192.0.2.7"}
        assert (await alice.raw("GET", f"{BASE}/limited", headers=elsewhere)).status == 429
