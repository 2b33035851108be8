from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings

from conduit.protocol.power_levels import (
    CREATOR_LEVEL,
    DEFAULTS,
    PowerLevels,
    creators_of,
    initial_content,
    read_level,
)
from conduit.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from tests.protocol.room import ALICE, BOB, CAROL, every_version
from tests.protocol.test_canonical_json import JSON


@dataclass(frozen=True)
class Sent:
    content: dict[str, Any]
    sender: str = ALICE


def _levels(version: RoomVersion | str, content: dict[str, Any] | None = None, **create: Any) -> PowerLevels:
    chosen = ROOM_VERSIONS[version] if isinstance(version, str) else version
    created = {"creator": ALICE, **create} if not chosen.creator_is_sender else create
    return PowerLevels(Sent(created), None if content is None else Sent(content), chosen)


@every_version()
def test_room_without_power_levels_has_the_defaults(version: RoomVersion) -> None:
    """The creator stands at 100, from version 12 on above all; everybody else at 0."""
    levels = _levels(version)
    assert levels.user(ALICE) == (CREATOR_LEVEL if version.creators_privileged else 100)
    assert levels.user(BOB) == 0
    assert (levels.for_message("m.room.message"), levels.for_state("m.room.name")) == (0, 50)
    assert (levels.invite, levels.kick, levels.ban, levels.redact, levels.notifications("room")) == (0, 50, 50, 50, 50)
    assert not levels.present


@every_version()
def test_silent_power_levels_leave_the_creator_with_nothing_until_12(version: RoomVersion) -> None:
    """Once the event exists, it alone counts; only from version 12 on the creator stands above it."""
    levels = _levels(version, {})
    assert levels.user(ALICE) == (CREATOR_LEVEL if version.creators_privileged else 0)
    assert levels.is_creator(ALICE) is version.creators_privileged
    assert not levels.is_creator(BOB)
    assert levels.present


@every_version()
def test_levels_are_read_from_the_event(version: RoomVersion) -> None:
    """Explicit entries before the defaults of the event."""
    levels = _levels(
        version,
        {
            "users": {BOB: 50},
            "users_default": 5,
            "events": {"m.room.name": 30, "m.reaction": 3},
            "events_default": 1,
            "state_default": 40,
            "invite": 10,
            "kick": 20,
            "ban": 21,
            "redact": 22,
            "notifications": {"room": 60},
        },
    )
    assert (levels.user(BOB), levels.user(CAROL)) == (50, 5)
    assert (levels.for_state("m.room.name"), levels.for_state("m.room.topic")) == (30, 40)
    assert (levels.for_message("m.reaction"), levels.for_message("m.room.message")) == (3, 1)
    assert (levels.invite, levels.kick, levels.ban, levels.redact) == (10, 20, 21, 22)
    assert (levels.notifications("room"), levels.notifications("other")) == (60, 50)


def test_additional_creators_stand_above_all_from_version_12_on() -> None:
    """In older versions the key means nothing."""
    assert _levels("12", {}, additional_creators=[BOB, 5]).user(BOB) == CREATOR_LEVEL
    assert _levels("11", {}, additional_creators=[BOB]).user(BOB) == 0
    assert creators_of(Sent({"additional_creators": "x"}), ROOM_VERSIONS["12"]) == {ALICE}


def test_creator_is_the_one_named_until_version_10() -> None:
    """From 11 on it is the sender, whatever the content says."""
    create = Sent({"creator": BOB})
    assert creators_of(create, ROOM_VERSIONS["10"]) == {BOB}
    assert creators_of(create, ROOM_VERSIONS["11"]) == {ALICE}
    assert creators_of(Sent({"creator": [BOB]}), ROOM_VERSIONS["10"]) == frozenset()


@pytest.mark.parametrize(
    ("value", "legacy", "today"),
    [
        (50, 50, 50),
        (-1, -1, -1),
        ("50", 50, None),
        (" 00100 ", 100, None),
        ("+100", 100, None),
        ("-100", -100, None),
        (" +100 ", 100, None),
        (50.57, 50, None),
        (-50.57, -50, None),
        (5.114698e4, 51146, None),
        ("50.5", None, None),
        ("1_0", None, None),
        ("٣", None, None),
        ("", None, None),
        ("+-1", None, None),
        ("1 0", None, None),
        ("9" * 5000, None, None),
        ("0" * 5000 + "7", 7, None),
        (True, None, None),
        (None, None, None),
        ([5], None, None),
        (float("inf"), None, None),
        (float("nan"), None, None),
    ],
)
def test_level_is_read_as_the_version_says(value: Any, legacy: int | None, today: int | None) -> None:
    """Strings and floats until version 9, as the deprecated schemas have it; integers only from 10 on."""
    assert read_level(value, ROOM_VERSIONS["5"]) == legacy
    assert read_level(value, ROOM_VERSIONS["10"]) == today


@every_version()
@settings(max_examples=30)
@given(content=JSON)
def test_levels_of_any_shape_are_read_as_absent(version: RoomVersion, content: Any) -> None:
    """Every level stays an integer, whatever has been let into a room."""
    hostile = dict.fromkeys((*DEFAULTS, "users", "events", "notifications"), content)
    levels = _levels(version, hostile)
    numbers = [
        levels.user(BOB),
        levels.for_state("x"),
        levels.for_message("x"),
        levels.invite,
        levels.notifications("x"),
    ]
    assert all(type(number) is int for number in numbers)
    assert all(type(number) is int for number in levels.listed_users().values())


def test_listed_users_are_those_with_a_level_of_their_own() -> None:
    """Creators of version 12 included."""
    levels = _levels("12", {"users": {BOB: 50, "nobody": 5, CAROL: "x"}})
    assert levels.listed_users() == {BOB: 50, ALICE: CREATOR_LEVEL}


@every_version()
def test_initial_content_fits_the_version(version: RoomVersion) -> None:
    """From version 12 on creators are not listed, and a tombstone needs more than an administrator."""
    content = initial_content(ALICE, version)
    assert content["users"] == ({} if version.creators_privileged else {ALICE: 100})
    assert (content["events"]["m.room.tombstone"] > 100) is version.creators_privileged
