from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.room_versions import RoomVersion
from tests.protocol.room import ALICE, BOB, CAROL, DAVE, Room, every_version

NAMED = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")


@pytest.fixture
def room(version: RoomVersion) -> Room:
    """A room in which Bob, at 50, may set power levels, and Carol stands as high as he."""
    room = Room(version)
    room.join_rule("public")
    room.member(BOB, "join")
    return room


def _users(room: Room, **more: int) -> dict[str, int]:
    listed = {BOB: 50, CAROL: 50, DAVE: 10}
    listed.update({f"@{name}:one": level for name, level in more.items()})
    return listed if room.version.creators_privileged else {ALICE: 100, **listed}


def _set(room: Room, users: dict[str, Any] | None = None, **levels: Any) -> None:
    content = {"users": _users(room) if users is None else users, "events": {"m.room.power_levels": 50}, **levels}
    room.add(ALICE, "m.room.power_levels", content)


def _bob_may(room: Room, **levels: Any) -> bool:
    """Tell whether Bob may set the present levels with these changes; None takes a level out."""
    content = {**room.state["m.room.power_levels", ""].content, **levels}
    return room.allows(BOB, "m.room.power_levels", {k: v for k, v in content.items() if v is not None})


# 10.1 to 10.3: shapes


@every_version()
@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("value", [None, True, [], {}, "fifty", "5 0", ""])
def test_named_level_that_is_no_level_is_rejected(room: Room, name: str, value: Any) -> None:
    """Rule 10.1; before version 10 because it cannot be compared."""
    assert not room.allows(ALICE, "m.room.power_levels", {name: value})


@every_version()
@pytest.mark.parametrize("name", [*NAMED, "users", "events", "notifications"])
def test_level_as_text_is_rejected_from_version_10_on(room: Room, version: RoomVersion, name: str) -> None:
    """Rules 10.1 to 10.3; before, it is read as the number."""
    value: Any = " 05 " if name in NAMED else {BOB: " 05 "}
    assert room.allows(ALICE, "m.room.power_levels", {name: value}) is not version.integer_power_levels


@every_version(strict_canonical_json=False)
def test_level_as_float_is_cut_off_until_version_5(room: Room) -> None:
    """Later versions have no floats in events at all."""
    _set(room, {**_users(room), CAROL: 50.57})
    assert room.state["m.room.power_levels", ""].content["users"][CAROL] == 50.57
    assert not _bob_may(room, users=_users(room, new=51))
    assert _bob_may(room, users={**_users(room), CAROL: 50})


@every_version()
@pytest.mark.parametrize("value", [None, 5, "x", [], [[BOB, 5]], {BOB: None}, {BOB: {}}, {BOB: True}, {BOB: "x"}])
def test_map_of_levels_that_is_none_is_rejected(room: Room, version: RoomVersion, value: Any) -> None:
    """Rules 10.2 and 10.3; notifications is nobody's business before version 6."""
    assert not room.allows(ALICE, "m.room.power_levels", {"users": value})
    assert not room.allows(ALICE, "m.room.power_levels", {"events": value})
    allowed = room.allows(ALICE, "m.room.power_levels", {"notifications": value})
    assert allowed is not version.notification_levels_guarded


@every_version()
@pytest.mark.parametrize("user", ["bob", "", "@bob", "@" + "x" * 255 + ":one"])
def test_users_that_are_no_user_ids_are_rejected(room: Room, user: str) -> None:
    """Rule 10.3."""
    assert not room.allows(ALICE, "m.room.power_levels", {"users": {user: 0}})


# 10.4 creators


@every_version()
@pytest.mark.parametrize("level", [0, 100])
def test_creator_is_not_listed_from_version_12_on(version: RoomVersion, level: int) -> None:
    """Rule 10.4: the sender of m.room.create, and the additional creators."""
    room = Room(version, additional_creators=[BOB])
    for user in (ALICE, BOB):
        allowed = room.allows(ALICE, "m.room.power_levels", {"users": {user: level}})
        assert allowed is not version.creators_privileged


# 10.5


@every_version()
def test_first_power_levels_may_be_anything(version: RoomVersion) -> None:
    """Rule 10.5: above the sender's own level, and without them."""
    room = Room(version)
    assert room.allows(ALICE, "m.room.power_levels", {"users": {BOB: 1000}, "ban": 2000, "events": {"x": 3000}})


@every_version()
def test_first_power_levels_need_the_level_for_state(version: RoomVersion) -> None:
    """Rule 8 comes first: a member at 0 does not take an unguarded room."""
    room = Room(version)
    room.join_rule("public")
    room.member(BOB, "join")
    assert not room.allows(BOB, "m.room.power_levels", {"users": {BOB: 100}})


# 10.6 named levels


@every_version()
@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        (10, 50, True),
        (50, 10, True),
        (50, None, True),
        (None, 50, True),
        (10, 51, False),
        (None, 51, False),
        (51, 10, False),
        (51, None, False),
        (51, 51, True),
    ],
)
def test_named_level_is_changed_within_the_own_level(
    room: Room, name: str, old: int | None, new: int | None, allowed: bool
) -> None:
    """Rules 10.6.1 and 10.6.2: added, changed or removed; what stays as it is may be higher."""
    guards = {"state_default": 50, "users_default": 0}
    levels: dict[str, Any] = (
        {**guards, name: old} if old is not None else {k: v for k, v in guards.items() if k != name}
    )
    _set(room, **levels)
    assert _bob_may(room, **{name: new}) is allowed


# 10.7 and 10.8 events and notifications


@every_version()
@pytest.mark.parametrize("name", ["events", "notifications"])
@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        (10, 50, True),
        (50, None, True),
        (None, 50, True),
        (10, 51, False),
        (None, 51, False),
        (51, 10, False),
        (51, None, False),
        (51, 51, True),
    ],
)
def test_entry_of_a_map_is_changed_within_the_own_level(
    room: Room, version: RoomVersion, name: str, old: int | None, new: int | None, allowed: bool
) -> None:
    """Rules 10.7.1 and 10.8.1; notifications from version 6 on."""
    base = {"m.room.power_levels": 50} if name == "events" else {}
    _set(room, **{name: base if old is None else {**base, "x": old}})
    unguarded = name == "notifications" and not version.notification_levels_guarded
    assert _bob_may(room, **{name: base if new is None else {**base, "x": new}}) is (allowed or unguarded)


# 10.9 and 10.10 users


@every_version()
@pytest.mark.parametrize(
    ("user", "new", "allowed"),
    [
        (DAVE, 50, True),
        (DAVE, 0, True),
        (DAVE, None, True),
        (DAVE, 51, False),
        (CAROL, 10, False),
        (CAROL, None, False),
        (CAROL, 51, False),
        (CAROL, 50, True),
        (BOB, 10, True),
        (BOB, None, True),
        (BOB, 51, False),
        ("@new:one", 50, True),
        ("@new:one", 51, False),
    ],
)
def test_user_is_raised_and_lowered_within_the_own_level(room: Room, user: str, new: int | None, allowed: bool) -> None:
    """Rules 10.9.1 and 10.10.1: never somebody who stands as high, but always oneself, and nobody above oneself."""
    _set(room)
    users = {**_users(room), user: new}
    assert _bob_may(room, users={name: level for name, level in users.items() if level is not None}) is allowed


@every_version()
def test_users_taken_out_altogether_are_lowered(room: Room) -> None:
    """Rule 10.9.1: leaving the whole map out touches Carol, too."""
    _set(room)
    assert not _bob_may(room, users=None)


@every_version(creators_privileged=False)
def test_administrator_is_not_demoted_by_an_equal(room: Room) -> None:
    """Rule 10.9.1, at the very top."""
    _set(room, {ALICE: 100, BOB: 100})
    assert not _bob_may(room, users={ALICE: 0, BOB: 100})
    assert _bob_may(room, users={ALICE: 100, BOB: 0})


@every_version(creators_privileged=True)
def test_creator_changes_everything(room: Room) -> None:
    """Their level is above every number."""
    _set(room, {BOB: 2**53 - 1}, ban=2**53 - 1)
    assert room.allows(ALICE, "m.room.power_levels", {"users": {BOB: 0, CAROL: 2**53 - 1}, "ban": 0})


@every_version(integer_power_levels=False)
def test_text_and_number_of_the_same_level_are_no_change(room: Room) -> None:
    """Before version 10 "100" and 100 are one level."""
    _set(room, ban="100")
    assert _bob_may(room, ban=100)
    assert not _bob_may(room, ban="99")


@every_version()
def test_unreadable_levels_in_the_room_were_never_in_force(room: Room) -> None:
    """What others let in before us does not keep the levels from being mended."""
    _set(room)
    broken = {**room.state["m.room.power_levels", ""].content, "ban": [], "notifications": 5}
    room.put(room.event(ALICE, "m.room.power_levels", broken))
    assert _bob_may(room, ban=50, notifications={"room": 50})
    assert not _bob_may(room, ban=51, notifications={})
