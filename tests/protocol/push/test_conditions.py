"""The conditions of push rules, with the specification's examples."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.push.conditions import Circumstances, holds, split_path

EVENT: dict[str, Any] = {
    "type": "m.room.message",
    "sender": "@example:example.org",
    "content": {
        "body": "Hello Alice",
        "m.federate": True,
        "n": 1,
        "nothing": None,
        "alt_aliases": ["#a:x", "#b:x", {"c": 1}, True],
        "deep": {"a.b": {"c\\d": "x"}},
    },
}


def circumstances(count: int = 3, name: str | None = "Alice", power: bool = True) -> Circumstances:
    """Return circumstances with these facts."""
    return Circumstances(member_count=count, display_name=name, may_notify=lambda key: power and key == "room")


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("content.body", ["content", "body"]),
        (r"content.m\.relates_to.rel_type", ["content", "m.relates_to", "rel_type"]),
        (r"a\\b.c", ["a\\b", "c"]),
        (r"a\b", ["a\\b"]),
        ("", [""]),
        ("a..b", ["a", "", "b"]),
        ("a\\", ["a\\"]),
    ],
)
def test_split_path_follows_escapes(path: str, names: list[str]) -> None:
    """Dots separate, escaped dots and backslashes do not."""
    assert split_path(path) == names


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"kind": "event_match", "key": "type", "pattern": "m.room.*"}, True),
        ({"kind": "event_match", "key": "content.body", "pattern": "alice"}, True),
        ({"kind": "event_match", "key": "content.body", "pattern": "ali"}, False),
        ({"kind": "event_match", "key": "content.n", "pattern": "*"}, False),
        ({"kind": "event_match", "key": "content.absent", "pattern": "*"}, False),
        ({"kind": "event_match", "key": 3, "pattern": "*"}, False),
        ({"kind": "event_match", "key": "type"}, False),
        ({"kind": "event_property_is", "key": r"content.m\.federate", "value": True}, True),
        ({"kind": "event_property_is", "key": r"content.m\.federate", "value": 1}, False),
        ({"kind": "event_property_is", "key": r"content.m\.federate", "value": "true"}, False),
        ({"kind": "event_property_is", "key": "content.n", "value": True}, False),
        ({"kind": "event_property_is", "key": "content.nothing", "value": None}, True),
        ({"kind": "event_property_is", "key": "content.absent", "value": None}, False),
        ({"kind": "event_property_is", "key": r"content.deep.a\.b.c\\d", "value": "x"}, True),
        ({"kind": "event_property_contains", "key": "content.alt_aliases", "value": "#b:x"}, True),
        ({"kind": "event_property_contains", "key": "content.alt_aliases", "value": ":x"}, False),
        ({"kind": "event_property_contains", "key": "content.alt_aliases", "value": 1}, False),
        ({"kind": "event_property_contains", "key": "content.body", "value": "Hello"}, False),
        ({"kind": "contains_display_name"}, True),
        ({"kind": "room_member_count", "is": "3"}, True),
        ({"kind": "room_member_count", "is": "<=3"}, True),
        ({"kind": "room_member_count", "is": ">3"}, False),
        ({"kind": "room_member_count", "is": "3 "}, False),
        ({"kind": "room_member_count", "is": 3}, False),
        ({"kind": "sender_notification_permission", "key": "room"}, True),
        ({"kind": "sender_notification_permission"}, False),
        ({"kind": "org.example.unknown"}, False),
        ({}, False),
        ("nonsense", False),
    ],
)
def test_condition_holds(condition: Any, expected: bool) -> None:
    """Each kind on matching, differing and malformed parameters; what is unknown never holds."""
    assert holds(condition, EVENT, circumstances()) is expected


def test_display_name_is_text_and_not_a_pattern() -> None:
    """A name full of special characters matches itself only."""
    event = {"content": {"body": "hi (a+)+$ there"}}
    assert holds({"kind": "contains_display_name"}, event, circumstances(name="(a+)+$"))
    assert not holds({"kind": "contains_display_name"}, event, circumstances(name="a*"))
    assert not holds({"kind": "contains_display_name"}, event, circumstances(name=None))
