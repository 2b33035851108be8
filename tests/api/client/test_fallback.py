"""Pages for stages of authentication, and for logging in, in place of a client that does not know them."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import pytest

from conduit.database import trees
from conduit.service.users import accounts, uia_sessions
from tests.support.client import Client, Response, User
from tests.support.homeserver import Homeserver, serve
from tests.support.people import people, person

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def stage(kind: str) -> str:
    """Return the path of a stage's page."""
    return f"/auth/{kind}/fallback/web"


async def enter(client: Client, kind: str, session: str, **entered: str) -> Response:
    """Return the page that follows the one on which this was entered."""
    page = await client.raw(
        "POST", stage(kind), data=urlencode(entered).encode(), params={"session": session}, headers=FORM
    )
    assert page.status == 200
    return page


def is_done(page: Response) -> bool:
    """Tell whether the page says so to the client."""
    return b"window.onAuthDone();" in page.body


async def begin_deletion(user: User) -> str:
    """Return the session of a request to delete the user's device."""
    return str((await user.delete(f"/devices/{user.device_id}", {}, 401))["session"])


async def test_pages_are_safe_to_show(hs: Homeserver) -> None:
    """Only their own script runs, nobody frames them, and each asks for what its stage needs."""
    session = (await hs.client().post("/register", {}, 401))["session"]
    for path, field in [
        (stage("m.login.dummy"), b"<button>"),
        (stage("m.login.password"), b'name="password"'),
        (stage("m.login.registration_token"), b'name="token"'),
        ("/_matrix/static/client/login/", b'name="password"'),
    ]:
        page = await hs.client().raw("GET", path, params={"session": session})
        assert page.status == 200
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
        assert field in page.body
        script = re.search(rb"<script>(.*)</script>", page.body, re.DOTALL)
        if script is not None:
            digest = b64encode(sha256(script[1]).digest()).decode()
            assert f"script-src 'sha256-{digest}'" in page.headers["Content-Security-Policy"]


async def test_registration_goes_on_with_a_token_that_was_entered_on_the_page() -> None:
    """The client sends the session alone; a wrong token is told on the page and may be tried again."""
    async with serve(registration_token="sesame") as hs:
        client = hs.client()
        wish = {"username": "alice", "password": "wonderland"}
        answer = await client.post("/register", wish, 401)
        auth = {"session": answer["session"]}
        wrong = await enter(client, "m.login.registration_token", answer["session"], token="<open>")
        assert not is_done(wrong)
        assert b"is not valid" in wrong.body
        assert (await client.post("/register", {**wish, "auth": auth}, 401))["completed"] == []
        assert is_done(await enter(client, "m.login.registration_token", answer["session"], token="sesame"))
        assert (await client.post("/register", {"auth": auth}))["user_id"] == "@alice:localhost"
        # What was proved has been used.
        assert not list(trees.userdevicesessionid_uiaainfo.keys(hs.ctx.db, ("", "")))


async def test_password_of_the_page_counts_for_its_user_alone(hs: Homeserver) -> None:
    """Bob's proves nothing about Alice."""
    alice, bob = await people(hs, "alice", "bob")
    session = await begin_deletion(alice)
    for name, password, done in [
        ("alice", "wrong", False),
        ("nobody", "x", False),
        ("bob", bob.password, True),
    ]:
        assert is_done(await enter(hs.client(), "m.login.password", session, user=name, password=password)) == done
        answer = await alice.delete(f"/devices/{alice.device_id}", {"auth": {"session": session}}, 401)
        assert answer["completed"] == []
    assert is_done(await enter(hs.client(), "m.login.password", session, user="alice", password=alice.password))
    await alice.delete(f"/devices/{alice.device_id}", {"auth": {"session": session}})


async def test_stage_that_is_not_asked_for_changes_nothing(hs: Homeserver) -> None:
    """Completed it may be; the request does not go through by it, nor is it in the way of the right one."""
    alice = await person(hs)
    session = await begin_deletion(alice)
    assert is_done(await enter(hs.client(), "m.login.dummy", session))
    answer = await alice.delete(f"/devices/{alice.device_id}", {"auth": {"session": session}}, 401)
    assert answer["completed"] == []
    auth = {"session": session, "type": "m.login.password", "password": alice.password}
    await alice.delete(f"/devices/{alice.device_id}", {"auth": auth})


async def test_session_of_another_request_gains_nothing(hs: Homeserver) -> None:
    """Whatever was completed in it."""
    alice, bob = await people(hs, "alice", "bob")
    session = await begin_deletion(alice)
    await enter(hs.client(), "m.login.password", session, user="bob", password=bob.password)
    await bob.delete(f"/devices/{bob.device_id}", {"auth": {"session": session}}, "M_FORBIDDEN")


@pytest.mark.parametrize("session", ["", "x", "1.2.3", "1." + "a" * 12 + "." + "0" * 40, "ü.ü.ü", "x" * 5000])
async def test_sessions_that_are_none_are_refused(hs: Homeserver, session: str) -> None:
    """Before anything is checked or written."""
    params = {"session": session}
    await hs.client().get(stage("m.login.dummy"), "M_INVALID_PARAM", params=params)
    page = await enter(hs.client(), "m.login.dummy", session)
    assert not is_done(page)
    assert not list(trees.userdevicesessionid_uiaainfo.keys(hs.ctx.db))


async def test_pages_of_sessions_run_out(hs: Homeserver) -> None:
    """And what was entered there is swept away."""
    client = hs.client()
    session = (await client.post("/register", {}, 401))["session"]
    await enter(client, "m.login.dummy", session)
    hs.clock.jump(uia_sessions.LIFETIME_MS / 1000 + 1)
    assert not is_done(await enter(client, "m.login.dummy", session))
    with hs.ctx.db.batch() as batch:
        uia_sessions.sweep(batch, hs.ctx.clock.now_ms())
    assert not list(trees.userdevicesessionid_uiaainfo.keys(hs.ctx.db))
    assert not accounts.exists(hs.ctx.db, "@alice:localhost")


@pytest.mark.parametrize(
    ("path", "options", "expect"),
    [
        (stage("m.login.sso"), {"params": {"session": "x"}}, "M_UNRECOGNIZED"),
        (stage("m.login.dummy"), {}, "M_MISSING_PARAM"),
    ],
)
async def test_bad_requests_for_pages(hs: Homeserver, path: str, options: dict[str, Any], expect: str) -> None:
    """A stage without a page, and a page without a session."""
    await hs.client().get(path, expect, **options)
    await hs.client().post(path, {}, expect, **options)


@pytest.mark.parametrize("data", [b"\xff", b"token=%ff"])
async def test_form_that_is_none_is_refused(hs: Homeserver, data: bytes) -> None:
    """With M_INVALID_PARAM."""
    session = (await hs.client().post("/register", {}, 401))["session"]
    answer = await hs.client().raw("POST", stage("m.login.dummy"), data=data, params={"session": session})
    assert (answer.status, answer.json()["errcode"]) == (400, "M_INVALID_PARAM")
