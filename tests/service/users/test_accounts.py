"""Accounts."""

from __future__ import annotations

import pytest

from conduit.database import trees
from conduit.database.database import Database
from conduit.protocol.errors import Forbidden, UserDeactivated, UserLocked
from conduit.protocol.ids import ServerName, UserId
from conduit.service.users import accounts

ALICE = UserId("@alice:localhost")


def test_account_exists_once_it_is_made(db: Database) -> None:
    """And is an ordinary one unless said otherwise."""
    assert not accounts.exists(db, ALICE)
    assert accounts.get(db, ALICE) is None
    with db.batch() as batch:
        accounts.create(batch, ALICE, "hash", now_ms=5)
        assert accounts.exists(batch, ALICE)
    assert accounts.get(db, ALICE) == accounts.Account(created_ts=5)
    assert accounts.password_hash(db, ALICE) == "hash"
    assert accounts.is_active(db, ALICE)
    assert not accounts.is_admin(db, ALICE)


def test_account_made_by_conduit_is_an_ordinary_one(db: Database) -> None:
    """There only the password's row says that the user exists."""
    with db.batch() as batch:
        trees.userid_password.put(batch, ALICE, "hash")
    assert accounts.get(db, ALICE) == accounts.Account()
    with db.batch() as batch:
        accounts.update(batch, ALICE, locked=True)
    assert accounts.get(db, ALICE) == accounts.Account(locked=True)


def test_unknown_keys_of_a_newer_row_are_passed_over(db: Database) -> None:
    """A row that holds more than is known here can be read."""
    with db.batch() as batch:
        accounts.create(batch, ALICE, "")
        trees.account.put(batch, ALICE, {"kind": "user", "shadow_banned": True})
    assert accounts.get(db, ALICE) == accounts.Account()


def test_barred_accounts_may_not_log_in(db: Database) -> None:
    """Deactivated goes before locked; nobody is barred like the deactivated."""
    with db.batch() as batch:
        accounts.create(batch, ALICE, "")
    accounts.check_may_log_in(db, ALICE)
    with db.batch() as batch:
        accounts.update(batch, ALICE, locked=True)
    with pytest.raises(UserLocked) as locked:
        accounts.check_may_log_in(db, ALICE)
    assert locked.value.body()["soft_logout"] is True
    with db.batch() as batch:
        accounts.update(batch, ALICE, deactivated=True)
    for user_id in (ALICE, "@nobody:localhost"):
        with pytest.raises(UserDeactivated):
            accounts.check_may_log_in(db, user_id)


def test_flags_of_nobody_cannot_be_changed(db: Database) -> None:
    """There is no account to change."""
    with pytest.raises(KeyError), db.batch() as batch:
        accounts.update(batch, ALICE, locked=True)


def test_lists_hold_accounts_of_this_server_only(db: Database) -> None:
    """Conduit keeps rows of remote users beside them."""
    with db.batch() as batch:
        for name in ("@bob:localhost", "@carol:elsewhere.org", "@xlocalhost:other"):
            accounts.create(batch, UserId(name), "")
        accounts.create(batch, ALICE, "", admin=True)
    assert list(accounts.local_users(db, ServerName("localhost"))) == [ALICE, "@bob:localhost"]
    assert accounts.admins(db) == [ALICE]
    assert accounts.with_flag(db, "admin") == [ALICE]


def test_deactivated_administrator_is_none(db: Database) -> None:
    """Whatever the flag says."""
    with db.batch() as batch:
        accounts.create(batch, ALICE, "", admin=True)
        accounts.update(batch, ALICE, deactivated=True)
    assert not accounts.is_admin(db, ALICE)
    assert accounts.admins(db) == []


def test_first_token_stands_until_it_is_taken(db: Database) -> None:
    """Then there is none."""
    assert accounts.first_token(db) is None
    with db.batch() as batch:
        accounts.offer_first_token(batch, "abc")
    assert accounts.first_token(db) == "abc"
    with db.batch() as batch:
        accounts.take_first_token(batch)
    assert accounts.first_token(db) is None


def test_guest_is_upgraded_once(db: Database) -> None:
    """The account keeps its age and becomes an ordinary one with a password; no other account can be upgraded."""
    with db.batch() as batch:
        accounts.create(batch, ALICE, "", kind="guest", now_ms=5)
        accounts.upgrade_guest(batch, ALICE, "hash")
    assert accounts.get(db, ALICE) == accounts.Account(created_ts=5)
    assert accounts.password_hash(db, ALICE) == "hash"
    with db.batch() as batch, pytest.raises(Forbidden):
        accounts.upgrade_guest(batch, ALICE, "other")
    with db.batch() as batch, pytest.raises(Forbidden):
        accounts.upgrade_guest(batch, UserId("@nobody:localhost"), "other")
