"""Third-party identifiers that users bind at an identity server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conduit.service.users import threepids
from tests.support.homeserver import PASSWORD, serve
from tests.support.identity import TOKEN, Identity, identity_server

MAIL = {"medium": "email", "address": "bob@mail.test"}


def creds(identity: Identity) -> dict[str, Any]:
    """Return what a client needs to bind the identifier of a session that has been validated."""
    identity.sessions["1"] = ("email", "bob@mail.test")
    return {"sid": "1", "client_secret": "s", "id_server": identity.name, "id_access_token": TOKEN}


@pytest.mark.parametrize(
    "path", ["/account/3pid/unbind", "/account/3pid/delete", "/_matrix/client/unstable/account/3pid/unbind"]
)
@pytest.mark.parametrize("named", [True, False])
async def test_bound_identifier_can_be_unbound(tmp_path: Path, path: str, named: bool) -> None:
    """At the server that the client names, else where it was bound; the request is signed by this server."""
    async with identity_server(tmp_path) as identity, serve(**identity.settings) as hs:
        bob = await hs.register("bob")
        await bob.post("/account/3pid/bind", creds(identity))
        assert identity.bound == {("email", "bob@mail.test"): bob.user_id}
        assert [known.server for known in threepids.bindings(hs.ctx.db, bob.user_id)] == [identity.name]
        assert await bob.get("/account/3pid") == {"threepids": []}
        body = {**MAIL, "address": "Bob@Mail.test", **({"id_server": identity.name} if named else {})}
        assert await bob.post(path, body) == {"id_server_unbind_result": "success"}
        assert identity.bound == {}
        asked, sent, authorization = identity.asked[-1]
        assert (asked, sent) == ("/3pid/unbind", {"mxid": bob.user_id, "threepid": MAIL})
        assert authorization.startswith(f'X-Matrix origin="localhost",destination="{identity.name}"')
        assert threepids.bindings(hs.ctx.db, bob.user_id) == []


async def test_identifier_bound_elsewhere_is_unbound_where_the_client_says(tmp_path: Path) -> None:
    """And nowhere, if the client does not say."""
    async with identity_server(tmp_path) as identity, serve(**identity.settings) as hs:
        bob = await hs.register("bob")
        identity.bound[("email", "bob@mail.test")] = bob.user_id
        assert await bob.post("/account/3pid/unbind", MAIL) == {"id_server_unbind_result": "no-support"}
        assert identity.asked == []
        named = {**MAIL, "id_server": identity.name}
        assert await bob.post("/account/3pid/unbind", named) == {"id_server_unbind_result": "success"}


async def test_what_the_identity_server_says_is_passed_on(tmp_path: Path) -> None:
    """Unless it is no Matrix error: then it does not unbind at all."""
    async with identity_server(tmp_path) as identity, serve(**identity.settings) as hs:
        bob = await hs.register("bob")
        body = creds(identity)
        identity.answers["/3pid/bind"] = (400, {"errcode": "M_SESSION_NOT_VALIDATED", "error": "Not yet"})
        await bob.post("/account/3pid/bind", body, "M_SESSION_NOT_VALIDATED")
        identity.answers["/3pid/bind"] = (200, {"medium": "email"})
        await bob.post("/account/3pid", {"three_pid_creds": body}, "M_CONNECTION_FAILED")
        assert threepids.bindings(hs.ctx.db, bob.user_id) == []
        del identity.answers["/3pid/bind"]
        await bob.post("/account/3pid", {"three_pid_creds": body})
        identity.answers["/3pid/unbind"] = (403, {"errcode": "M_FORBIDDEN", "error": "Invalid signature"})
        await bob.post("/account/3pid/unbind", MAIL, "M_FORBIDDEN")
        assert len(threepids.bindings(hs.ctx.db, bob.user_id)) == 1
        identity.answers["/3pid/unbind"] = (404, "<html>")
        assert await bob.post("/account/3pid/unbind", MAIL) == {"id_server_unbind_result": "no-support"}
        assert threepids.bindings(hs.ctx.db, bob.user_id) == []


@pytest.mark.parametrize("works", [True, False])
async def test_deactivation_unbinds(tmp_path: Path, works: bool) -> None:
    """The account is gone whether or not the identity server does its part, and the answer tells."""
    async with identity_server(tmp_path) as identity, serve(**identity.settings) as hs:
        bob = await hs.register("bob")
        await bob.post("/account/3pid/bind", creds(identity))
        if not works:
            identity.answers["/3pid/unbind"] = (500, "")
        user = {"type": "m.id.user", "user": "bob"}
        auth = {"type": "m.login.password", "identifier": user, "password": PASSWORD}
        answer = await bob.post("/account/deactivate", {"auth": auth})
        assert answer == {"id_server_unbind_result": "success" if works else "no-support"}
        assert (identity.bound == {}) == works
        await bob.get("/account/whoami", "M_UNKNOWN_TOKEN")
