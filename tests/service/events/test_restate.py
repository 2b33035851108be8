"""States made anew from an event on."""

from __future__ import annotations

import asyncio

from conduit.database.check import check
from conduit.database.database import Batch
from conduit.database.layouts import OUTLIER, EventMeta
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.service.events import restate
from conduit.service.events.build import build
from conduit.service.events.foreign_state import Answer
from conduit.service.rooms import leaves, members, partial, short_ids, state, state_layers, timeline
from tests.support.rooms import ALICE, BOB, CAROL, World


async def whole_with(world: World, join: Event, target: UserId, membership: str) -> tuple[int, Answer]:
    """Return the state before an event with one member more, as a completed room has it."""
    room_id = join.room_id
    before = state.before(world.db, join.event_id)
    assert before is not None
    with world.db.batch() as batch:
        event_id = _outlier(world, batch, join, target, membership)
        key = short_ids.ensure_statekey(batch, "m.room.member", target)
        number = state_layers.with_event(batch, before, key, short_ids.ensure_event(batch, event_id))
    return number, Answer(join.version, room_id)


def _outlier(world: World, batch: Batch, join: Event, target: UserId, membership: str) -> EventId:
    event = build(
        world.ctx,
        batch,
        join.room_id,
        join.version,
        ALICE,
        "m.room.member",
        {"membership": membership},
        state_key=target,
    )
    room = short_ids.ensure_room(batch, join.room_id)
    auth = tuple([short_ids.ensure_event(batch, cited) for cited in event.auth_events])
    short = short_ids.ensure_event(batch, event.event_id)
    timeline.put_outlier(batch, event, short, EventMeta(OUTLIER, room, event.depth, auth))
    return event.event_id


async def test_states_and_members_follow_from_the_whole() -> None:
    """Every event since the join stands on the whole state; what nobody had said before is known; the room is whole."""
    world = World()
    room_id = world.create(ALICE)
    join = world.join(room_id, BOB)
    topic = world.set(room_id, ALICE, "m.room.topic", {"topic": "x"})
    said = world.say(room_id, BOB, "hello")
    number, answer = await whole_with(world, join, CAROL, "invite")
    with world.db.batch() as batch:
        known = partial.Partial(join.event_id, frozenset(), ())
        partial.begin(batch, room_id, known)
    async with world.ctx.locks.room(room_id):
        await restate.since(world.ctx, room_id, join.event_id, number, answer)
    for event in (join, topic, said):
        after = state.after(world.db, event.event_id)
        assert after is not None
        assert state.get_id(world.db, after, "m.room.member", CAROL) is not None
    assert members.membership(world.db, room_id, CAROL) == "invite"
    assert state.current_id(world.db, room_id, "m.room.topic") == topic.event_id
    assert [leaf.event_id for leaf in leaves.of(world.db, room_id)] == [said.event_id]
    assert not partial.is_partial(world.db, room_id)
    assert check(world.db) == []


async def test_event_that_the_whole_does_not_allow_goes_with_all_that_finds_it() -> None:
    """A message of somebody who turns out to be banned: out of the timeline, the leaves and the states."""
    world = World()
    room_id = world.create(ALICE)
    world.join(room_id, CAROL)
    join = world.join(room_id, BOB)
    bad = world.say(room_id, CAROL, "spam spam")
    number, answer = await whole_with(world, join, CAROL, "ban")
    async with world.ctx.locks.room(room_id):
        await restate.since(world.ctx, room_id, join.event_id, number, answer)
    assert timeline.position(world.db, bad.event_id) is None
    assert timeline.event(world.db, bad.event_id) is None
    assert [leaf.event_id for leaf in leaves.of(world.db, room_id)] == [join.event_id]
    assert members.membership(world.db, room_id, CAROL) == "ban"
    assert check(world.db) == []
    world.say(room_id, BOB, "afterwards")


async def test_restating_twice_is_restating_once() -> None:
    """After a crash it is done again, and comes to the same."""
    world = World()
    room_id = world.create(ALICE)
    join = world.join(room_id, BOB)
    world.say(room_id, BOB, "hello")
    number, answer = await whole_with(world, join, CAROL, "invite")
    for _ in range(2):
        async with world.ctx.locks.room(room_id):
            await restate.since(world.ctx, room_id, join.event_id, number, answer)
        current = dict(state.current_ids(world.db, RoomId(room_id)))
        assert len(current) == 6
    assert check(world.db) == []


async def test_restating_that_is_broken_off_after_an_event_has_gone_comes_to_the_same() -> None:
    """What stands on the event that has gone stands on the whole state all the same when it is done again."""
    world = World()
    room_id = world.create(ALICE)
    world.join(room_id, CAROL)
    join = world.join(room_id, BOB)
    for number in range(restate.STEP - 1):
        world.say(room_id, BOB, f"before {number}")
    bad = world.say(room_id, CAROL, "spam")
    later = [world.say(room_id, BOB, f"after {number}") for number in range(restate.STEP)]
    whole, answer = await whole_with(world, join, CAROL, "ban")

    async def again() -> None:
        async with world.ctx.locks.room(room_id):
            await restate.since(world.ctx, room_id, join.event_id, whole, answer)

    task = asyncio.create_task(again())
    for _ in range(10_000):
        if timeline.position(world.db, bad.event_id) is None:
            break
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await again()
    ban = state.get_id(world.db, whole, "m.room.member", CAROL)
    for event in later:
        after = state.after(world.db, event.event_id)
        assert after is not None
        assert state.get_id(world.db, after, "m.room.member", CAROL) == ban
    assert members.membership(world.db, room_id, CAROL) == "ban"
    assert check(world.db) == []
