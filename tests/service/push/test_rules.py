"""Whose push rules differ from the predefined ones."""

from __future__ import annotations

import pytest

from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES
from conduit.protocol.ids import UserId
from conduit.protocol.push.ruleset import parse_rule
from conduit.service import account_data
from conduit.service.push import rules
from tests.support.rooms import ALICE, BOB


@pytest.fixture
def db() -> Database:
    """An empty database."""
    return Database(MemoryEngine(TREE_NAMES))


def add(db: Database, rule_id: str, user_id: UserId = ALICE) -> None:
    """Give a user a rule."""
    with db.batch() as batch:
        ruleset = rules.ruleset(batch, user_id)
        ruleset.put("content", parse_rule("content", rule_id, {"pattern": rule_id, "actions": ["notify"]}))
        rules.put(batch, user_id, ruleset)


def enabled(db: Database, user_id: UserId = ALICE) -> list[str]:
    """Return the ids of the rules that are tried, in order."""
    return [rule["rule_id"] for _, rule in rules.enabled(db, user_id)]


def test_user_is_listed_while_the_rules_differ(db: Database) -> None:
    """Once they are the predefined ones again, an event need not look at the user any more."""
    assert rules.users_with_own(db) == set()
    add(db, "cake")
    add(db, "cake", BOB)
    assert rules.users_with_own(db) == {ALICE, BOB}
    with db.batch() as batch:
        ruleset = rules.ruleset(batch, ALICE)
        ruleset.remove("content", "cake")
        rules.put(batch, ALICE, ruleset)
    assert rules.users_with_own(db) == {BOB}


def test_switched_predefined_rule_is_a_difference(db: Database) -> None:
    """Also without any rule of one's own."""
    for is_enabled, expected in ((False, {ALICE}), (True, set())):
        with db.batch() as batch:
            ruleset = rules.ruleset(batch, ALICE)
            ruleset.find("underride", ".m.rule.message")["enabled"] = is_enabled
            rules.put(batch, ALICE, ruleset)
        assert rules.users_with_own(db) == expected
        assert (".m.rule.message" in enabled(db)) is is_enabled


def test_change_is_seen_at_once_and_only_if_it_is_committed(db: Database) -> None:
    """The rules that are tried are cached, and never ahead of what is stored."""
    assert "cake" not in enabled(db)
    with pytest.raises(RuntimeError), db.batch() as batch:
        ruleset = rules.ruleset(batch, ALICE)
        ruleset.put("content", parse_rule("content", "cake", {"pattern": "cake", "actions": []}))
        rules.put(batch, ALICE, ruleset)
        assert ALICE in rules.users_with_own(batch)
        raise RuntimeError
    assert "cake" not in enabled(db)
    assert rules.users_with_own(db) == set()
    add(db, "cake")
    assert "cake" in enabled(db)
    assert "cake" not in enabled(db, BOB)


def test_rules_are_account_data_of_which_devices_hear(db: Database) -> None:
    """The whole ruleset, in the specification's form."""
    add(db, "cake")
    content = account_data.get(db, ALICE, "", "m.push_rules")
    assert content is not None
    assert [rule["rule_id"] for rule in content["global"]["content"]] == ["cake"]
    assert set(content["global"]) == {"override", "content", "room", "sender", "underride"}
    assert list(account_data.changes(db, ALICE, 0, db.current_count())) == [""]
    assert db.watch.last(("user", ALICE)) == db.current_count()


def test_changing_a_ruleset_changes_nothing_until_it_is_put(db: Database) -> None:
    """What `ruleset` returns is the caller's own."""
    add(db, "cake")
    before = enabled(db)
    ruleset = rules.ruleset(db, ALICE)
    ruleset.find("content", "cake")["enabled"] = False
    ruleset.rules["underride"].clear()
    assert enabled(db) == before
    assert rules.ruleset(db, ALICE).find("content", "cake")["enabled"] is True
