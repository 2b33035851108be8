"""Auth chains, walked over the edges of events."""

from __future__ import annotations

from conduit.protocol.ids import EventId
from conduit.service.rooms import auth_chain, short_ids, state
from tests.support.rooms import ALICE, BOB, World


def shorts(world: World, *event_ids: str) -> set[int]:
    """Return the numbers of events."""
    found = short_ids.short_events(world.db, [EventId(event_id) for event_id in event_ids])
    return {short for short in found if short is not None}


def naive(world: World, room_id: str, start: str) -> set[int]:
    """Return the chain of an event by following its references."""
    events = {event.event_id: event for event in state.current_all(world.db, room_id)}  # type: ignore[arg-type]
    found: set[str] = set()
    waiting = list(events[EventId(start)].auth_events)
    while waiting:
        event_id = waiting.pop()
        if event_id not in found:
            found.add(event_id)
            waiting += events[event_id].auth_events
    return shorts(world, *found)


def test_chain_holds_all_that_authorises_an_event_and_not_the_event() -> None:
    """The create event, power levels, the sender's join, and what authorised those."""
    world = World()
    room_id = world.create()
    topic = world.set(room_id, ALICE, "m.room.topic", {"topic": "x"})
    assert auth_chain.chain(world.db, shorts(world, topic.event_id)) == naive(world, room_id, topic.event_id)
    whole = auth_chain.with_chain(world.db, shorts(world, topic.event_id))
    assert whole == naive(world, room_id, topic.event_id) | shorts(world, topic.event_id)


def test_event_is_in_the_chain_of_several_if_another_leads_to_it() -> None:
    """As in the answer to who asks for a whole state."""
    world = World()
    room_id = world.create()
    create = state.current_id(world.db, room_id, "m.room.create")
    assert create is not None
    topic = world.set(room_id, ALICE, "m.room.topic", {"topic": "x"})
    both = shorts(world, create, topic.event_id)
    assert shorts(world, create) <= auth_chain.chain(world.db, both)
    assert not shorts(world, topic.event_id) & auth_chain.chain(world.db, both)


def test_difference_is_what_some_chains_have_and_not_all() -> None:
    """Two members joined by the same rules differ in their joins only."""
    world = World()
    room_id = world.create()
    one = world.say(room_id, ALICE, "one")
    world.join(room_id, BOB)
    two = world.say(room_id, BOB, "two")
    alice, bob = (state.current_id(world.db, room_id, "m.room.member", user) for user in (ALICE, BOB))
    assert alice is not None
    assert bob is not None
    found = auth_chain.difference(world.db, [shorts(world, one.event_id), shorts(world, two.event_id)])
    assert shorts(world, one.event_id, two.event_id, bob) <= found
    assert not found & shorts(world, alice)
    assert auth_chain.difference(world.db, []) == set()


def test_unknown_events_end_a_chain() -> None:
    """What was only spoken of leads no further."""
    world = World()
    with world.db.batch() as batch:
        short = short_ids.ensure_event(batch, EventId("$unknown"))
    assert auth_chain.chain(world.db, [short]) == set()
    assert auth_chain.auth_of(world.db, short) == ()


def test_whether_a_chain_is_long_is_told_without_walking_all_of_it() -> None:
    """Events and chain together count, each once."""
    world = World()
    room_id = world.create()
    topic = world.set(room_id, ALICE, "m.room.topic", {"topic": "x"})
    whole = auth_chain.with_chain(world.db, shorts(world, topic.event_id))
    assert auth_chain.is_long(world.db, shorts(world, topic.event_id), len(whole) - 1)
    assert not auth_chain.is_long(world.db, shorts(world, topic.event_id), len(whole))
    assert not auth_chain.is_long(world.db, [], 0)
