from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.protocol.errors import BadJson, Forbidden
from conduit.protocol.event_auth import authorise, check_auth_events, required_signers
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import RoomVersion
from tests.protocol.room import ALICE, BOB, CAROL, Room, every_version
from tests.protocol.test_canonical_json import JSON


@every_version()
def test_event_without_a_created_room_is_rejected(version: RoomVersion) -> None:
    """Rule 2: no state, no room."""
    event = Room(version).event(ALICE, "m.room.message", {}, None)
    with pytest.raises(Forbidden):
        authorise(event, version, lambda event_type, state_key: None)


@every_version()
def test_event_of_another_room_is_rejected(version: RoomVersion) -> None:
    """Rule 2: the state must be that of the event's own room."""
    other = "!" + "x" * 43 if version.room_id_is_create_hash else "!other:one"
    assert not Room(version).allows(ALICE, "m.room.message", {}, None, room_id=other)


@every_version()
@pytest.mark.parametrize("federate", [True, False, "no"])
def test_unfederated_room_is_closed_to_other_servers(version: RoomVersion, federate: Any) -> None:
    """Rule 4: only `false` itself closes it, and the creator's own server stays in."""
    room = Room(version, **{"m.federate": federate})
    room.join_rule("public")
    assert room.allows_member(CAROL, "join") is (federate is not False)
    assert room.allows_member(BOB, "join")


@every_version()
def test_aliases_have_a_rule_of_their_own_until_version_5(version: RoomVersion) -> None:
    """Rule 4 of versions 1 to 5: under the own server's name, without being in the room; later like any state."""
    room = Room(version)
    assert room.allows(CAROL, "m.room.aliases", {"aliases": []}, "two") is version.aliases_authorised
    assert not room.allows(CAROL, "m.room.aliases", {"aliases": []}, "one")
    assert not room.allows(CAROL, "m.room.aliases", {"aliases": []}, None)
    assert room.allows(ALICE, "m.room.aliases", {"aliases": []}, "two") is not version.aliases_authorised
    assert room.allows(ALICE, "m.room.aliases", {}, None) is not version.aliases_authorised


@every_version()
@pytest.mark.parametrize("membership", ["leave", "invite", "ban", None])
def test_event_of_somebody_outside_is_rejected(version: RoomVersion, membership: str | None) -> None:
    """Rule 6: messages and state come from joined members alone."""
    room = Room(version)
    if membership is not None:
        room.member(BOB, membership, ALICE)
    room.power(events_default=0, state_default=0) if membership != "ban" else None
    assert not room.allows(BOB, "m.room.message", {}, None)
    assert not room.allows(BOB, "m.room.topic", {})


@every_version()
def test_third_party_invite_needs_the_invite_level(version: RoomVersion) -> None:
    """Rule 7: and nothing else, whatever state requires."""
    room = Room(version)
    room.member(BOB, "invite", ALICE)
    room.member(BOB, "join")
    assert room.allows(BOB, "m.room.third_party_invite", {}, "token")
    room.power({BOB: 9}, invite=10)
    assert not room.allows(BOB, "m.room.third_party_invite", {}, "token")
    room.power({BOB: 10}, invite=10)
    assert room.allows(BOB, "m.room.third_party_invite", {}, "token")


@every_version()
def test_required_level_depends_on_type_and_kind(version: RoomVersion) -> None:
    """Rule 8: the entry of the type, else the default for state or for messages."""
    room = Room(version)
    room.join_rule("public")
    room.member(BOB, "join")
    room.power({BOB: 20}, events={"m.room.topic": 20, "m.room.name": 21}, state_default=30, events_default=20)
    assert room.allows(BOB, "m.room.topic", {})
    assert not room.allows(BOB, "m.room.name", {})
    assert not room.allows(BOB, "org.example", {})
    assert room.allows(BOB, "org.example", {}, None)
    assert not room.allows(BOB, "m.room.name", {}, None)
    room.power({BOB: 20}, events_default=21)
    assert not room.allows(BOB, "org.example", {}, None)


@every_version()
def test_required_level_without_power_levels_is_the_default(version: RoomVersion) -> None:
    """Rule 8: 0 for messages, 50 for state; the creator may do all."""
    room = Room(version)
    room.join_rule("public")
    room.member(BOB, "join")
    assert room.allows(BOB, "m.room.message", {}, None)
    assert not room.allows(BOB, "m.room.topic", {})
    assert room.allows(ALICE, "m.room.topic", {})


@every_version()
def test_creator_loses_to_power_levels_that_forget_them_until_version_11(version: RoomVersion) -> None:
    """From version 12 on nothing takes a creator's power."""
    room = Room(version)
    room.put(room.event(ALICE, "m.room.power_levels", {"users": {}}))
    assert room.allows(ALICE, "m.room.topic", {}) is version.creators_privileged


@every_version()
def test_state_key_of_another_user_is_rejected(version: RoomVersion) -> None:
    """Rule 9: a key that starts with @ belongs to that user."""
    room = Room(version)
    assert room.allows(ALICE, "org.example", {}, ALICE)
    assert not room.allows(ALICE, "org.example", {}, BOB)
    assert not room.allows(ALICE, "org.example", {}, "@")
    assert room.allows(ALICE, "org.example", {}, "x@")


KEYS = ["membership", "join_authorised_via_users_server", "third_party_invite", "join_rule", "users", "events", "ban"]
TYPES = [
    "m.room.create",
    "m.room.member",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.redaction",
    "m.room.aliases",
]


@every_version()
@settings(max_examples=40)
@given(
    event_type=st.sampled_from(TYPES),
    state_key=st.sampled_from([None, "", BOB, "@", "one"]),
    content=st.dictionaries(st.sampled_from([*KEYS, "additional_creators", "room_version"]), JSON, max_size=3),
    state=st.dictionaries(st.sampled_from([*KEYS, "creator", "m.federate", "notifications"]), JSON, max_size=3),
)
def test_content_of_any_shape_is_allowed_or_forbidden(
    version: RoomVersion, event_type: str, state_key: str | None, content: dict[str, Any], state: dict[str, Any]
) -> None:
    """In the event and in the state: no exception but the one that says no."""
    room = Room(version)
    for kind in ("m.room.power_levels", "m.room.join_rules", "m.room.member"):
        room.put(room.event(ALICE, kind, state, BOB if kind == "m.room.member" else ""))
    create = room.events[0]
    room.state["m.room.create", ""] = Event(create.event_id, {**create.pdu, "content": state}, version)
    event = room.event(ALICE, event_type, content, state_key)
    with suppress(Forbidden):
        room.check(event)
    with suppress(Forbidden):
        check_auth_events(event, version, room.events)
    with suppress(BadJson):
        required_signers(event.pdu, version)
