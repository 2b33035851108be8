from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import Forbidden
from conduit.protocol.event_auth import auth_types_for, check_auth_events
from conduit.protocol.room_versions import RoomVersion
from tests.protocol.room import ALICE, BOB, CAROL, Room, every_version

POWER, RULES = ("m.room.power_levels", ""), ("m.room.join_rules", "")


def _base(version: RoomVersion, sender: str = ALICE) -> set[tuple[str, str]]:
    create = set() if version.room_id_is_create_hash else {("m.room.create", "")}
    return {*create, POWER, ("m.room.member", sender)}


def _selected(version: RoomVersion, content: dict[str, Any], target: str | None = BOB) -> set[tuple[str, str]]:
    keys = auth_types_for("m.room.member", ALICE, target, content, version)
    assert len(keys) == len(set(keys))
    return set(keys)


@every_version()
def test_selection_for_an_ordinary_event(version: RoomVersion) -> None:
    """Create (until version 11), power levels, and the sender's membership; nothing for the create event."""
    assert set(auth_types_for("m.room.message", ALICE, None, {"membership": "join"}, version)) == _base(version)
    assert set(auth_types_for("org.example", ALICE, BOB, {"membership": "join"}, version)) == _base(version)
    assert set(auth_types_for("m.room.member", ALICE, None, {"membership": "join"}, version)) == _base(version)
    assert auth_types_for("m.room.create", ALICE, "", {}, version) == []


@every_version()
@pytest.mark.parametrize("membership", ["join", "invite", "knock", "leave", "ban", None, 5])
def test_selection_for_a_membership(version: RoomVersion, membership: Any) -> None:
    """The target's membership too, and the join rules for what they govern."""
    rules = {RULES} if membership in ("join", "invite", "knock") else set()
    expected = _base(version) | {("m.room.member", BOB)} | rules
    assert _selected(version, {"membership": membership}) == expected
    assert _selected(version, {"membership": membership}, ALICE) == _base(version) | rules


@every_version()
def test_selection_for_a_third_party_invite(version: RoomVersion) -> None:
    """The offer that the token names; only for an invite, and only where the token is text."""
    content: dict[str, Any] = {"membership": "invite", "third_party_invite": {"signed": {"token": "abc"}}}
    offer = ("m.room.third_party_invite", "abc")
    assert offer in _selected(version, content)
    assert offer not in _selected(version, {**content, "membership": "join"})
    hostile: list[Any] = [None, [], {"signed": None}, {"signed": {}}, {"signed": {"token": 5}}]
    for shape in hostile:
        assert len(_selected(version, {**content, "third_party_invite": shape})) == len(_base(version)) + 2


@every_version()
def test_selection_for_a_restricted_join(version: RoomVersion) -> None:
    """The membership of who authorises it, from version 8 on."""
    content = {"membership": "join", "join_authorised_via_users_server": CAROL}
    assert (("m.room.member", CAROL) in _selected(version, content)) is version.restricted_joins
    assert ("m.room.member", CAROL) not in _selected(version, {**content, "membership": "leave"})
    assert len(_selected(version, {**content, "join_authorised_via_users_server": ["x"]})) == len(_base(version)) + 2
    assert _selected(version, {**content, "join_authorised_via_users_server": BOB}) == _base(version) | {
        ("m.room.member", BOB),
        RULES,
    }


@pytest.fixture
def room(version: RoomVersion) -> Room:
    """A public room with power levels."""
    room = Room(version)
    room.power()
    room.join_rule("public")
    return room


def _cited(room: Room, *more: tuple[str, str]) -> list[Any]:
    return [room.state[key] for key in (*sorted(_base(room.version)), *more)]


@every_version()
def test_right_auth_events_pass(room: Room, version: RoomVersion) -> None:
    """All that the selection names, and less: whether what is missing matters, the rules tell."""
    message = room.event(ALICE, "m.room.message", {}, None)
    check_auth_events(message, version, _cited(room))
    check_auth_events(message, version, [event for event in _cited(room) if event.type != "m.room.power_levels"])
    check_auth_events(room.events[0], version, [])


@every_version()
def test_duplicate_auth_events_are_rejected(room: Room, version: RoomVersion) -> None:
    """Rule 3.1: two events for one type and state key."""
    cited = [*_cited(room), room.event(ALICE, "m.room.power_levels", {"users": {}})]
    with pytest.raises(Forbidden):
        check_auth_events(room.event(ALICE, "m.room.message", {}, None), version, cited)


@every_version()
def test_auth_events_beyond_the_selection_are_rejected(room: Room, version: RoomVersion) -> None:
    """Rule 3.2: join rules do not authorise a message, nor does a message anything."""
    message = room.event(ALICE, "m.room.message", {}, None)
    for extra in (room.state[RULES], message, room.event(ALICE, "m.room.power_levels", {}, None)):
        with pytest.raises(Forbidden):
            check_auth_events(message, version, [*(event for event in _cited(room) if event.type != extra.type), extra])


@every_version()
def test_create_event_is_cited_until_version_11_only(room: Room, version: RoomVersion) -> None:
    """Rules 3.2 and 3.4: first it had to be, now it must not."""
    message = room.event(ALICE, "m.room.message", {}, None)
    without = [event for event in _cited(room) if event.type != "m.room.create"]
    refused = [*without, room.events[0]] if version.room_id_is_create_hash else without
    with pytest.raises(Forbidden):
        check_auth_events(message, version, refused)


@every_version()
def test_rejected_auth_event_rejects_the_event(room: Room, version: RoomVersion) -> None:
    """Rule 3.3."""
    cited = _cited(room)
    with pytest.raises(Forbidden):
        check_auth_events(room.event(ALICE, "m.room.message", {}, None), version, cited, rejected={cited[-1].event_id})


@every_version()
def test_auth_event_of_another_room_rejects_the_event(room: Room, version: RoomVersion) -> None:
    """Rule 3.5."""
    other_id = "!" + "x" * 43 if version.room_id_is_create_hash else "!other:one"
    foreign = room.event(ALICE, "m.room.power_levels", {}, room_id=other_id)
    cited = [foreign if event.type == "m.room.power_levels" else event for event in _cited(room)]
    with pytest.raises(Forbidden):
        check_auth_events(room.event(ALICE, "m.room.message", {}, None), version, cited)
