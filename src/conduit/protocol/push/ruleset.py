"""A user's rules: the predefined ones as the user has changed them, and the user's own, in the order in which they are tried.

The content of `m.push_rules` is the whole ruleset, as clients and Conduit's database have it. Reading it back (`Ruleset.from_content`)
keeps of predefined rules only what a user may change, switch and actions, so that a newer server's table takes effect.

Source: client-server API, "Push Rules", and its API for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from conduit.protocol.errors import BadJson, BadRequest, InvalidParam, NotFound
from conduit.protocol.glob import compile_glob
from conduit.protocol.push.conditions import Circumstances, holds
from conduit.protocol.push.default_rules import Rule, default_rules

KINDS = ("override", "content", "room", "sender", "underride")
MAX_RULES = 2000
MAX_CONDITIONS = 4000
"""Of all rules together. Each may be asked about each event in the user's rooms, while everybody waits."""
MAX_RULE_BYTES = 4096
"""Of a rule as JSON; one about a room or a word has some two hundred."""
MAX_RULE_ID_BYTES = 255


def parse_actions(value: Any) -> list[Any]:
    """Return `value` as actions: strings and `set_tweak` objects.

    The historical `dont_notify` and `coalesce` stay, so that a client that still sets them finds what it has set; nothing heeds them.
    """
    if not isinstance(value, list):
        raise BadJson("'actions' must be an array")
    for action in value:
        if isinstance(action, dict):
            if not isinstance(action.get("set_tweak"), str):
                raise BadJson("An action is a string or an object with 'set_tweak'")
        elif action not in ("notify", "dont_notify", "coalesce"):
            raise InvalidParam("Unknown action")
    _check_size(value)
    return value


def parse_rule(kind: str, rule_id: str, body: Mapping[str, Any]) -> Rule:
    """Return a user's own rule made from the body of a PUT; raises `InvalidParam` or `BadJson`."""
    if kind not in KINDS:
        raise InvalidParam("Unknown kind of push rule")
    if rule_id.startswith(".") or not rule_id or "/" in rule_id or "\\" in rule_id:
        raise InvalidParam("Rule IDs must not be empty, start with a dot or hold a slash")
    if len(rule_id.encode()) > MAX_RULE_ID_BYTES:
        raise InvalidParam("The rule ID is too long")
    rule: Rule = {"rule_id": rule_id, "default": False, "enabled": True, "actions": parse_actions(body.get("actions"))}
    if kind == "content":
        if not isinstance(body.get("pattern"), str):
            raise BadJson("'pattern' must be a string")
        rule["pattern"] = body["pattern"]
    elif kind in ("override", "underride"):
        conditions = body.get("conditions", [])
        if not isinstance(conditions, list) or not all(
            isinstance(condition, dict) and isinstance(condition.get("kind"), str) for condition in conditions
        ):
            raise BadJson("'conditions' must be an array of objects with 'kind'")
        rule["conditions"] = conditions
    _check_size(rule)
    return rule


def _check_size(value: Any) -> None:
    if len(orjson.dumps(value)) > MAX_RULE_BYTES:
        raise InvalidParam(f"A push rule may have at most {MAX_RULE_BYTES} bytes")


class Ruleset:
    """The rules of one user, changed by its methods and read by `evaluate`. Not shared: make one from the stored content."""

    def __init__(self, user_id: str) -> None:
        self.rules: dict[str, list[Rule]] = {kind: [dict(r) for r in rs] for kind, rs in default_rules(user_id).items()}

    @classmethod
    def from_content(cls, user_id: str, content: Mapping[str, Any] | None) -> Ruleset:
        """Return the ruleset that `content` (of `m.push_rules`, or `None`) holds; malformed rules are passed over."""
        ruleset = cls(user_id)
        stored = (content or {}).get("global")
        if not isinstance(stored, Mapping):
            return ruleset
        for kind in KINDS:
            own: list[Rule] = []
            for rule in stored.get(kind) or ():
                if not isinstance(rule, Mapping) or not isinstance(rule.get("rule_id"), str):
                    continue
                if rule["rule_id"].startswith("."):
                    ruleset._take_over(kind, rule)
                else:
                    own.append({**rule, "default": False})
            # The master rule comes before all others, the user's own before the predefined.
            first = 1 if kind == "override" else 0
            ruleset.rules[kind][first:first] = own
        return ruleset

    def _take_over(self, kind: str, stored: Mapping[str, Any]) -> None:
        for rule in self.rules[kind]:
            if rule["rule_id"] == stored["rule_id"]:
                if isinstance(stored.get("enabled"), bool):
                    rule["enabled"] = stored["enabled"]
                if isinstance(stored.get("actions"), list):
                    rule["actions"] = stored["actions"]

    def content(self) -> dict[str, Any]:
        """Return the content of `m.push_rules`."""
        return {"global": self.rules}

    def find(self, kind: str, rule_id: str) -> Rule:
        """Return the rule, or raise `NotFound` (`InvalidParam` for an unknown kind)."""
        for rule in self.of_kind(kind):
            if rule["rule_id"] == rule_id:
                return rule
        raise NotFound("No such push rule")

    def of_kind(self, kind: str) -> list[Rule]:
        """Return the rules of a kind, the first to match first, or raise `InvalidParam`."""
        if kind not in self.rules:
            raise InvalidParam("Unknown kind of push rule")
        return self.rules[kind]

    def put(self, kind: str, rule: Rule, *, before: str | None = None, after: str | None = None) -> None:
        """Add a rule of the user, or replace the one of that id.

        It goes before or after the named rule of the user, else first; a replaced rule keeps its place and its switch. Raises
        `BadRequest` or `InvalidParam` if the named rule is not one of the user's.
        """
        rules = self.rules[kind]
        former = next((index for index, other in enumerate(rules) if other["rule_id"] == rule["rule_id"]), None)
        if former is None and sum(map(len, self.rules.values())) >= MAX_RULES:
            raise InvalidParam("There are too many push rules")
        asked = sum(_conditions(other) for others in self.rules.values() for other in others)
        if asked + _conditions(rule) - (0 if former is None else _conditions(rules[former])) > MAX_CONDITIONS:
            raise InvalidParam("The push rules have too many conditions")
        if former is not None:
            rule = {**rule, "enabled": rules[former]["enabled"]}
        neighbour = before if before is not None else after
        if neighbour is not None:
            place = self._place(kind, neighbour) + (1 if before is None else 0)
        elif former is not None:
            rules[former] = rule
            return
        else:
            place = 1 if kind == "override" else 0
        if former is not None:
            del rules[former]
            place -= former < place
        rules.insert(place, rule)

    def _place(self, kind: str, rule_id: str) -> int:
        for index, rule in enumerate(self.rules[kind]):
            if rule["rule_id"] == rule_id:
                if rule["default"]:
                    raise InvalidParam("A rule cannot be placed relative to a server-default rule")
                return index
        # M_NOT_FOUND would say that the rule which is being put does not exist.
        raise BadRequest("The rule named by before or after does not exist")

    def remove(self, kind: str, rule_id: str) -> None:
        """Remove a rule of the user; predefined ones cannot be removed."""
        rule = self.find(kind, rule_id)
        if rule["default"]:
            raise InvalidParam("Server-default rules cannot be deleted")
        self.rules[kind].remove(rule)

    def enabled(self) -> Iterator[tuple[str, Rule]]:
        """Return (kind, rule) in the order in which rules are tried, those switched off left out."""
        for kind in KINDS:
            for rule in self.rules[kind]:
                if rule.get("enabled", True):
                    yield kind, rule


def _conditions(rule: Rule) -> int:
    conditions = rule.get("conditions")
    return len(conditions) if isinstance(conditions, list) else 0


def evaluate(rules: list[tuple[str, Rule]], event: Mapping[str, Any], circumstances: Circumstances) -> list[Any]:
    """Return the actions of the first rule that matches an event in its client form; no rule means no actions.

    `rules` is what `Ruleset.enabled` gives. The owner's own events are not to be asked about.
    """
    for kind, rule in rules:
        if _matches(kind, rule, event, circumstances):
            actions: list[Any] = rule.get("actions") or []
            return actions
    return []


def _matches(kind: str, rule: Rule, event: Mapping[str, Any], circumstances: Circumstances) -> bool:
    if kind == "room":
        return bool(event.get("room_id") == rule["rule_id"])
    if kind == "sender":
        return bool(event.get("sender") == rule["rule_id"])
    if kind == "content":
        body = event.get("content", {}).get("body")
        pattern = rule.get("pattern")
        return isinstance(body, str) and isinstance(pattern, str) and compile_glob(pattern, True).matches(body)
    return all(holds(condition, event, circumstances) for condition in rule.get("conditions") or ())


def tweaks(actions: list[Any]) -> tuple[bool, bool, dict[str, Any]]:
    """Return whether `actions` notify, whether they highlight, and all tweaks by name; `highlight` without value means `True`."""
    found: dict[str, Any] = {}
    for action in actions:
        if isinstance(action, Mapping):
            name = action.get("set_tweak")
            if isinstance(name, str):
                found[name] = action.get("value", True)
    notify = "notify" in actions
    return notify, notify and found.get("highlight", False) is True, found
