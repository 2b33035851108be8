"""Tests of who may see which events."""

from __future__ import annotations

import pytest

from conduit.protocol.ids import RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.service.rooms import client_events, visibility
from conduit.service.rooms.visibility import Viewer
from tests.support.rooms import ALICE, BOB, World


def sees(world: World, room_id: RoomId, user_id: UserId, *events: Event) -> list[bool]:
    """Tell of each event whether the user sees it."""
    viewer = Viewer(world.db, room_id, user_id)
    forms = [client_events.get(world.db, event.event_id) for event in events]
    return [viewer.sees(form) for form in forms if form is not None]


def set_visibility(world: World, room_id: RoomId, value: str) -> Event:
    """Set the room's history visibility."""
    return world.set(room_id, ALICE, "m.room.history_visibility", {"history_visibility": value})


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        # before the invite, invited, joined, left, then joined again at the end
        ("joined", [False, False, True, False, True]),
        ("invited", [False, True, True, False, True]),
        ("shared", [True, True, True, True, True]),
        ("world_readable", [True, True, True, True, True]),
        ("nonsense", [True, True, True, True, True]),
    ],
)
def test_member_sees_by_setting_and_membership_then(setting: str, expected: list[bool]) -> None:
    """Each setting shows a member exactly the stretches that it should."""
    world = World()
    room_id = world.create()
    set_visibility(world, room_id, setting)
    said = [world.say(room_id, ALICE, "before")]
    world.member(room_id, ALICE, BOB, "invite")
    said.append(world.say(room_id, ALICE, "invited"))
    world.join(room_id, BOB)
    said.append(world.say(room_id, ALICE, "joined"))
    world.leave(room_id, BOB)
    said.append(world.say(room_id, ALICE, "left"))
    world.join(room_id, BOB)
    said.append(world.say(room_id, ALICE, "again"))
    assert sees(world, room_id, BOB, *said) == expected


def test_left_user_sees_shared_history_up_to_the_last_leave() -> None:
    """Shared history shows what came before one's last time in the room, and nothing since."""
    world = World()
    room_id = world.create()
    early = world.say(room_id, ALICE, "early")
    world.join(room_id, BOB)
    world.join(room_id, BOB, displayname="Bobby")
    during = world.say(room_id, ALICE, "during")
    world.leave(room_id, BOB)
    after = world.say(room_id, ALICE, "after")
    world.member(room_id, ALICE, BOB, "invite")
    world.leave(room_id, BOB)
    assert sees(world, room_id, BOB, early, during, after) == [True, True, False]


def test_invited_user_does_not_see_shared_history() -> None:
    """Shared history is for those who have joined since."""
    world = World()
    room_id = world.create()
    early = world.say(room_id, ALICE, "early")
    world.member(room_id, ALICE, BOB, "invite")
    assert sees(world, room_id, BOB, early) == [False]


def test_change_of_setting_is_seen_from_either_side() -> None:
    """Opening and closing a room are both seen by everybody; what lies between by everybody, what follows by members."""
    world = World()
    room_id = world.create()
    set_visibility(world, room_id, "joined")
    opened = set_visibility(world, room_id, "world_readable")
    between = world.say(room_id, ALICE, "between")
    closed = set_visibility(world, room_id, "joined")
    after = world.say(room_id, ALICE, "after")
    assert sees(world, room_id, BOB, opened, between, closed, after) == [True, True, True, False]
    assert not visibility.is_world_readable(world.db, room_id)
    assert visibility.current(world.db, room_id) == "joined"


def test_own_membership_changes_are_seen() -> None:
    """Joining and leaving are seen by the one who did it; a first invite too where invited people see."""
    world = World()
    room_id = world.create()
    set_visibility(world, room_id, "joined")
    invited = world.member(room_id, ALICE, BOB, "invite")
    joined = world.join(room_id, BOB)
    left = world.leave(room_id, BOB)
    assert sees(world, room_id, BOB, invited, joined, left) == [False, True, True]


def test_membership_at_an_event_includes_the_event() -> None:
    """The membership told is that after the event itself, and `leave` for none."""
    world = World()
    room_id = world.create()
    early = world.say(room_id, ALICE, "early")
    joined = world.join(room_id, BOB)
    viewer = Viewer(world.db, room_id, BOB)
    found = []
    for event in (early, joined):
        form = client_events.get(world.db, event.event_id)
        assert form is not None
        after = form.place(world.db).after
        assert after is not None
        found.append(viewer.membership_in(after))
    assert found == ["leave", "join"]
