"""Accounts and what belongs to them."""

from __future__ import annotations

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.migrations import accounts
from conduit.service.users import profiles
from tests.database.migrations.conftest import World


def test_kinds_of_accounts_are_told_apart(db: Database) -> None:
    """By an empty password, the registrations of application services, and whether anything of the account is alive."""
    rows = dict(trees.account.scan(db))
    assert rows["@conduit:localhost"]["kind"] == "server"
    assert rows["@irc_zoe:localhost"]["kind"] == "appservice"
    assert rows["@gone:localhost"]["deactivated"] is True
    assert rows["@bob:localhost"] == {"kind": "user", "created_ts": 0, "admin": False, "deactivated": False}


def test_members_of_the_admin_room_are_administrators(db: Database) -> None:
    """With Conduit that is what makes an administrator; its own account is none."""
    assert [user_id for user_id, row in trees.account.scan(db) if row["admin"]] == ["@alice:localhost"]


def test_people_are_found_by_the_words_of_their_names(db: Database) -> None:
    """The words are the ones that profiles write later."""
    assert trees.user_word.has(db, ("builder", "@bob:localhost"))
    for user_id, name in (("@bob.x-y:localhost", "Bob the Builder"), ("@ünï:localhost", None), ("@a:b", "É É")):
        assert accounts.words(user_id, name) == profiles.words(user_id, name)


def test_account_data_is_in_order_of_time(world: World, db: Database) -> None:
    """One row for each item, of rooms and global."""
    rows = [value for (user, _), value in trees.accountdata_stream.scan(db, ("@alice:localhost",))]
    assert rows == [("", "m.push_rules"), ("", "m.direct"), (world.room.room_id, "m.tag")]


def test_users_with_rules_of_their_own_are_noted(db: Database) -> None:
    """A rule that somebody has added counts; the rules that Conduit gives everybody do not."""
    assert list(trees.pushrules_own.keys(db)) == ["@bob:localhost"]


def test_users_who_ignore_somebody_are_noted(db: Database) -> None:
    """What ignored users say is not counted as unread for them."""
    assert list(trees.ignoring.keys(db)) == ["@bob:localhost"]
