"""Personal settings follow their user to the room that replaces another."""

from __future__ import annotations

from typing import Any

from conduit.protocol.ids import RoomId, UserId
from conduit.service import account_data
from conduit.service.rooms import directory, state
from tests.support.client import User, segment
from tests.support.federation import network
from tests.support.homeserver import Homeserver
from tests.support.outgoing import until
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


async def test_names_of_another_server_follow_when_it_enters_the_new_room() -> None:
    """Its aliases and its directory: who has upgraded the room could not move those."""
    async with network("one.test", "two.test") as net:
        alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
        old = await alice.create_room(preset="public_chat")
        await bob.post(f"/join/{old}?via=one.test", {})
        alias = "/directory/room/%23den:two.test"
        await bob.put(alias, {"room_id": old})
        two = net["two.test"].ctx.db
        with two.batch() as batch:
            directory.set_public(batch, RoomId(old), True)
        new = (await alice.post(f"/rooms/{old}/upgrade", {"new_version": "12"}))["replacement_room"]
        false = await alice.create_room(preset="public_chat", creation_content={"predecessor": {"room_id": old}})
        await bob.post(f"/join/{false}?via=one.test", {})
        assert (await bob.get(alias))["room_id"] == old
        await until(lambda: state.current(two, RoomId(old), "m.room.tombstone"))
        await bob.post(f"/join/{new}?via=one.test", {})
        assert (await bob.get(alias))["room_id"] == new
        assert [directory.is_public(two, RoomId(room)) for room in (old, new, false)] == [False, True, False]
        await bob.put(alias.replace("den", "other"), {"room_id": old})
        carol = await net["two.test"].register("carol")
        await carol.post(f"/join/{new}", {})
        assert (await bob.get(alias.replace("den", "other")))["room_id"] == old


async def test_muted_room_stays_muted_at_once(hs: Homeserver) -> None:
    """The rule that was carried over is tried for the next message."""
    alice, bob = await people(hs, "alice", "bob")
    old = await alice.create_room(preset="public_chat")
    await bob.join(old)
    await bob.put(f"/pushrules/global/room/{segment(old)}", {"actions": []})
    await alice.send(old, "not to be heard of")
    new = (await alice.post(f"/rooms/{old}/upgrade", {"new_version": "12"}))["replacement_room"]
    await bob.join(new)
    await alice.send(new, "nor this")
    rooms = (await bob.sync())["rooms"]["join"]
    assert rooms[new]["unread_notifications"]["notification_count"] == 0
