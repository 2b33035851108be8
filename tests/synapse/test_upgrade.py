"""A room moves on to another version, and people of both sides with it."""

from __future__ import annotations

import itertools

import pytest

from tests.support.client import segment
from tests.synapse.rooms import VERSIONS, Room, met, talk
from tests.synapse.sides import Side

STEPS = list(itertools.pairwise(VERSIONS))


@pytest.mark.parametrize(("old", "new"), STEPS)
async def test_upgrade(old: str, new: str, host: Side, guest: Side) -> None:
    """The other side sees the tombstone, follows it, and finds its way back from the new room to the old."""
    room = await met(host, guest, old, name="Old and new", topic="Moving")
    answer = await room.host.post(f"/rooms/{segment(room.id)}/upgrade", {"new_version": new})
    tombstone = await room.guest.until(
        lambda: room.guest.seen.state[room.id].get(("m.room.tombstone", "")), "the tombstone"
    )
    new_id = tombstone["content"]["replacement_room"]
    assert new_id == answer["replacement_room"]
    await room.agree()
    await room.guest.join_via(new_id, host)
    await room.host.sees_member(new_id, room.guest, "join")
    replacement = Room(new_id, room.host, room.guest)
    await replacement.agree()
    create = await room.guest.state(new_id, "m.room.create")
    assert create["room_version"] == new
    assert create["predecessor"]["room_id"] == room.id
    assert (await room.guest.state(new_id, "m.room.name"))["name"] == "Old and new"
    await talk(replacement)
