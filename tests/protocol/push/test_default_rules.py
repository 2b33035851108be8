"""The table of predefined rules."""

from __future__ import annotations

from conduit.protocol.push.default_rules import default_rules


def test_default_rules_are_those_of_the_specification_in_its_order() -> None:
    """The ids by kind; nothing that the specification has removed is among them."""
    ids = {kind: [rule["rule_id"] for rule in rules] for kind, rules in default_rules("@a:x").items()}
    assert ids == {
        "override": [
            ".m.rule.master",
            ".m.rule.suppress_notices",
            ".m.rule.invite_for_me",
            ".m.rule.member_event",
            ".m.rule.is_user_mention",
            ".m.rule.is_room_mention",
            ".m.rule.tombstone",
            ".m.rule.reaction",
            ".m.rule.room.server_acl",
            ".m.rule.suppress_edits",
        ],
        "content": [],
        "room": [],
        "sender": [],
        "underride": [
            ".m.rule.call",
            ".m.rule.encrypted_room_one_to_one",
            ".m.rule.room_one_to_one",
            ".m.rule.message",
            ".m.rule.encrypted",
        ],
    }


def test_default_rules_name_their_user() -> None:
    """The rules about oneself hold the user's id."""
    rules = {rule["rule_id"]: rule for rule in default_rules("@a:x")["override"]}
    assert rules[".m.rule.invite_for_me"]["conditions"][2]["pattern"] == "@a:x"
    assert rules[".m.rule.is_user_mention"]["conditions"][0]["value"] == "@a:x"
    assert [rule["rule_id"] for rule in rules.values() if not rule["enabled"]] == [".m.rule.master"]
