"""Who may make and remove aliases, and what becomes of the canonical one."""

from __future__ import annotations

from typing import Any

from conduit.service.actions.aliases import KEPT_MS
from tests.support.federation import network
from tests.support.homeserver import Homeserver
from tests.support.people import admin, people, person

LOBBY = "/directory/room/%23lobby:localhost"


async def test_alias_by_a_stranger_is_refused(hs: Homeserver) -> None:
    """Only members name a room; administrators may as well."""
    alice, bob = await people(hs, "alice", "bob")
    operator = await admin(hs)
    room_id = await alice.create_room(preset="public_chat")
    await bob.put(LOBBY, {"room_id": room_id}, "M_FORBIDDEN")
    await operator.put(LOBBY, {"room_id": room_id})


async def test_alias_of_another_cannot_be_removed_without_power(hs: Homeserver) -> None:
    """Neither strangers nor ordinary members remove what others made; nothing is moved by trying."""
    alice, bob, carol = await people(hs, "alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat", room_alias_name="lobby")
    await bob.join(room_id)
    for user in (bob, carol):
        await user.delete(LOBBY, expect="M_FORBIDDEN")
        await user.put(LOBBY, {"room_id": await user.create_room()}, 409)
    assert (await alice.get(LOBBY))["room_id"] == room_id


async def test_alias_is_removed_by_maker_by_power_and_by_administrators(hs: Homeserver) -> None:
    """The maker without any power, a moderator who did not make it, and an administrator from outside."""
    alice, bob = await people(hs, "alice", "bob")
    operator = await admin(hs)
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    for remover in (bob, alice, operator):
        await bob.put(LOBBY, {"room_id": room_id})
        await remover.delete(LOBBY)
        await bob.get(LOBBY, "M_NOT_FOUND")
    assert await alice.get(f"/rooms/{room_id}/aliases") == {"aliases": []}


async def test_alias_of_a_moderator_who_left_stays(hs: Homeserver) -> None:
    """Power counts only while one is in the room."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(
        preset="public_chat",
        room_version="11",
        room_alias_name="lobby",
        power_level_content_override={"users": {alice.user_id: 100, bob.user_id: 100}},
    )
    await bob.join(room_id)
    await bob.leave(room_id)
    await bob.delete(LOBBY, expect="M_FORBIDDEN")


async def test_removed_alias_leaves_the_canonical_alias_event(hs: Homeserver) -> None:
    """An alias that is removed is taken out of the room's state in the same deed, and others stay."""
    alice = await person(hs)
    room_id = await alice.create_room(room_alias_name="lobby")
    await alice.put("/directory/room/%23hall:localhost", {"room_id": room_id})
    content = {"alias": "#lobby:localhost", "alt_aliases": ["#hall:localhost", "#lobby:localhost"]}
    await alice.set_state(room_id, "m.room.canonical_alias", content)
    await alice.delete(LOBBY)
    assert await alice.state(room_id, "m.room.canonical_alias") == {"alt_aliases": ["#hall:localhost"]}
    await alice.delete("/directory/room/%23hall:localhost")
    assert await alice.state(room_id, "m.room.canonical_alias") == {}


async def test_removed_alias_by_who_may_not_change_state_is_removed_all_the_same(hs: Homeserver) -> None:
    """The maker's alias goes, although the state event that names it stays."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await bob.put(LOBBY, {"room_id": room_id})
    await alice.set_state(room_id, "m.room.canonical_alias", {"alias": "#lobby:localhost"})
    await bob.delete(LOBBY)
    await bob.get(LOBBY, "M_NOT_FOUND")
    assert await alice.state(room_id, "m.room.canonical_alias") == {"alias": "#lobby:localhost"}


async def test_removed_alias_leaves_the_rooms_other_aliases(hs: Homeserver) -> None:
    """Removing one of several removes one."""
    alice = await person(hs)
    room_id = await alice.create_room(room_alias_name="lobby")
    for name in ("a", "b"):
        await alice.put(f"/directory/room/%23{name}:localhost", {"room_id": room_id})
    await alice.delete("/directory/room/%23a:localhost")
    assert (await alice.get(f"/rooms/{room_id}/aliases"))["aliases"] == ["#lobby:localhost", "#b:localhost"]


async def test_alias_of_another_server_is_asked_for_there() -> None:
    """The answer holds for a minute; servers that are none are left out, and the alias's own is among them."""
    async with network("one.test") as net:
        client, peer = await net["one.test"].register("alice"), net.peer("peer.test")
        path = "/directory/room/%23hall%3Apeer.test"
        answer = {"room_id": "!r:peer.test", "servers": ["other.test", 5, "not a name", "other.test"]}
        peer.on("GET", "/_matrix/federation/v1/query/directory", answer)
        for _ in range(2):
            expected = {"room_id": "!r:peer.test", "servers": ["other.test", "peer.test"]}
            assert await client.get(path) == expected
        assert len(peer.received) == 1
        await client.post("/join/%23hall%3Apeer.test", {}, 502)  # whoever joins does not go where it led before
        assert [incoming.path for incoming in peer.received].count("/_matrix/federation/v1/query/directory") == 2
        net.clock.jump(KEPT_MS / 1000)
        answers: list[tuple[Any, Any]] = [
            ({}, "M_NOT_FOUND"),
            ({"room_id": "nonsense", "servers": 5}, "M_NOT_FOUND"),
            ((404, {"errcode": "M_NOT_FOUND", "error": "No"}), "M_NOT_FOUND"),
            ((500, {"errcode": "M_UNKNOWN", "error": "Oh"}), 502),
        ]
        for broken, told in answers:
            peer.on("GET", "/_matrix/federation/v1/query/directory", broken)
            await client.get(path, told)
