"""Tests of what the acceptance of an event writes, and whom it wakes."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.database import layouts, trees
from conduit.protocol.errors import MatrixError
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.protocol.room_versions import SUPPORTED
from conduit.service.rooms import members, short_ids, state, timeline
from tests.support import invariants
from tests.support.rooms import ALICE, BOB, CAROL, World, users

DAVE = UserId("@dave:remote.example")
PEOPLE = [ALICE, BOB, CAROL, DAVE]


@pytest.mark.parametrize("version", SUPPORTED)
def test_history_of_a_room_leaves_all_trees_in_agreement(version: str) -> None:
    """After joins, messages, reactions, threads, edits and redactions every tree says the same, cached and on disk."""
    world = World()
    room_id = world.create(version=version, join_rule="invite")
    world.member(room_id, ALICE, BOB, "invite")
    world.join(room_id, BOB)
    root = world.say(room_id, BOB, "root of all")
    reply = world.say(
        room_id, ALICE, "a reply", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root.event_id}}
    )
    annotation = {"rel_type": "m.annotation", "event_id": root.event_id, "key": "x"}
    world.send(room_id, ALICE, "m.reaction", {"m.relates_to": annotation})
    world.set(room_id, ALICE, "m.room.topic", {"topic": "words"})
    world.redact(room_id, ALICE, reply.event_id)
    world.member(room_id, ALICE, BOB, "leave", reason="enough")
    invariants.check_all(world.db)


def test_rows_of_a_message_are_all_there() -> None:
    """A message has its number, its position, its facts, its states and its leaf."""
    world = World()
    room_id = world.create()
    before = world.say(room_id, ALICE, "one")
    event = world.say(room_id, ALICE, "two")
    db = world.db
    room, short = short_ids.short_room(db, room_id), short_ids.short_event(db, event.event_id)
    assert room is not None
    assert short is not None
    place = trees.eventid_pduid.get(db, event.event_id)
    assert place is not None
    stored = trees.pduid_pdu.get(db, place)
    assert stored is not None
    assert b'"event_id"' in stored
    assert b'"unsigned"' not in stored
    facts = trees.shorteventid_meta.get(db, short)
    assert facts is not None
    assert facts.status == layouts.ACCEPTED
    assert trees.room_events.has(db, (room, short))
    assert trees.shorteventid_shortstatehash.has(db, short)
    assert trees.shorteventid_stateafter.has(db, short)
    assert trees.roomid_pduleaves.get(db, (room_id, event.event_id)) == event.event_id
    assert not trees.roomid_pduleaves.has(db, (room_id, before.event_id))
    assert trees.referencedevents.has(db, (room_id, before.event_id))
    assert not trees.roomsynctoken_shortstatehash.first(db)
    assert not trees.shorteventid_authchain.first(db)


def test_state_change_is_in_the_history_from_its_own_position_on() -> None:
    """The room's state at the count of a state event is the one after it, at the count before the one before."""
    world = World()
    room_id = world.create()
    old = state.head(world.db, room_id)
    event = world.set(room_id, ALICE, "m.room.name", {"name": "x"})
    place = timeline.position(world.db, event.event_id)
    assert old is not None
    assert place is not None
    assert state.at_count(world.db, room_id, place.live - 1) == old.state
    assert state.at_count(world.db, room_id, place.live) == state.after(world.db, event.event_id)
    assert place.live == world.db.current_count()


def test_servers_in_the_room_are_queued_for() -> None:
    """Every other server in the room gets the event, the one whose last user it removes included, ours none."""
    world = World(allow_federation=True)
    room_id = world.create()
    world.join(room_id, BOB)
    world.join(room_id, DAVE)
    assert list(trees.destination_queue.keys(world.db)) == []
    message = world.say(room_id, ALICE, "x")
    kick = world.member(room_id, ALICE, DAVE, "leave")
    world.say(room_id, ALICE, "y")
    places = [timeline.position(world.db, event.event_id) for event in (message, kick)]
    rows = list(trees.destination_queue.scan(world.db))
    assert [key[0] for key, _ in rows] == ["remote.example"] * 2
    assert [layouts.PDU_ID.decode(value) for _, value in rows] == places


def test_nothing_is_queued_without_federation() -> None:
    """A server that does not federate keeps no queue."""
    world = World(allow_federation=False)
    room_id = world.create()
    world.join(room_id, DAVE)
    world.say(room_id, ALICE, "x")
    assert list(trees.destination_queue.keys(world.db)) == []


async def test_members_and_the_target_are_woken_and_nobody_else() -> None:
    """A message wakes who is in the room; an invite also the invited; strangers and remote users are left alone."""
    world = World()
    room_id = world.create()
    world.join(room_id, BOB)

    async def woken_by(sent: object) -> set[str]:
        return {user for user, waiter in waiters.items() if await waiter.wait(0.001)}

    waiters = {user: world.db.watch.register([("user", user)]) for user in PEOPLE}
    world.say(room_id, BOB, "x")
    await world.db.durable()
    assert await woken_by(None) == {ALICE, BOB}
    world.member(room_id, ALICE, CAROL, "invite")
    await asyncio.sleep(0)
    assert await woken_by(None) == {ALICE, BOB, CAROL}
    world.leave(room_id, CAROL)
    assert await woken_by(None) == {ALICE, BOB, CAROL}
    world.say(room_id, BOB, "y")
    assert await woken_by(None) == {ALICE, BOB}


def test_dropped_batch_writes_nothing() -> None:
    """If anything in the deed's batch fails, no tree has changed, and the next event is as if nothing had been."""
    world = World()
    room_id = world.create()
    world.say(room_id, ALICE, "before")
    rows = {tree.name: list(world.db.scan(tree.name, b"", None)) for tree in trees.TREES}

    def fail() -> None:
        from conduit.service.events import RoomView

        with world.db.batch() as batch:
            view = RoomView.open(world.ctx, batch, room_id)
            view.add(BOB, "m.room.member", {"membership": "join"}, state_key=BOB)
            view.add(BOB, "m.room.message", {"msgtype": "m.text", "body": "lost words"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert {tree.name: list(world.db.scan(tree.name, b"", None)) for tree in trees.TREES} == rows
    world.say(room_id, ALICE, "after")
    invariants.check_all(world.db)


def test_large_rooms_keep_all_in_agreement() -> None:
    """With hundreds of members coming and going, the cheap copies of member sets say what the trees do."""
    world = World()
    room_id = world.create()
    crowd = [*users(120), *users(40, "remote.example")]
    for user_id in crowd:
        world.join(room_id, user_id)
    for user_id in crowd[::3]:
        world.leave(room_id, user_id)
    for user_id in crowd[::6]:
        world.join(room_id, user_id)
    invariants.check_all(world.db)


ACTS = st.lists(
    st.tuples(
        st.sampled_from(PEOPLE),
        st.sampled_from(
            ["say", "reply", "react", "edit", "redact", "name", "join", "leave", "invite", "kick", "forget"]
        ),
        st.integers(0, 9),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(ACTS, st.sampled_from(["1", "6", "11", "12"]), st.booleans())
def test_random_histories_keep_all_trees_in_agreement(
    acts: list[tuple[UserId, str, int]], version: str, cold: bool
) -> None:
    """Whatever happens in a room, in any order and with or without warm caches, every tree agrees with the events."""
    world = World()
    room_id = world.create(version=version, users={BOB: 50})
    events: list[EventId] = [world.say(room_id, ALICE, "first words").event_id]
    for who, act, number in acts:
        target = events[number % len(events)]
        other = PEOPLE[number % len(PEOPLE)]
        if cold:
            world.db.cache_pool.clear()
        try:
            events.append(_act(world, room_id, who, act, target, other, number))
        except MatrixError:
            continue
    invariants.check_all(world.db)


def _act(world: World, room_id: RoomId, who: UserId, act: str, target: EventId, other: UserId, number: int) -> EventId:
    if act == "forget":
        with world.db.batch() as batch:
            members.forget(batch, room_id, who)
        return target
    if act == "say":
        return world.say(room_id, who, f"words number {number}").event_id
    if act == "reply":
        return world.say(room_id, who, "r", **{"m.relates_to": {"rel_type": "m.thread", "event_id": target}}).event_id
    if act == "react":
        relates_to = {"rel_type": "m.annotation", "event_id": target, "key": str(number)}
        return world.send(room_id, who, "m.reaction", {"m.relates_to": relates_to}).event_id
    if act == "edit":
        content = {"m.new_content": {"body": "new"}, "m.relates_to": {"rel_type": "m.replace", "event_id": target}}
        return world.say(room_id, who, "* new", **content).event_id
    if act == "redact":
        return world.redact(room_id, who, target).event_id
    if act == "name":
        return world.set(room_id, who, "m.room.name", {"name": f"name {number}"}).event_id
    if act in ("join", "leave"):
        return world.member(room_id, who, who, act, displayname=str(number)).event_id
    return world.member(room_id, who, other, "invite" if act == "invite" else "leave").event_id
