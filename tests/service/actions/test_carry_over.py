"""Personal settings follow their user to the room that replaces another."""

from __future__ import annotations

from typing import Any

from conduit.protocol.ids import RoomId, UserId
from conduit.service import account_data
from tests.support.client import User
from tests.support.homeserver import Homeserver
from tests.support.people import people

TAGS = {"tags": {"m.favourite": {"order": 0.5}}}


def put(hs: Homeserver, user: User, room_id: str, kind: str, content: dict[str, Any]) -> None:
    """Store account data."""
    with hs.ctx.db.batch() as batch:
        account_data.put(batch, UserId(user.user_id), RoomId(room_id), kind, content)


def get(hs: Homeserver, user: User, room_id: str, kind: str) -> Any:
    """Return account data."""
    return account_data.get(hs.ctx.db, UserId(user.user_id), RoomId(room_id), kind)


async def test_settings_follow_the_upgrading_user_and_those_who_join_later(hs: Homeserver) -> None:
    """Tags, the room's push rule and direct chats are taken along; the old room keeps its own."""
    alice, bob = await people(hs, "alice", "bob")
    old = await alice.create_room(preset="public_chat")
    await bob.join(old)
    rules = {"global": {"room": [{"rule_id": old, "actions": [], "enabled": True, "default": False}], "override": []}}
    for user in (alice, bob):
        put(hs, user, old, "m.tag", TAGS)
        put(hs, user, "", "m.push_rules", rules)
        put(hs, user, "", "m.direct", {"@bob:localhost": [old], "@x:y": ["!other:y"]})
    new = (await alice.post(f"/rooms/{old}/upgrade", {"new_version": "12"}))["replacement_room"]
    await bob.join(new)
    for user in (alice, bob):
        assert get(hs, user, new, "m.tag") == get(hs, user, old, "m.tag") == TAGS
        room_rules = get(hs, user, "", "m.push_rules")["global"]["room"]
        assert [rule["rule_id"] for rule in room_rules] == [new, old]
        assert get(hs, user, "", "m.direct") == {"@bob:localhost": [old, new], "@x:y": ["!other:y"]}


async def test_settings_do_not_follow_into_a_room_that_only_claims_to_replace_another(hs: Homeserver) -> None:
    """Without a tombstone that says so, a room takes nothing over."""
    alice, bob = await people(hs, "alice", "bob")
    old = await alice.create_room(preset="public_chat")
    await bob.join(old)
    put(hs, bob, old, "m.tag", TAGS)
    new = await alice.create_room(preset="public_chat", creation_content={"predecessor": {"room_id": old}})
    await bob.join(new)
    assert get(hs, bob, new, "m.tag") is None


async def test_settings_of_any_shape_are_survived(hs: Homeserver) -> None:
    """What clients stored in other forms is left alone."""
    alice, bob = await people(hs, "alice", "bob")
    old = await alice.create_room(preset="public_chat")
    await bob.join(old)
    put(hs, bob, "", "m.direct", {"@x:y": "!room:y", "z": [5, old]})
    put(hs, bob, "", "m.push_rules", {"global": {"room": ["x", {"rule_id": 5}]}})
    new = (await alice.post(f"/rooms/{old}/upgrade", {"new_version": "11"}))["replacement_room"]
    await bob.join(new)
    assert get(hs, bob, "", "m.direct") == {"@x:y": "!room:y", "z": [5, old, new]}
