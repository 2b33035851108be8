"""Tests of room summaries."""

from __future__ import annotations

from tests.support.client import segment
from tests.support.homeserver import Homeserver


def path_of(room: str) -> str:
    """Return the path of a room's summary."""
    return f"/_matrix/client/v1/room_summary/{segment(room)}"


async def test_summary_of_a_public_room_by_id_and_alias(hs: Homeserver) -> None:
    """Anybody, with or without an account, gets the summary of a public room."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat", name="Lobby", topic="All", room_alias_name="lobby")
    await alice.set_state(room, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    summary = await hs.client().get(path_of(room))
    assert summary["name"] == "Lobby"
    assert summary["num_joined_members"] == 1
    assert summary["encryption"] == "m.megolm.v1.aes-sha2"
    assert "room_version" in summary
    assert "membership" not in summary
    assert (await bob.get(path_of("#lobby:localhost")))["room_id"] == room
    assert (await alice.get(path_of(room)))["membership"] == "join"
    for older in (f"summary/{segment(room)}", f"rooms/{segment(room)}/summary"):
        assert await hs.client().get(f"/_matrix/client/unstable/im.nheko.summary/{older}") == summary


async def test_summary_of_a_private_room_is_for_members_and_the_invited(hs: Homeserver) -> None:
    """For others there is no such room."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(name="Private")
    await bob.get(path_of(room), "M_NOT_FOUND")
    await hs.client().get(path_of(room), "M_NOT_FOUND")
    await alice.invite(room, bob)
    assert (await bob.get(path_of(room)))["membership"] == "invite"
    await bob.get(path_of("nonsense"), "M_INVALID_PARAM")
    await bob.get(path_of("#unknown:localhost"), "M_NOT_FOUND")
