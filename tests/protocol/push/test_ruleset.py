"""Rulesets: changing them, storing them, evaluating them."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import BadRequest, InvalidParam, MatrixError, NotFound
from conduit.protocol.push.conditions import Circumstances
from conduit.protocol.push.ruleset import (
    MAX_CONDITIONS,
    MAX_RULE_BYTES,
    Ruleset,
    evaluate,
    parse_actions,
    parse_rule,
    tweaks,
)

ME = "@me:x"
CIRCUMSTANCES = Circumstances(member_count=3, display_name="Me", may_notify=lambda key: False)


def message(**content: Any) -> dict[str, Any]:
    """Return a message of somebody else."""
    body = {"msgtype": "m.text", "body": "hi", **content}
    return {"type": "m.room.message", "sender": "@you:x", "room_id": "!r:x", "content": body}


def actions(ruleset: Ruleset, event: dict[str, Any]) -> list[Any]:
    """Return what the rules say of an event."""
    return evaluate(list(ruleset.enabled()), event, CIRCUMSTANCES)


@pytest.mark.parametrize(
    ("event", "notify", "highlight"),
    [
        (message(), True, False),
        (message(msgtype="m.notice"), False, False),
        (message(**{"m.mentions": {"user_ids": [ME]}}), True, True),
        (message(**{"m.mentions": {"user_ids": [ME]}, "m.relates_to": {"rel_type": "m.replace"}}), True, True),
        (message(**{"m.relates_to": {"rel_type": "m.replace"}}), False, False),
        (message(**{"m.mentions": {"room": True}}), True, False),
        ({**message(), "type": "m.reaction"}, False, False),
        ({**message(), "type": "m.room.topic", "state_key": ""}, False, False),
        ({**message(), "type": "m.room.tombstone", "state_key": ""}, True, True),
        ({**message(), "type": "m.room.tombstone"}, False, False),
        ({**message(membership="invite"), "type": "m.room.member", "state_key": ME}, True, False),
        ({**message(membership="invite"), "type": "m.room.member", "state_key": "@you:x"}, False, False),
    ],
)
def test_predefined_rules_judge_an_event(event: dict[str, Any], notify: bool, highlight: bool) -> None:
    """The predefined rules in their order of priority."""
    assert tweaks(actions(Ruleset(ME), event))[:2] == (notify, highlight)


def test_own_rules_go_before_predefined_ones_and_master_before_all() -> None:
    """A room rule silences a room; with the master rule on nothing notifies."""
    ruleset = Ruleset(ME)
    ruleset.put("room", parse_rule("room", "!r:x", {"actions": []}))
    assert actions(ruleset, message()) == []
    mention = message(**{"m.mentions": {"user_ids": [ME]}})
    assert "notify" in actions(ruleset, mention)
    ruleset.find("override", ".m.rule.master")["enabled"] = True
    assert actions(ruleset, mention) == []


@pytest.mark.parametrize("historical", ["dont_notify", "coalesce"])
def test_historical_actions_are_ignored(historical: str) -> None:
    """A rule with one of them alone is as one without actions; beside others it changes nothing."""
    ruleset = Ruleset(ME)
    ruleset.put("room", parse_rule("room", "!r:x", {"actions": [historical]}))
    assert tweaks(actions(ruleset, message())) == (False, False, {})
    ruleset.put("room", parse_rule("room", "!r:x", {"actions": [historical, "notify"]}))
    assert tweaks(actions(ruleset, message())) == (True, False, {})


def test_kinds_are_tried_in_order() -> None:
    """Override, content, room, sender, underride."""
    ruleset = Ruleset(ME)
    ruleset.put("sender", parse_rule("sender", "@you:x", {"actions": ["notify", {"set_tweak": "sound", "value": "s"}]}))
    assert tweaks(actions(ruleset, message()))[2]["sound"] == "s"
    cake = {"pattern": "cake", "actions": ["notify", {"set_tweak": "sound", "value": "c"}]}
    ruleset.put("content", parse_rule("content", "cake", cake))
    assert tweaks(actions(ruleset, message(body="more cake")))[2]["sound"] == "c"
    assert tweaks(actions(ruleset, message(body="pancake")))[2]["sound"] == "s"


def test_stored_content_reads_back_as_it_was() -> None:
    """Own rules and their order, switches and actions of predefined rules survive; unknown predefined ones do not."""
    ruleset = Ruleset(ME)
    for name in ("a", "b"):
        ruleset.put("override", parse_rule("override", name, {"actions": ["notify"], "conditions": []}))
    ruleset.find("underride", ".m.rule.message")["enabled"] = False
    content = ruleset.content()
    content["global"]["content"] = [{"rule_id": ".m.rule.contains_user_name", "default": True, "actions": []}]
    back = Ruleset.from_content(ME, content)
    assert [rule["rule_id"] for rule in back.rules["override"]][:3] == [".m.rule.master", "b", "a"]
    assert back.find("underride", ".m.rule.message")["enabled"] is False
    assert back.rules["content"] == []


@pytest.mark.parametrize(
    "content", [None, {}, {"global": 3}, {"global": {"override": [3, {"rule_id": 4}], "room": None}}]
)
def test_malformed_content_gives_the_predefined_rules(content: Any) -> None:
    """Whatever is stored, there are rules."""
    assert Ruleset.from_content(ME, content).rules == Ruleset(ME).rules


def test_put_places_rules_relative_to_others() -> None:
    """First by default, before or after a named one, and a replaced rule keeps its place and switch."""

    def order() -> list[str]:
        return [rule["rule_id"] for rule in ruleset.rules["sender"]]

    ruleset = Ruleset(ME)
    rule = {name: parse_rule("sender", name, {"actions": []}) for name in ("a", "b", "c")}
    ruleset.put("sender", rule["a"])
    ruleset.put("sender", rule["b"])
    assert order() == ["b", "a"]
    ruleset.put("sender", rule["c"], after="b")
    assert order() == ["b", "c", "a"]
    ruleset.put("sender", rule["a"], before="b")
    assert order() == ["a", "b", "c"]
    ruleset.find("sender", "b")["enabled"] = False
    ruleset.put("sender", parse_rule("sender", "b", {"actions": ["notify"]}))
    assert order() == ["a", "b", "c"]
    assert ruleset.find("sender", "b") | {"actions": []} == {**rule["b"], "enabled": False}
    with pytest.raises(BadRequest):
        ruleset.put("sender", rule["c"], before="unknown")
    with pytest.raises(InvalidParam):
        ruleset.put("underride", {**rule["c"], "conditions": []}, after=".m.rule.message")


@pytest.mark.parametrize(
    ("kind", "rule_id", "body"),
    [
        ("nonsense", "a", {"actions": []}),
        ("sender", ".m.rule.mine", {"actions": []}),
        ("sender", "", {"actions": []}),
        ("sender", "a/b", {"actions": []}),
        ("sender", "a" * 300, {"actions": []}),
        ("sender", "a", {}),
        ("sender", "a", {"actions": "notify"}),
        ("sender", "a", {"actions": ["explode"]}),
        ("sender", "a", {"actions": [{"value": 1}]}),
        ("content", "a", {"actions": []}),
        ("override", "a", {"actions": [], "conditions": {}}),
        ("override", "a", {"actions": [], "conditions": [{"key": "type"}]}),
    ],
)
def test_malformed_rule_is_refused(kind: str, rule_id: str, body: dict[str, Any]) -> None:
    """Wrong kinds, names, actions and conditions."""
    with pytest.raises(MatrixError):
        parse_rule(kind, rule_id, body)


def test_predefined_rules_cannot_be_removed() -> None:
    """Own ones can."""
    ruleset = Ruleset(ME)
    ruleset.put("sender", parse_rule("sender", "a", {"actions": []}))
    ruleset.remove("sender", "a")
    with pytest.raises(InvalidParam):
        ruleset.remove("override", ".m.rule.master")
    with pytest.raises(NotFound):
        ruleset.remove("sender", "a")


def test_a_rule_has_a_bearable_size() -> None:
    """Each event in the user's rooms is compared with it."""
    condition = {"kind": "room_member_count", "is": ">0"}
    for kind, body in (
        ("override", {"actions": [], "conditions": [condition] * MAX_RULE_BYTES}),
        ("content", {"actions": [], "pattern": "?" * MAX_RULE_BYTES}),
        ("room", {"actions": ["notify"] * MAX_RULE_BYTES}),
    ):
        with pytest.raises(InvalidParam):
            parse_rule(kind, "a", body)
    with pytest.raises(InvalidParam):
        parse_actions(["notify"] * MAX_RULE_BYTES)


def test_all_rules_together_ask_a_bearable_number_of_questions() -> None:
    """A rule that replaces another counts once, and what is refused changes nothing."""
    conditions = [{"kind": "room_member_count", "is": ">0"}] * 50
    ruleset = Ruleset("@alice:localhost")
    taken = 0
    with pytest.raises(InvalidParam):
        for number in range(MAX_CONDITIONS):
            ruleset.put("override", parse_rule("override", str(number), {"actions": [], "conditions": conditions}))
            taken += 1
    assert MAX_CONDITIONS // 2 < taken * 50 <= MAX_CONDITIONS
    ruleset.put("override", parse_rule("override", "0", {"actions": ["notify"], "conditions": conditions}))
    with pytest.raises(NotFound):
        ruleset.find("override", str(taken))
