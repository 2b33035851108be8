"""Changing a password."""

from __future__ import annotations

import asyncio

import pytest

from conduit.protocol.errors import Forbidden, WeakPassword
from conduit.protocol.ids import UserId
from conduit.service.actions.change_password import change_password
from conduit.service.actions.log_in import issue_login_token
from conduit.service.users import accounts
from tests.support.homeserver import Homeserver

ALICE = UserId("@alice:localhost")


async def test_account_deactivated_meanwhile_gets_no_password(hs: Homeserver) -> None:
    """The hashing takes a while, in which the account may end."""
    await hs.register("alice")
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, ALICE, deactivated=True)
        accounts.set_password(batch, ALICE, "")
    await change_password(hs.ctx, ALICE, "new", keep_device=None, end_others=True)
    assert accounts.password_hash(hs.ctx.db, ALICE) == ""


async def test_of_two_changes_at_once_only_the_first_is_made(hs: Homeserver) -> None:
    """Or a thief could put his own password over the one with which he was just locked out."""
    await hs.register("alice")
    changes = [change_password(hs.ctx, ALICE, name, keep_device=None, end_others=True) for name in ("one", "two")]
    first, second = await asyncio.gather(*changes, return_exceptions=True)
    assert sorted((type(first), type(second)), key=str) == sorted((type(None), Forbidden), key=str)
    await hs.login("alice", "one" if first is None else "two")


async def test_login_tokens_end_with_the_other_sessions(hs: Homeserver) -> None:
    """Or somebody could still come in with one."""
    await hs.register("alice")
    token = issue_login_token(hs.ctx, ALICE)
    await change_password(hs.ctx, ALICE, "new", keep_device=None, end_others=True)
    await hs.client().post("/login", {"type": "m.login.token", "token": token}, "M_FORBIDDEN")


async def test_empty_password_is_refused(hs: Homeserver) -> None:
    """And the old one stays."""
    await hs.register("alice")
    with pytest.raises(WeakPassword):
        await change_password(hs.ctx, ALICE, "", keep_device=None, end_others=True)
    await hs.login("alice")
