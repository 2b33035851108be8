"""Upgrading: what is copied, moved and closed, from and to every kind of version."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.ids import RoomId
from conduit.service.rooms import timeline
from tests.support.client import User
from tests.support.homeserver import Homeserver
from tests.support.people import people, person

COPIED: dict[str, dict[str, Any]] = {
    "m.room.topic": {"topic": "topic"},
    "m.room.name": {"name": "name"},
    "m.room.join_rules": {"join_rule": "public"},
    "m.room.guest_access": {"guest_access": "forbidden"},
    "m.room.history_visibility": {"history_visibility": "joined"},
    "m.room.avatar": {"url": "mxc://localhost/a"},
    "m.room.encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
    "m.room.server_acl": {"allow": ["*"], "deny": ["*.evil.com"]},
}


async def upgrade(user: User, room_id: str, version: str, **options: Any) -> str:
    """Upgrade a room and return the new one's id."""
    body = {"new_version": version, **options}
    return str((await user.post(f"/rooms/{room_id}/upgrade", body))["replacement_room"])


@pytest.mark.parametrize(("old", "new"), [("1", "2"), ("6", "11"), ("11", "12"), ("12", "12"), ("12", "10")])
async def test_upgrade_links_both_rooms_and_copies_state(hs: Homeserver, old: str, new: str) -> None:
    """The tombstone names the new room, the create event the old one, and what is worth copying is there."""
    alice = await person(hs)
    room_id = await alice.create_room(
        room_version=old, creation_content={"m.federate": False, "type": "org.example.kind", "org.example": 1}
    )
    for event_type, content in COPIED.items():
        await alice.set_state(room_id, event_type, content)
    await alice.set_state(room_id, "org.example", {"not": "copied"})
    replacement = await upgrade(alice, room_id, new)
    tombstone = await alice.get(f"/rooms/{room_id}/state/m.room.tombstone", params={"format": "event"})
    assert tombstone["content"]["replacement_room"] == replacement
    create = await alice.state(replacement, "m.room.create")
    predecessor = {"room_id": room_id}
    if new != "12":
        predecessor["event_id"] = tombstone["event_id"]
    assert create["predecessor"] == predecessor
    assert (create["room_version"], create["m.federate"], create["type"]) == (new, False, "org.example.kind")
    assert "org.example" not in create
    for event_type, content in COPIED.items():
        assert await alice.state(replacement, event_type) == content
    await alice.state(replacement, "org.example", expect="M_NOT_FOUND")
    assert (await alice.state(replacement, "m.room.member", alice.user_id))["membership"] == "join"


async def test_upgrade_moves_aliases_and_the_canonical_one(hs: Homeserver) -> None:
    """All local aliases lead to the new room, whose canonical alias event is the old one's; that is emptied."""
    alice = await person(hs)
    room_id = await alice.create_room(room_alias_name="one", room_version="10")
    await alice.put("/directory/room/%23two:localhost", {"room_id": room_id})
    content = {"alias": "#one:localhost", "alt_aliases": ["#two:localhost"]}
    await alice.set_state(room_id, "m.room.canonical_alias", content)
    replacement = await upgrade(alice, room_id, "11")
    for name in ("one", "two"):
        assert (await alice.get(f"/directory/room/%23{name}:localhost"))["room_id"] == replacement
    assert await alice.state(replacement, "m.room.canonical_alias") == content
    assert await alice.state(room_id, "m.room.canonical_alias") == {}
    assert (await alice.get(f"/rooms/{room_id}/aliases"))["aliases"] == []


@pytest.mark.parametrize("visibility", ["public", "private"])
async def test_upgrade_keeps_the_place_in_the_directory(hs: Homeserver, visibility: str) -> None:
    """The new room is published if the old one was, and the old one is no more."""
    alice = await person(hs)
    room_id = await alice.create_room(visibility=visibility)
    replacement = await upgrade(alice, room_id, "11")
    assert await alice.get(f"/directory/list/room/{replacement}") == {"visibility": visibility}
    assert await alice.get(f"/directory/list/room/{room_id}") == {"visibility": "private"}


async def test_upgrade_silences_the_old_room(hs: Homeserver) -> None:
    """Only moderators may speak and invite afterwards, also where everybody had power."""
    alice, bob = await people(hs, "alice", "bob")
    for default, expected in ((0, 50), (80, 81)):
        room_id = await alice.create_room(
            room_version="11", preset="public_chat", power_level_content_override={"users_default": default}
        )
        await bob.join(room_id)
        await upgrade(alice, room_id, "12")
        levels = await alice.state(room_id, "m.room.power_levels")
        assert (levels["events_default"], levels["invite"]) == (expected, expected)
        await bob.send(room_id, expect="M_FORBIDDEN")


async def test_upgrade_copies_power_levels_above_the_usual(hs: Homeserver) -> None:
    """Levels beyond 100 are copied as they are."""
    alice = await person(hs)
    override = {"users": {alice.user_id: 500, "@bob:localhost": 40}}
    room_id = await alice.create_room(room_version="10", power_level_content_override=override)
    before = await alice.state(room_id, "m.room.power_levels")
    assert await alice.state(await upgrade(alice, room_id, "11"), "m.room.power_levels") == before


async def test_upgrade_by_a_moderator_leaves_them_a_moderator(hs: Homeserver) -> None:
    """Who may upgrade but not set all that is copied is lent the power, and gives it back."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat", room_version="10")
    levels = await alice.state(room_id, "m.room.power_levels")
    levels["users"][bob.user_id] = 50
    levels["events"]["m.room.tombstone"] = 50
    await alice.set_state(room_id, "m.room.power_levels", levels)
    await bob.join(room_id)
    replacement = await upgrade(bob, room_id, "11")
    assert await bob.state(replacement, "m.room.power_levels") == levels
    assert await bob.state(room_id, "m.room.power_levels") == levels  # not theirs to change
    sent = [event.type for _, event in timeline.scan(hs.ctx.db, RoomId(replacement))]
    assert sent.count("m.room.power_levels") == 2


async def test_upgrade_to_version_12_takes_creators_out_of_the_levels(hs: Homeserver) -> None:
    """The upgrading user and the additional creators stand above all levels and are not listed; tombstones need more."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(
        room_version="11",
        power_level_content_override={
            "users": {alice.user_id: 100, bob.user_id: 100, "@carol:localhost": 50},
            "events": {"m.room.tombstone": 50},
        },
    )
    replacement = await upgrade(alice, room_id, "12", additional_creators=[bob.user_id, alice.user_id, bob.user_id])
    assert (await alice.state(replacement, "m.room.create"))["additional_creators"] == [bob.user_id]
    levels = await alice.state(replacement, "m.room.power_levels")
    assert levels["users"] == {"@carol:localhost": 50}
    assert levels["events"]["m.room.tombstone"] > levels["state_default"]


async def test_upgrade_from_version_12_gives_former_creators_a_level(hs: Homeserver) -> None:
    """Where there are no privileged creators, those of the old room are administrators by number."""
    alice = await person(hs)
    room_id = await alice.create_room(room_version="12", creation_content={"additional_creators": ["@bob:localhost"]})
    replacement = await upgrade(alice, room_id, "11", additional_creators=["@dave:localhost"])
    create = await alice.state(replacement, "m.room.create")
    assert "additional_creators" not in create
    levels = await alice.state(replacement, "m.room.power_levels")
    assert levels["users"][alice.user_id] == levels["users"]["@bob:localhost"] >= 100
    assert "@dave:localhost" not in levels["users"]


async def test_upgrade_does_not_pass_on_additional_creators(hs: Homeserver) -> None:
    """They have to be named anew."""
    alice = await person(hs)
    room_id = await alice.create_room(room_version="12", creation_content={"additional_creators": ["@bob:localhost"]})
    create = await alice.state(await upgrade(alice, room_id, "12"), "m.room.create")
    assert "additional_creators" not in create


async def test_upgrade_copies_bans_and_the_children_of_spaces(hs: Homeserver) -> None:
    """Who was banned stays out; a space keeps its rooms, those taken out left aside."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(creation_content={"type": "m.space"}, room_version="11", preset="public_chat")
    child = {"via": ["localhost"]}
    await alice.set_state(room_id, "m.space.child", child, "!one:localhost")
    await alice.set_state(room_id, "m.space.child", {}, "!two:localhost")
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": bob.user_id, "reason": "Spam"})
    replacement = await upgrade(alice, room_id, "12")
    assert await alice.state(replacement, "m.space.child", "!one:localhost") == child
    await alice.state(replacement, "m.space.child", "!two:localhost", expect="M_NOT_FOUND")
    assert await alice.state(replacement, "m.room.member", bob.user_id) == {"membership": "ban", "reason": "Spam"}
    await bob.join(replacement, expect="M_FORBIDDEN")


async def test_upgrade_to_a_version_without_the_join_rule_closes_the_room(hs: Homeserver) -> None:
    """A join rule that the new version does not know becomes the strictest."""
    alice = await person(hs)
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "knock_restricted", "allow": []}}
    room_id = await alice.create_room(room_version="10", initial_state=[rules])
    assert await alice.state(await upgrade(alice, room_id, "7"), "m.room.join_rules") == {"join_rule": "invite"}


async def test_upgrade_twice_is_possible(hs: Homeserver) -> None:
    """A room may be upgraded again, and so may its replacement."""
    alice = await person(hs)
    room_id = await alice.create_room(room_version="9")
    second = await upgrade(alice, await upgrade(alice, room_id, "10"), "11")
    third = await upgrade(alice, room_id, "12")
    assert len({room_id, second, third}) == 3
    assert (await alice.state(room_id, "m.room.tombstone"))["replacement_room"] == third
