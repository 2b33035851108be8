"""Registration over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.config.schema import Rate, RateLimits
from conduit.service.users import accounts, registration_tokens
from tests.support.client import Client
from tests.support.homeserver import PASSWORD, Homeserver, serve

DUMMY = {"type": "m.login.dummy"}
VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity"


def _wish(name: str = "alice", **more: Any) -> dict[str, Any]:
    return {"username": name, "password": "wonderland", **more}


async def _stages(client: Client, body: dict[str, Any] | None = None) -> list[list[str]]:
    answer = await client.post("/register", body or {}, 401)
    return [flow["stages"] for flow in answer["flows"]]


async def test_register_without_auth_tells_the_flows(hs: Homeserver) -> None:
    """The first request is answered with what must be proved, and makes no account."""
    client = hs.client()
    answer = await client.post("/register", _wish(), 401)
    assert answer["flows"] == [{"stages": ["m.login.dummy"]}]
    assert "errcode" not in answer
    assert answer["session"]
    assert not accounts.exists(hs.ctx.db, "@alice:localhost")


async def test_register_with_the_dummy_stage_logs_in(hs: Homeserver) -> None:
    """A completed flow makes the account and its first session; a display name is set."""
    client = hs.client()
    session = (await client.post("/register", {}, 401))["session"]
    answer = await client.post("/register", _wish(device_id="PHONE", auth={**DUMMY, "session": session}))
    assert answer["user_id"] == "@alice:localhost"
    assert answer["device_id"] == "PHONE"
    assert "refresh_token" not in answer
    alice = hs.client(answer["access_token"])
    assert (await alice.get("/account/whoami"))["user_id"] == "@alice:localhost"
    assert await alice.get("/profile/@alice:localhost") == {"displayname": "alice"}


async def test_register_accepts_the_stage_without_a_session(hs: Homeserver) -> None:
    """Simple clients send the whole at once."""
    answer = await hs.client().post("/register", _wish(auth=DUMMY))
    assert answer["access_token"]


async def test_register_inhibiting_login_opens_no_session(hs: Homeserver) -> None:
    """Only the user id is told then."""
    answer = await hs.client().post("/register", _wish(auth=DUMMY, inhibit_login=True, refresh_token=True))
    assert answer == {"user_id": "@alice:localhost"}
    await hs.login("alice", "wonderland")


async def test_register_remembers_the_first_request(hs: Homeserver) -> None:
    """The second need bring the proof only."""
    wish = _wish(password="übers3cret", device_id="PHONE", initial_device_display_name="phone", inhibit_login=False)
    session = (await hs.client().post("/register", wish, 401))["session"]
    answer = await hs.client().post("/register", {"auth": {**DUMMY, "session": session}})
    assert (answer["user_id"], answer["device_id"]) == ("@alice:localhost", "PHONE")
    assert (await hs.client(answer["access_token"]).get("/devices/PHONE"))["display_name"] == "phone"
    await hs.login("alice", "übers3cret")


@pytest.mark.parametrize("wish", [_wish(), {"password": "wonderland"}, _wish(inhibit_login=True)])
async def test_repeated_registration_answers_alike(hs: Homeserver, wish: dict[str, Any]) -> None:
    """The answer may have been lost: same user, same device, and no second account."""
    session = (await hs.client().post("/register", wish, 401))["session"]
    body = {**wish, "auth": {**DUMMY, "session": session}}
    first = await hs.client().post("/register", body)
    second = await hs.client().post("/register", body)
    for answer in (first, second):
        answer.pop("access_token", None)
    assert first == second
    assert len(list(accounts.local_users(hs.ctx.db, hs.ctx.server_name))) == 2
    await hs.client().post("/register", {**body, "password": "guess"}, "M_FORBIDDEN")


async def test_register_without_a_name_draws_one(hs: Homeserver) -> None:
    """The server makes up a localpart."""
    answer = await hs.client().post("/register", {"password": "x", "auth": DUMMY})
    assert answer["user_id"].endswith(":localhost")
    assert len(answer["user_id"]) > len("@:localhost") + 8


async def test_register_lowers_capitals(hs: Homeserver) -> None:
    """Names are mapped to lower case, so that nobody takes another's name in capitals."""
    answer = await hs.client().post("/register", _wish("ALICE", auth=DUMMY))
    assert answer["user_id"] == "@alice:localhost"
    await hs.client().post("/register", _wish("aliCE", auth=DUMMY), "M_USER_IN_USE")


@pytest.mark.parametrize("name", ["", "al ice", "alice!", "alice:x", "älice", "a" * 250, "al\x00ice", "@alice"])
async def test_register_refuses_names_outside_the_grammar(hs: Homeserver, name: str) -> None:
    """The refusal comes before any stage."""
    await hs.client().post("/register", _wish(name), "M_INVALID_USERNAME")
    await hs.client().get("/register/available", "M_INVALID_USERNAME", params={"username": name})


async def test_register_refuses_a_taken_name_before_the_stages(hs: Homeserver) -> None:
    """Also that of a deactivated account."""
    alice = await hs.register("alice")
    await hs.client().post("/register", _wish(), "M_USER_IN_USE")
    await hs.client().get("/register/available", "M_USER_IN_USE", params={"username": "alice"})
    auth = {"type": "m.login.password", "password": alice.password, "user": "alice"}
    await alice.post("/account/deactivate", {"auth": auth})
    await hs.client().post("/register", _wish(), "M_USER_IN_USE")


async def test_available_tells_free_names(hs: Homeserver) -> None:
    """A free name is available; a missing parameter is an error."""
    assert await hs.client().get("/register/available", params={"username": "bob"}) == {"available": True}
    await hs.client().get("/register/available", "M_MISSING_PARAM")


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("username", 5, "M_BAD_JSON"),
        ("password", ["x"], "M_BAD_JSON"),
        ("password", "", "M_WEAK_PASSWORD"),
        ("password", "x" * 513, "M_INVALID_PARAM"),
        ("auth", "dummy", "M_INVALID_PARAM"),
        ("auth", {"type": "m.login.dummy", "session": 5}, "M_INVALID_PARAM"),
        ("auth", {"type": "m.login.dummy", "session": "made.up.it"}, "M_FORBIDDEN"),
        ("auth", {"type": "m.login.password", "user": "alice", "password": "x"}, "M_FORBIDDEN"),
        ("device_id", "x" * 256, "M_INVALID_PARAM"),
        ("device_id", {}, "M_BAD_JSON"),
        ("inhibit_login", "no", "M_BAD_JSON"),
    ],
)
async def test_register_refuses_malformed_fields(hs: Homeserver, field: str, value: Any, error: str) -> None:
    """Nothing is made."""
    await hs.client().post("/register", {**_wish(auth=DUMMY), field: value}, error)
    assert not accounts.exists(hs.ctx.db, "@alice:localhost")


async def test_register_without_a_password_is_refused_after_the_stages(hs: Homeserver) -> None:
    """An account nobody can log in to is of no use."""
    await hs.client().post("/register", {"username": "alice", "auth": DUMMY}, "M_MISSING_PARAM")


async def test_register_refuses_guests_by_default(hs: Homeserver) -> None:
    """Guests are off; other kinds do not exist."""
    await hs.client().post("/register?kind=guest", {}, "M_FORBIDDEN")
    await hs.client().post("/register?kind=robot", {}, "M_INVALID_PARAM")


async def test_register_makes_guests_where_configured() -> None:
    """All that a guest sends is ignored but the name of the device."""
    async with serve(allow_guest_registration=True) as hs:
        body = {"username": "alice", "device_id": "MINE", "initial_device_display_name": "browser"}
        answer = await hs.client().post("/register?kind=guest", body)
        assert answer["user_id"] != "@alice:localhost"
        assert answer["device_id"] != "MINE"
        who = await hs.client(answer["access_token"]).get("/account/whoami")
        assert who["is_guest"] is True


async def _guest(hs: Homeserver) -> tuple[str, Client]:
    """Return the local part and the client of a new guest."""
    answer = await hs.client().post("/register?kind=guest", {})
    return answer["user_id"][1:].partition(":")[0], hs.client(answer["access_token"])


async def test_guest_becomes_a_user_with_the_token_and_own_name() -> None:
    """The name, rooms and sessions stay; a password and all that users may do come with it."""
    async with serve(allow_guest_registration=True) as hs:
        alice = await hs.register("alice")
        closed = await alice.create_room(preset="public_chat")
        name, guest = await _guest(hs)
        await guest.post(f"/rooms/{closed}/join", {}, "M_GUEST_ACCESS_FORBIDDEN")
        wish = {"username": name, "password": PASSWORD, "guest_access_token": guest.token}
        await hs.client().post("/register", wish, 401)
        answer = await hs.client().post("/register", {**wish, "auth": DUMMY})
        assert answer["user_id"] == f"@{name}:localhost"
        for token in (answer["access_token"], guest.token):
            assert (await hs.client(token).get("/account/whoami"))["is_guest"] is False
        await guest.post(f"/rooms/{closed}/join", {})
        await hs.login(name)
        # Nobody is upgraded twice.
        await hs.client().post("/register", {**wish, "auth": DUMMY}, "M_FORBIDDEN")


async def test_guest_cannot_be_upgraded_by_others() -> None:
    """The token must be a guest's, and the name that guest's own."""
    async with serve(allow_guest_registration=True) as hs:
        alice = await hs.register("alice")
        name, guest = await _guest(hs)
        other, _ = await _guest(hs)
        for wish in (
            {"username": other, "guest_access_token": guest.token},
            {"username": "alice", "guest_access_token": alice.token},
            {"username": name, "guest_access_token": alice.token},
            {"username": name, "guest_access_token": "unknown"},
        ):
            await hs.client().post("/register", {**wish, "password": PASSWORD, "auth": DUMMY}, "M_FORBIDDEN")
        wish = {"guest_access_token": guest.token or "", "password": PASSWORD}
        await hs.client().post("/register", {**wish, "auth": DUMMY}, "M_MISSING_PARAM")
        await hs.client().post("/register", {**wish, "username": name, "guest_access_token": 7}, "M_BAD_JSON")
        assert (await guest.get("/account/whoami"))["is_guest"] is True


async def test_guest_uses_what_guests_may() -> None:
    """The display name, keys and messages to devices, but no other field of the profile and no rooms of their own."""
    async with serve(allow_guest_registration=True) as hs:
        name, guest = await _guest(hs)
        user_id = f"@{name}:localhost"
        assert (await guest.get(f"/profile/{user_id}/displayname"))["displayname"] == name
        await guest.put(f"/profile/{user_id}/displayname", {"displayname": "creeper"})
        assert (await guest.get(f"/profile/{user_id}"))["displayname"] == "creeper"
        await guest.delete(f"/profile/{user_id}/displayname")
        await guest.put(f"/profile/{user_id}/avatar_url", {"avatar_url": "mxc://a/b"}, "M_GUEST_ACCESS_FORBIDDEN")
        await guest.delete(f"/profile/{user_id}/org.example.a", expect="M_GUEST_ACCESS_FORBIDDEN")
        await guest.put("/sendToDevice/org.example.a/1", {"messages": {}})
        await guest.post("/keys/upload", {})
        await guest.post("/keys/query", {"device_keys": {user_id: []}})
        await guest.post("/keys/claim", {"one_time_keys": {}})
        await guest.post("/createRoom", {}, "M_GUEST_ACCESS_FORBIDDEN")


async def test_register_adds_the_bolt_where_configured() -> None:
    """`enable_lightning_bolt` marks new names, as Conduit does."""
    async with serve(enable_lightning_bolt=True) as hs:
        await hs.register("alice")
        assert (await hs.client().get("/profile/@alice:localhost"))["displayname"] == "alice ⚡️"


async def test_closed_registration_refuses() -> None:
    """Nobody can make an account, and no token is good."""
    async with serve(allow_registration=False) as hs:
        await hs.client().post("/register", _wish(auth=DUMMY), "M_FORBIDDEN")
        await hs.client().get(VALIDITY, "M_FORBIDDEN", params={"token": "x"})


async def test_configured_token_is_asked_for() -> None:
    """Without it the dummy stage does not help; a wrong one is told as such and may be tried again."""
    async with serve(registration_token="sesame") as hs:
        client = hs.client()
        assert await _stages(client) == [["m.login.registration_token"]]
        answer = await client.post("/register", _wish(auth=DUMMY), 401)
        assert answer["errcode"] == "M_FORBIDDEN"
        session = answer["session"]
        wrong = {"type": "m.login.registration_token", "token": "simsalabim", "session": session}
        answer = await client.post("/register", _wish(auth=wrong), 401)
        assert (answer["errcode"], answer["session"]) == ("M_FORBIDDEN", session)
        await client.post("/register", _wish(auth={**wrong, "token": "sesame"}))
        assert await client.get(VALIDITY, params={"token": "sesame"}) == {"valid": True}
        assert await client.get(VALIDITY, params={"token": "open"}) == {"valid": False}


async def test_issued_token_opens_closed_registration_as_often_as_allowed() -> None:
    """An administrator's token lets in so many, until it expires."""
    async with serve(allow_registration=False) as hs:
        with hs.ctx.db.batch() as batch:
            registration_tokens.create(batch, "two-uses", uses_allowed=2, expires_at=hs.clock.now_ms() + 60_000)
        auth = {"type": "m.login.registration_token", "token": "two-uses"}
        await hs.client().post("/register", _wish("alice", auth=auth))
        assert await hs.client().get(VALIDITY, params={"token": "two-uses"}) == {"valid": True}
        hs.clock.jump(61)
        await hs.client().post("/register", _wish("bob", auth=auth), "M_FORBIDDEN")
        with hs.ctx.db.batch() as batch:
            registration_tokens.create(batch, "once", uses_allowed=1)
        auth["token"] = "once"
        await hs.client().post("/register", _wish("bob", auth=auth))
        await hs.client().post("/register", _wish("carol", auth=auth), "M_FORBIDDEN")


async def test_register_with_refresh_gives_a_pair(hs: Homeserver) -> None:
    """The access token then has an end."""
    answer = await hs.client().post("/register", _wish(auth=DUMMY, refresh_token=True))
    assert answer["refresh_token"]
    assert answer["expires_in_ms"] == hs.config.access_token_ttl * 1000


async def test_registrations_are_limited_by_address() -> None:
    """The limit counts proofs, not questions."""
    limits = RateLimits(enabled=True, registration=Rate(per_second=0.01, burst=2))
    async with serve(rate_limits=limits) as hs:
        for name in ("alice", "bob"):
            await hs.register(name)
        await hs.client().post("/register", _wish("carol"), 401)
        await hs.client().post("/register", _wish("carol", auth=DUMMY), "M_LIMIT_EXCEEDED")
