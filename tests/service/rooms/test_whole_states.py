"""Whole states are read in steps, and are those of one moment."""

from __future__ import annotations

from collections.abc import AsyncIterator

from conduit.protocol.ids import RoomId
from conduit.service.rooms import client_events, state, whole_states
from tests.support.rooms import ALICE, World, users

MANY = users(whole_states.STEP + 10)


def crowded() -> tuple[World, RoomId]:
    """Return a room whose state takes two steps."""
    world = World()
    room_id = world.create()
    for user_id in MANY:
        world.join(room_id, user_id)
    return world, room_id


async def test_forms_of_a_large_state_come_in_steps_and_show_one_moment() -> None:
    """Nothing that happens between the steps is in them; what is redacted meanwhile shows so."""
    world, room_id = crowded()
    head = state.head(world.db, room_id)
    assert head is not None
    last = state.current_id(world.db, room_id, "m.room.member", MANY[-1])
    assert last is not None
    entries = state.ids(world.db, head.state)
    seen = []
    sizes = []
    async for step in whole_states.forms(world.db, entries):
        if not seen:
            world.leave(room_id, MANY[-1])
            world.set(room_id, ALICE, "m.room.topic", {"topic": "new"})
            world.redact(room_id, ALICE, last)
        seen += step
        sizes.append(len(step))
    assert len(sizes) == 2
    assert max(sizes) == whole_states.STEP
    assert {event.event_id for event in seen} == {event.event_id for event in state.events_at(world.db, head.state)}
    assert [event.because is not None for event in seen if event.event_id == last] == [True]


async def test_ids_are_of_the_wanted_kind_only() -> None:
    """Members and others together are all."""
    world, room_id = crowded()
    head = state.head(world.db, room_id)
    assert head is not None
    entries = state.ids(world.db, head.state)
    members = [one async for step in whole_states.ids(world.db, entries, whole_states.is_member) for one in step]
    others = [one async for step in whole_states.ids(world.db, entries, whole_states.is_no_member) for one in step]
    assert len(members) == len(MANY) + 1
    assert {event.type for event in client_events.get_many(world.db, members)} == {"m.room.member"}
    assert {*members, *others} == {event.event_id for event in state.events_at(world.db, head.state)}


async def test_listed_joins_what_comes_in_steps() -> None:
    """Empty steps leave no comma behind."""

    async def steps() -> AsyncIterator[list[bytes]]:
        for step in ([], [b"1", b"2"], [], [b"3"]):
            yield step

    async def none() -> AsyncIterator[list[bytes]]:
        for step in ([], []):
            yield step

    assert b"".join([piece async for piece in whole_states.listed(b"[", steps(), b"]")]) == b"[1,2,3]"
    assert b"".join([piece async for piece in whole_states.listed(b"{", none(), b"}")]) == b"{}"
