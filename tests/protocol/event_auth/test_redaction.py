from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.event_auth.redaction import applies
from conduit.protocol.power_levels import PowerLevels
from conduit.protocol.room_versions import RoomVersion
from tests.protocol.room import ALICE, BOB, CAROL, Room, every_version


@pytest.fixture
def room(version: RoomVersion) -> Room:
    """A public room with Bob and Carol in it."""
    room = Room(version)
    room.join_rule("public")
    room.member(BOB, "join")
    room.member(CAROL, "join")
    return room


@every_version()
def test_redaction_is_judged_by_the_rules_in_versions_1_and_2_only(room: Room, version: RoomVersion) -> None:
    """Rules 11.1 to 11.3 there: by level, or by the server in the event's id; later everybody may send one."""
    assert room.allows(ALICE, "m.room.redaction", {}, None, redacts="$x:two")
    assert room.allows(BOB, "m.room.redaction", {}, None, redacts="$x:one")
    assert room.allows(CAROL, "m.room.redaction", {}, None, redacts="$x:two")
    assert room.allows(BOB, "m.room.redaction", {}, None, redacts="$x:two") is not version.redactions_authorised
    room.power({BOB: 10}, redact=10)
    assert room.allows(BOB, "m.room.redaction", {}, None, redacts="$x:two")


@every_version()
@pytest.mark.parametrize("redacts", [None, 5, [], "$x"])
def test_redaction_of_nothing_needs_the_level(room: Room, version: RoomVersion, redacts: Any) -> None:
    """Rule 11.3 of versions 1 and 2: no server is no server of one's own."""
    assert room.allows(BOB, "m.room.redaction", {}, None, redacts=redacts) is not version.redactions_authorised


@every_version()
def test_redaction_is_subject_to_its_event_level(room: Room) -> None:
    """Rule 8 holds for it as for every message."""
    room.power({BOB: 9}, events={"m.room.redaction": 10})
    assert not room.allows(BOB, "m.room.redaction", {}, None, redacts="$x:one")


@every_version()
def test_redaction_is_applied_by_the_same_server_or_with_the_level(room: Room, version: RoomVersion) -> None:
    """Handling redactions, from version 3 on: domain of the senders, or the redact level."""
    create = room.state["m.room.create", ""]

    def applied(sender: str, target_sender: str, levels: PowerLevels, **changes: Any) -> bool:
        target = room.event(target_sender, "m.room.message", {}, None, **changes)
        named = {"redacts": target.event_id}
        return applies(room.event(sender, "m.room.redaction", named, None, **named), target, levels)

    levels = PowerLevels(create, None, version)
    assert applied(ALICE, CAROL, levels)
    assert applied(BOB, ALICE, levels)
    assert applied(BOB, CAROL, levels) is version.redactions_authorised
    for level in (9, 10):
        lowered = room.event(ALICE, "m.room.power_levels", {"users": {BOB: level}, "redact": 10})
        allowed = applied(BOB, CAROL, PowerLevels(create, lowered, version))
        assert allowed is (level == 10 or version.redactions_authorised)
    other = "!" + "x" * 43 if version.room_id_is_create_hash else "!other:one"
    assert not applied(ALICE, CAROL, levels, room_id=other)


@every_version()
def test_redaction_is_applied_to_its_target_only(room: Room, version: RoomVersion) -> None:
    """Not to another event, and not without one."""
    levels = PowerLevels(room.state["m.room.create", ""], None, version)
    target = room.event(ALICE, "m.room.message", {}, None)
    redaction = room.event(ALICE, "m.room.redaction", {"redacts": "$x:one"}, None, redacts="$x:one")
    assert not applies(redaction, target, levels)
    assert not applies(room.event(ALICE, "m.room.redaction", {}, None), target, levels)
