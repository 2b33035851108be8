"""The conditions of push rules, each a function of the event and its circumstances.

An unknown condition, or one with parameters of the wrong type, never matches. Source: client-server API, "Conditions".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from conduit.protocol.glob import compile_glob

Condition = Mapping[str, Any]
_ABSENT = object()
_COUNT = re.compile(r"(==|<=|>=|<|>)?([0-9]{1,16})", re.ASCII)
_MAX_PATH = 32


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a rule may ask besides the event: the room's joined members, the owner's name there, the sender's power.

    `may_notify(key)` tells whether the sender has the power level that `notifications.<key>` asks for.
    """

    member_count: int
    display_name: str | None
    may_notify: Callable[[str], bool]


def split_path(path: str) -> list[str]:
    r"""Return the names in a dot-separated path; `\.` is a dot within a name and `\\` a backslash."""
    names = [""]
    escaped = False
    for character in path:
        if escaped:
            names[-1] += character if character in ".\\" else "\\" + character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ".":
            names.append("")
        else:
            names[-1] += character
    if escaped:
        names[-1] += "\\"
    return names


def _find(event: Mapping[str, Any], path: Any) -> Any:
    if not isinstance(path, str):
        return _ABSENT
    value: Any = event
    names = split_path(path)
    if len(names) > _MAX_PATH:
        return _ABSENT
    for name in names:
        if not isinstance(value, Mapping) or name not in value:
            return _ABSENT
        value = value[name]
    return value


def _is_simple(value: Any) -> bool:
    return value is None or isinstance(value, str | bool | int)


def _same(left: Any, right: Any) -> bool:
    # In Python 1 == True; in JSON they differ.
    return _is_simple(left) and type(left) is type(right) and left == right


def _event_match(condition: Condition, event: Mapping[str, Any], _: Circumstances) -> bool:
    value, pattern = _find(event, condition.get("key")), condition.get("pattern")
    if not isinstance(value, str) or not isinstance(pattern, str):
        return False
    return compile_glob(pattern, condition["key"] == "content.body").matches(value)


def _event_property_is(condition: Condition, event: Mapping[str, Any], _: Circumstances) -> bool:
    return _same(_find(event, condition.get("key")), condition.get("value"))


def _event_property_contains(condition: Condition, event: Mapping[str, Any], _: Circumstances) -> bool:
    values = _find(event, condition.get("key"))
    return isinstance(values, list) and any(_same(value, condition.get("value")) for value in values)


def _contains_display_name(_: Condition, event: Mapping[str, Any], circumstances: Circumstances) -> bool:
    name = circumstances.display_name
    body = _find(event, "content.body")
    if not name or not isinstance(body, str):
        return False
    # The name is text, not a pattern.
    found = re.search(f"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", body, re.IGNORECASE)
    return found is not None


def _room_member_count(condition: Condition, _: Mapping[str, Any], circumstances: Circumstances) -> bool:
    wanted = condition.get("is")
    match = _COUNT.fullmatch(wanted) if isinstance(wanted, str) else None
    if match is None:
        return False
    count, number = circumstances.member_count, int(match[2])
    return {
        "==": count == number,
        "<": count < number,
        ">": count > number,
        "<=": count <= number,
        ">=": count >= number,
    }[match[1] or "=="]


def _sender_notification_permission(condition: Condition, _: Mapping[str, Any], circumstances: Circumstances) -> bool:
    key = condition.get("key")
    return isinstance(key, str) and circumstances.may_notify(key)


_KINDS: dict[str, Callable[[Condition, Mapping[str, Any], Circumstances], bool]] = {
    "event_match": _event_match,
    "event_property_is": _event_property_is,
    "event_property_contains": _event_property_contains,
    "contains_display_name": _contains_display_name,
    "room_member_count": _room_member_count,
    "sender_notification_permission": _sender_notification_permission,
}


def holds(condition: Any, event: Mapping[str, Any], circumstances: Circumstances) -> bool:
    """Tell whether a condition holds for an event in its client form."""
    if not isinstance(condition, Mapping):
        return False
    check = _KINDS.get(condition.get("kind", ""))
    return check is not None and check(condition, event, circumstances)
