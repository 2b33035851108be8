"""Telling rooms of a changed profile, when it is cut off or takes long."""

from __future__ import annotations

import asyncio

import pytest

from conduit.database import trees
from conduit.protocol.ids import RoomId, UserId
from conduit.service.actions import change_profile
from conduit.service.rooms import state
from tests.support.homeserver import Homeserver

ALICE = UserId("@alice:localhost")


def _shown(hs: Homeserver, room_id: str) -> str | None:
    event = state.current(hs.ctx.db, RoomId(room_id), "m.room.member", ALICE)
    assert event is not None
    name: str | None = event.content.get("displayname")
    return name


async def _finished(hs: Homeserver) -> None:
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == f"profile of {ALICE}"))
    assert not trees.profile_pending.has(hs.ctx.db, ALICE)


async def test_many_rooms_are_told_in_the_background(hs: Homeserver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request does not wait for them; all are told in the end, by their newest name."""
    monkeypatch.setattr(change_profile, "AT_ONCE", 2)
    alice = await hs.register("alice")
    rooms = [await alice.create_room() for _ in range(4)]
    for name in ("one", "two", "three"):
        await change_profile.change_profile(hs.ctx, ALICE, {"displayname": name})
    assert trees.profile_pending.has(hs.ctx.db, ALICE)
    await _finished(hs)
    assert {_shown(hs, room) for room in rooms} == {"three"}


async def test_change_that_was_cut_off_goes_on_at_the_next_start(hs: Homeserver) -> None:
    """The profile was stored, the server stopped before the rooms were told."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    with hs.ctx.db.batch() as batch:
        trees.userid_displayname.put(batch, ALICE, "new")
        trees.profile_pending.put(batch, ALICE, True)
    change_profile.resume(hs.ctx)
    await _finished(hs)
    assert _shown(hs, room) == "new"


async def test_room_that_refuses_does_not_keep_the_others_from_it(hs: Homeserver) -> None:
    """A room where the user was banned meanwhile is passed over."""
    alice = await hs.register("alice")
    bob = await hs.register("bob")
    left, stayed = [await bob.create_room(preset="public_chat") for _ in range(2)]
    for room in (left, stayed):
        await alice.join(room)
    await bob.post(f"/rooms/{left}/ban", {"user_id": ALICE})
    await change_profile.change_profile(hs.ctx, ALICE, {"displayname": "new"})
    assert _shown(hs, stayed) == "new"
    event = state.current(hs.ctx.db, RoomId(left), "m.room.member", ALICE)
    assert event is not None
    assert event.membership == "ban"


async def test_parts_of_joining_are_not_repeated(hs: Homeserver) -> None:
    """The reason of a join belongs to the join; what clients put beside it stays."""
    alice = await hs.register("alice")
    bob = await hs.register("bob")
    room = await bob.create_room(preset="public_chat")
    await alice.post(f"/rooms/{room}/join", {"reason": "curious"})
    extra = {"membership": "join", "org.example.mood": "fine", "displayname": "here only"}
    await alice.set_state(room, "m.room.member", extra, ALICE)
    await change_profile.change_profile(hs.ctx, ALICE, {"displayname": "new"})
    content = await alice.state(room, "m.room.member", ALICE)
    assert content == {"membership": "join", "displayname": "new", "org.example.mood": "fine"}
