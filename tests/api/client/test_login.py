"""Login, logout, refresh and login tokens over HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from conduit.config.schema import Rate, RateLimits, WellKnown
from conduit.protocol.ids import UserId
from conduit.service.users import accounts
from tests.support.homeserver import PASSWORD, Homeserver, serve

GET_TOKEN = "/_matrix/client/v1/login/get_token"


def _by(identifier: dict[str, Any] | None, password: str = PASSWORD, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"type": "m.login.password", "password": password, **more}
    return body if identifier is None else {**body, "identifier": identifier}


def _user(name: str) -> dict[str, Any]:
    return {"type": "m.id.user", "user": name}


async def test_flows_are_told(hs: Homeserver) -> None:
    """Password and token, and that the latter can be had from here."""
    answer = await hs.client().get("/login")
    assert answer == {"flows": [{"type": "m.login.password"}, {"type": "m.login.token", "get_login_token": True}]}


@pytest.mark.parametrize(
    "body",
    [
        _by(_user("alice")),
        _by(_user("Alice")),
        _by(_user("@alice:localhost")),
        _by(None, user="alice"),
        _by(None, user="@alice:localhost"),
    ],
)
async def test_login_takes_all_forms_of_a_user_id(hs: Homeserver, body: dict[str, Any]) -> None:
    """Localpart or whole id, in the identifier or in the deprecated field."""
    await hs.register("alice")
    answer = await hs.client().post("/login", body)
    assert answer["user_id"] == "@alice:localhost"
    assert len(answer["device_id"]) == 10
    assert set(answer) == {"user_id", "device_id", "access_token"}


@pytest.mark.parametrize(
    "body",
    [
        _by(_user("alice"), "wrong"),
        _by(_user("alice"), "x" * 10_000),
        _by(_user("alice"), ""),
        _by(_user("nobody")),
        _by(_user("@alice:elsewhere.org")),
        _by({"type": "m.id.thirdparty", "medium": "email", "address": "a@b.org"}),
        _by({"medium": "email", "address": "a@b.org"}),
        _by({"type": "m.id.phone", "country": "GB", "phone": "0123"}),
        _by(None, medium="email", address="a@b.org"),
    ],
)
async def test_login_refuses_alike_whoever_cannot_prove_it(hs: Homeserver, body: dict[str, Any]) -> None:
    """The answer does not tell whether there is such a user."""
    await hs.register("alice")
    answer = await hs.client().post("/login", body, 403)
    assert answer == {"errcode": "M_FORBIDDEN", "error": "Invalid user name or password"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"type": "m.login.magic"}, "M_UNKNOWN"),
        ({"type": 5}, "M_BAD_JSON"),
        (_by(None), "M_MISSING_PARAM"),
        (_by({"type": "m.id.magic"}), "M_INVALID_PARAM"),
        (_by({"type": "m.id.user"}), "M_MISSING_PARAM"),
        (_by({"type": "m.id.user", "user": 5}), "M_BAD_JSON"),
        ({"type": "m.login.password", "identifier": "alice", "password": "x"}, "M_BAD_JSON"),
        ({"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"}}, "M_MISSING_PARAM"),
        ({"type": "m.login.token"}, "M_MISSING_PARAM"),
        ({"type": "m.login.token", "token": "made up"}, "M_FORBIDDEN"),
    ],
)
async def test_login_refuses_malformed_requests(hs: Homeserver, body: dict[str, Any], error: str) -> None:
    """With the code that says what is wrong."""
    await hs.register("alice")
    await hs.client().post("/login", body, error)


async def test_login_on_a_known_device_replaces_its_token_only(hs: Homeserver) -> None:
    """The device keeps its name; its earlier token ends."""
    alice = await hs.register("alice", device_id="PHONE", initial_device_display_name="phone")
    again = await hs.login("alice", device_id="PHONE", initial_device_display_name="other")
    assert again.device_id == "PHONE"
    await alice.get("/account/whoami", "M_UNKNOWN_TOKEN")
    devices = (await again.get("/devices"))["devices"]
    assert [(device["device_id"], device["display_name"]) for device in devices] == [("PHONE", "phone")]


async def test_login_refuses_a_cross_signing_key_as_device(hs: Homeserver) -> None:
    """A device and a key of the same name could not be told apart."""
    alice = await hs.register("alice")
    key = "nqOvzeuGWT/sRx3h7+MHoInYj3Uk2LD/unI9kDYcHwk"
    keys = {"user_id": alice.user_id, "usage": ["master"], "keys": {f"ed25519:{key}": key}}
    await alice.post("/keys/device_signing/upload", {"master_key": keys})
    await hs.client().post("/login", _by(_user("alice"), device_id=key), "M_FORBIDDEN")


async def test_login_tells_the_configured_well_known() -> None:
    """Clients are sent to the URL that the owner wants them to use."""
    async with serve(well_known=WellKnown(client="https://matrix.example.org/")) as hs:
        await hs.register("alice")
        answer = await hs.client().post("/login", _by(_user("alice")))
        assert answer["well_known"] == {"m.homeserver": {"base_url": "https://matrix.example.org"}}


async def test_failed_logins_of_an_account_are_limited() -> None:
    """After some failures the account rests, for the right password as well; others are not touched."""
    limits = RateLimits(enabled=True, login=Rate(per_second=0.1, burst=3), registration=Rate(burst=100))
    async with serve(rate_limits=limits, trusted_proxies=("127.0.0.0/8",)) as hs:
        await hs.register("alice")
        await hs.register("bob")
        client = hs.client()

        async def attempt(number: int, name: str, password: str, expect: int) -> Any:
            # Each from another address, as a botnet would.
            headers = {"X-Forwarded-For": f"198.51.100.{number}"}
            return await client.request("POST", "/login", _by(_user(name), password), expect, headers=headers)

        for number in range(3):
            await attempt(number, "alice", "wrong", 403)
        answer = await attempt(4, "alice", PASSWORD, 429)
        assert answer["errcode"] == "M_LIMIT_EXCEEDED"
        assert answer["retry_after_ms"] > 0
        await attempt(5, "bob", PASSWORD, 200)
        hs.clock.jump(answer["retry_after_ms"] / 1000)
        await attempt(6, "alice", PASSWORD, 200)


async def test_deactivated_user_cannot_enter_in_any_way(hs: Homeserver) -> None:
    """Not by password, not by a login token, not by a refresh token, not by an old access token."""
    alice = await hs.register("alice", refresh_token=True)
    other = await hs.client().post("/login", _by(_user("alice"), refresh_token=True))
    auth = {"type": "m.login.password", "identifier": _user("alice"), "password": PASSWORD}
    token = (await alice.post(GET_TOKEN, {"auth": auth}))["login_token"]
    await alice.post("/account/deactivate", {"auth": auth})
    await hs.client().post("/login", _by(_user("alice")), "M_FORBIDDEN")
    await hs.client().post("/login", {"type": "m.login.token", "token": token}, "M_FORBIDDEN")
    await hs.client().post("/refresh", {"refresh_token": other["refresh_token"]}, "M_UNKNOWN_TOKEN")
    await alice.get("/account/whoami", "M_UNKNOWN_TOKEN")


async def test_locked_user_is_told_so_and_may_only_log_out(hs: Homeserver) -> None:
    """Sessions are kept, and work again once unlocked."""
    alice = await hs.register("alice", refresh_token=True)
    pair = await hs.client().post("/login", _by(_user("alice"), refresh_token=True))
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, UserId(alice.user_id), locked=True)
    for answer in (
        await alice.get("/account/whoami", 401),
        await hs.client().post("/login", _by(_user("alice")), 401),
        await hs.client().post("/refresh", {"refresh_token": pair["refresh_token"]}, 401),
    ):
        assert (answer["errcode"], answer["soft_logout"]) == ("M_USER_LOCKED", True)
    await hs.client().post("/login", _by(_user("alice"), "wrong"), "M_FORBIDDEN")
    await hs.client(pair["access_token"]).post("/logout")
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, UserId(alice.user_id), locked=False)
    await alice.get("/account/whoami")


async def test_login_token_is_good_for_one_login(hs: Homeserver) -> None:
    """It takes the password to get one; it lets in once, for two minutes."""
    alice = await hs.register("alice")
    auth = {"type": "m.login.password", "identifier": _user("alice"), "password": PASSWORD}
    await alice.post(GET_TOKEN, {}, 401)
    answer = await alice.post(GET_TOKEN, {"auth": auth})
    assert answer["expires_in_ms"] == 120_000
    body = {"type": "m.login.token", "token": answer["login_token"], "device_id": "TV"}
    assert (await hs.client().post("/login", body))["device_id"] == "TV"
    await hs.client().post("/login", body, "M_FORBIDDEN")
    body["token"] = (await alice.post(GET_TOKEN, {"auth": auth}))["login_token"]
    hs.clock.jump(120)
    await hs.client().post("/login", body, "M_FORBIDDEN")


def _jwt(claims: dict[str, Any], secret: str = "s3cret", algorithm: str = "HS256") -> str:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).decode().rstrip("=")

    head = part(json.dumps({"alg": algorithm, "typ": "JWT"}).encode()) + "." + part(json.dumps(claims).encode())
    return head + "." + part(hmac.new(secret.encode(), head.encode(), hashlib.sha256).digest())


async def test_json_web_token_logs_in_where_configured() -> None:
    """Only one that is signed with the secret, names an active user and has not expired."""
    async with serve(jwt_secret="s3cret") as hs:
        await hs.register("alice")
        later = hs.clock.now_ms() // 1000 + 60

        async def attempt(token: str, expect: int | str) -> Any:
            return await hs.client().post("/login", {"type": "m.login.token", "token": token}, expect)

        assert (await attempt(_jwt({"sub": "Alice", "exp": later}), 200))["user_id"] == "@alice:localhost"
        for token in (
            _jwt({"sub": "alice", "exp": later}, secret="guess"),
            _jwt({"sub": "alice", "exp": later}, algorithm="none"),
            _jwt({"sub": "alice", "exp": later - 120}),
            _jwt({"sub": "alice"}),
            _jwt({"sub": "nobody", "exp": later}),
            _jwt({"sub": 5, "exp": later}),
            _jwt({"sub": "alice", "exp": "soon"}),
            _jwt({"sub": "alice", "exp": later, "nbf": later}),
            _jwt({"sub": "alice", "exp": later}).rsplit(".", 1)[0] + ".",
            "..",
            "ü.ü.ü",
        ):
            await attempt(token, "M_FORBIDDEN")
        with hs.ctx.db.batch() as batch:
            accounts.update(batch, UserId("@alice:localhost"), deactivated=True)
        await attempt(_jwt({"sub": "alice", "exp": later}), "M_USER_DEACTIVATED")


async def test_json_web_token_is_refused_without_a_secret(hs: Homeserver) -> None:
    """No empty or default secret makes tokens guessable."""
    await hs.register("alice")
    token = _jwt({"sub": "alice", "exp": 2**40}, secret="")
    await hs.client().post("/login", {"type": "m.login.token", "token": token}, "M_FORBIDDEN")


async def test_emergency_password_lets_the_operator_in_as_conduit() -> None:
    """Only where it is configured."""
    async with serve(emergency_password="break glass") as hs:
        body = _by(_user("@conduit:localhost"), "break glass")
        with hs.ctx.db.batch() as batch:
            accounts.create(batch, UserId("@conduit:localhost"), "", kind="server")
        assert (await hs.client().post("/login", body))["user_id"] == "@conduit:localhost"
        await hs.client().post("/login", _by(_user("@conduit:localhost"), "wrong"), "M_FORBIDDEN")
        await hs.client().post("/login", _by(_user("@conduit:localhost"), ""), "M_FORBIDDEN")
