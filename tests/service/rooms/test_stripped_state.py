"""Stripped state: what it holds, and what of another server's is taken."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.service.rooms import stripped_state
from tests.support.rooms import ALICE, BOB, World


def test_stripped_state_of_a_room_has_the_listed_types_with_four_fields() -> None:
    """The create event leads; levels, members and the rest are left out."""
    world = World()
    room_id = world.create(ALICE)
    for event_type in ("m.room.encryption", "m.room.name", "m.room.avatar", "org.example"):
        world.set(room_id, ALICE, event_type, {"x": event_type})
    stripped = stripped_state.of_room(world.db, room_id)
    assert [event["type"] for event in stripped] == [
        "m.room.create",
        "m.room.name",
        "m.room.avatar",
        "m.room.join_rules",
        "m.room.encryption",
    ]
    assert all(set(event) == {"type", "state_key", "sender", "content"} for event in stripped)


def test_stripped_state_for_an_invite_ends_with_who_invites_and_the_invite() -> None:
    """The sender's membership stands before the member event; one's own knock has no sender beside."""
    world = World()
    room_id = world.create(ALICE, join_rule="knock")
    knock = world.member(room_id, BOB, BOB, "knock")
    assert [event["state_key"] for event in stripped_state.for_member(world.db, knock)][-2:] == ["", BOB]
    invite = world.member(room_id, ALICE, BOB, "invite")
    assert [event["state_key"] for event in stripped_state.for_member(world.db, invite)][-2:] == [ALICE, BOB]


GOOD = {"type": "m.room.name", "state_key": "", "sender": "@a:b", "content": {"name": "x"}}


@pytest.mark.parametrize("value", [None, 5, "x", {}, {"type": "a"}, [5, None, "x", [], {}]])
def test_prune_of_what_is_no_list_of_events_is_empty(value: object) -> None:
    """Any JSON is survived."""
    assert stripped_state.prune(value) == []


@pytest.mark.parametrize(
    "change",
    [
        {"type": 5},
        {"type": "t" * 256},
        {"state_key": None},
        {"state_key": "k" * 256},
        {"sender": "nobody"},
        {"sender": 5},
        {"content": []},
        {"content": "x"},
    ],
)
def test_prune_drops_malformed_events(change: dict[str, Any]) -> None:
    """Each field must be of its type and size."""
    assert stripped_state.prune([{**GOOD, **change}, GOOD]) == [GOOD]


def test_prune_reduces_to_the_four_fields() -> None:
    """Whole events of other servers are not passed through."""
    event = {**GOOD, "event_id": "$x", "unsigned": {"age": 5}, "signatures": {}, "room_id": "!x:y"}
    assert stripped_state.prune([event]) == [GOOD]


def test_prune_bounds_number_and_size() -> None:
    """A flood of events, or huge ones, is cut off."""
    assert len(stripped_state.prune([GOOD] * 1000)) == stripped_state.MAX_EVENTS
    huge = {**GOOD, "content": {"x": "y" * 100_000}}
    assert stripped_state.prune([GOOD, huge, GOOD]) == [GOOD]
