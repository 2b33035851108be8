from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from conduit.protocol.ids import EventId
from conduit.protocol.relations import Relation, is_valid_edit, mentions, relation_of, reply_to, thread_root
from tests.protocol.room import ALICE, BOB, Room
from tests.protocol.test_canonical_json import JSON


def _related(rel_type: Any = "m.annotation", event_id: Any = "$a", **more: Any) -> dict[str, Any]:
    return {"m.relates_to": {"rel_type": rel_type, "event_id": event_id, **more}}


def test_relation_is_read_with_its_key() -> None:
    """Type, parent, and for annotations the key."""
    assert relation_of(_related(key="👍")) == Relation("m.annotation", EventId("$a"), "👍")
    assert relation_of(_related("org.example.x")) == Relation("org.example.x", EventId("$a"), None)
    assert relation_of(_related(key=5)) == Relation("m.annotation", EventId("$a"), None)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"m.relates_to": None},
        {"m.relates_to": []},
        _related(rel_type=5),
        _related(rel_type=""),
        _related(rel_type="ä" * 128),
        _related(event_id=["$a"]),
        _related(event_id="$" + "a" * 255),
        {"m.relates_to": {"rel_type": "m.thread"}},
    ],
)
def test_what_breaks_the_schema_is_no_relation(content: dict[str, Any]) -> None:
    """It is ignored, not refused; and nothing too long becomes part of a key."""
    assert relation_of(content) is None


def test_reply_and_thread_are_apart() -> None:
    """A fallback reply inside a thread names both."""
    content = _related("m.thread", "$root", **{"m.in_reply_to": {"event_id": "$last"}, "is_falling_back": True})
    assert (thread_root(content), reply_to(content)) == ("$root", "$last")
    bare = {"m.relates_to": {"m.in_reply_to": {"event_id": "$last"}}}
    assert (relation_of(bare), thread_root(bare), reply_to(bare)) == (None, None, "$last")
    assert thread_root(_related()) is None


def test_mentions_are_users_and_the_room() -> None:
    """Absence differs from naming nobody, which switches the old rules off."""
    assert mentions({}) is None
    assert mentions({"m.mentions": {}}) == (frozenset(), False)
    assert mentions({"m.mentions": {"user_ids": [ALICE, 5, ALICE], "room": True}}) == (frozenset({ALICE}), True)
    assert mentions({"m.mentions": {"user_ids": "x", "room": "true"}}) == (frozenset(), False)


@given(JSON)
def test_content_of_any_shape_is_read(value: Any) -> None:
    """Nothing is raised."""
    for content in (
        {"m.relates_to": value, "m.mentions": value},
        {"m.relates_to": {"m.in_reply_to": value, "rel_type": value}},
    ):
        relation_of(content)
        reply_to(content)
        thread_root(content)
        mentions(content)


def test_edit_replaces_only_what_it_may() -> None:
    """Same room, sender and type, no state, no edit of an edit, and new content."""
    room = Room("11")
    original = room.event(ALICE, "m.room.message", {"body": "x"}, None)

    def edit(
        sender: str = ALICE, event_type: str = "m.room.message", state_key: str | None = None, **changes: Any
    ) -> bool:
        content = {**_related("m.replace", original.event_id), "m.new_content": {"body": "y"}, **changes}
        return is_valid_edit(original, room.event(sender, event_type, content, state_key))

    assert edit()
    assert not edit(sender=BOB)
    assert not edit(event_type="m.sticker")
    assert not edit(state_key="")
    assert not edit(**{"m.new_content": "y"})
    assert not edit(**_related("m.replace", "$other"))
    assert not edit(**_related("m.annotation", original.event_id))
    assert not is_valid_edit(original, Room("11", topic="another").event(ALICE, "m.room.message", {}, None))
    first = room.event(ALICE, "m.room.message", {**_related("m.replace", "$x"), "m.new_content": {}}, None)
    second = room.event(ALICE, "m.room.message", {**_related("m.replace", first.event_id), "m.new_content": {}}, None)
    assert not is_valid_edit(first, second)


def test_encrypted_edit_is_believed_to_have_new_content() -> None:
    """It lies in the ciphertext."""
    room = Room("11")
    original = room.event(ALICE, "m.room.encrypted", {"ciphertext": "x"}, None)
    edit = room.event(ALICE, "m.room.encrypted", {**_related("m.replace", original.event_id), "ciphertext": "y"}, None)
    assert is_valid_edit(original, edit)
