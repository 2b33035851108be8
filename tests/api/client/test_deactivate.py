"""Deactivation over HTTP."""

from __future__ import annotations

from typing import Any

from conduit.database import trees
from conduit.service.users import accounts
from tests.support.homeserver import PASSWORD, Homeserver

PATH = "/account/deactivate"


def _auth(**more: Any) -> dict[str, Any]:
    identifier = {"type": "m.id.user", "user": "alice"}
    return {"auth": {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}, **more}


async def test_deactivation_takes_the_password(hs: Homeserver) -> None:
    """Without it nothing happens."""
    alice = await hs.register("alice")
    await alice.post(PATH, {}, 401)
    await alice.post(PATH, _auth(erase="yes"), "M_BAD_JSON")
    await hs.client().post(PATH, _auth(), "M_MISSING_TOKEN")
    await alice.get("/account/whoami")


async def test_deactivation_ends_everything(hs: Homeserver) -> None:
    """Sessions, profile and password go; nothing was bound to an identity server."""
    alice = await hs.register("alice")
    other = await hs.login("alice")
    assert await alice.post(PATH, _auth()) == {"id_server_unbind_result": "success"}
    for session in (alice, other):
        await session.get("/account/whoami", "M_UNKNOWN_TOKEN")
    await hs.client().get("/profile/@alice:localhost", "M_NOT_FOUND")
    assert accounts.is_deactivated(hs.ctx.db, "@alice:localhost")
    assert not accounts.is_erased(hs.ctx.db, "@alice:localhost")
    assert "@alice:localhost" not in {user_id for _, user_id in trees.user_word.keys(hs.ctx.db)}
    assert not list(trees.userdeviceid_metadata.keys(hs.ctx.db))


async def test_deactivated_user_leaves_rooms_and_rejects_invites(hs: Homeserver) -> None:
    """The others see them go."""
    alice = await hs.register("alice")
    bob = await hs.register("bob")
    joined = await bob.create_room(preset="public_chat")
    invited = await bob.create_room(invite=[alice.user_id])
    await alice.join(joined)
    await alice.post(PATH, _auth())
    for room in (joined, invited):
        assert (await bob.state(room, "m.room.member", alice.user_id))["membership"] == "leave"
    assert not accounts.with_flag(hs.ctx.db, "leaving")


async def test_erasure_is_remembered_and_deletes_account_data(hs: Homeserver) -> None:
    """What is no event goes at once; the events are hidden from newcomers by those who read them."""
    alice = await hs.register("alice")
    await alice.put("/user/@alice:localhost/account_data/org.example.x", {"a": 1})
    await alice.post(PATH, _auth(erase=True))
    assert accounts.is_erased(hs.ctx.db, "@alice:localhost")
    assert not list(trees.roomuserdataid_accountdata.keys(hs.ctx.db))
