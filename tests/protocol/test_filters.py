"""Tests of filters."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.protocol.errors import BadJson
from conduit.protocol.filters import (
    EVERYTHING,
    MAX_LIMIT,
    EventFilter,
    parse_filter,
    parse_room_event_filter,
    select_fields,
)

ALICE, BOB = "@alice:localhost", "@bob:localhost"


def passes(part: dict[str, Any], event_type: str = "m.room.message", sender: str = ALICE, url: bool = False) -> bool:
    """Tell whether an event passes a room event filter."""
    return parse_room_event_filter(part).passes_event(event_type, sender, url)


def test_empty_filter_lets_everything_pass() -> None:
    """Without lists nothing is shut out, and the filter knows that."""
    parsed = parse_filter({})
    assert parsed == EVERYTHING
    assert parsed.room.timeline.everything
    assert passes({})


def test_types_with_wildcards_match_any_run() -> None:
    """A star stands for any run of characters and nothing else is special."""
    assert passes({"types": ["m.room.*"]})
    assert passes({"types": ["*.message"]})
    assert passes({"types": ["m.*.message", "x"]})
    assert not passes({"types": ["m.room.messag?"]})
    assert passes({"types": ["a?b"]}, "a?b")
    assert not passes({"types": ["M.ROOM.*"]})
    assert not passes({"types": ["m.room.*"], "not_types": ["m.room.mess*"]})


def test_empty_list_lets_nothing_pass() -> None:
    """An empty list is not an absent one."""
    assert not passes({"types": []})
    assert not passes({"senders": []})
    assert passes({"not_types": [], "not_senders": []})
    assert parse_room_event_filter({"types": []}).passes_nothing
    assert parse_room_event_filter({"limit": 0}).passes_nothing
    assert not EventFilter().passes_nothing


def test_senders_and_urls() -> None:
    """Exclusion wins over inclusion; contains_url asks for either kind."""
    assert passes({"senders": [ALICE]})
    assert not passes({"senders": [BOB]})
    assert not passes({"senders": [ALICE], "not_senders": [ALICE]})
    assert passes({"contains_url": True}, url=True)
    assert not passes({"contains_url": True})
    assert not passes({"contains_url": False}, url=True)


def test_rooms_are_asked_about_apart() -> None:
    """Rooms may be included and excluded, for all and for a part."""
    parsed = parse_filter({"room": {"rooms": ["!a:x"], "timeline": {"not_rooms": ["!a:x"]}}})
    assert parsed.room.passes_room("!a:x")
    assert not parsed.room.passes_room("!b:x")
    assert not parsed.room.timeline.passes_room("!a:x")


def test_enormous_limit_is_clamped() -> None:
    """No limit exceeds ours."""
    assert parse_room_event_filter({"limit": 2**60}).limit == MAX_LIMIT


@pytest.mark.parametrize(
    "bad",
    [
        [],
        {"room": "x"},
        {"room": {"include_leave": 1}},
        {"room": {"timeline": {"limit": 1.5}}},
        {"room": {"timeline": {"types": [1]}}},
        {"room": {"timeline": {"contains_url": "yes"}}},
        {"room": {"not_rooms": ["@user:x"]}},
        {"presence": {"not_senders": "all"}},
        {"event_format": 1},
        {"event_fields": "content"},
    ],
)
def test_wrong_types_are_refused(bad: Any) -> None:
    """Every field has its type."""
    with pytest.raises(BadJson):
        parse_filter(bad)


def test_fields_are_selected_by_paths() -> None:
    """Dots separate keys, a backslash lets a dot stand for itself, and what is not there is not made up."""
    event = {"type": "t", "content": {"body": "b", "m.new": {"x": 1}, "other": 2}, "sender": ALICE}
    fields = ["type", "content.body", "content.m\\.new.x", "content.missing", "unsigned.age", "type.deeper"]
    paths = parse_filter({"event_fields": fields}).event_fields
    assert paths is not None
    assert select_fields(event, paths) == {"type": "t", "content": {"body": "b", "m.new": {"x": 1}}}
    whole = parse_filter({"event_fields": ["content", "content.body"]}).event_fields
    assert whole is not None
    assert select_fields(event, whole) == {"content": event["content"]}
    assert event["content"] == {"body": "b", "m.new": {"x": 1}, "other": 2}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["room", "timeline", "types", "limit", "x"]), inner)
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_parses_or_is_refused(value: Any) -> None:
    """Whatever comes, the answer is a filter or BadJson."""
    with suppress(BadJson):
        parse_filter(value)
