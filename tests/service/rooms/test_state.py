"""Tests of the state of rooms: now, at events, at counts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.protocol.ids import RoomId
from conduit.service.rooms import short_ids, state
from tests.support import invariants
from tests.support.rooms import ALICE, BOB, CAROL, World

UNKNOWN = RoomId("!unknown:localhost")


def test_current_state_is_the_latest_event_of_each_key() -> None:
    """A later event of a state key takes the place of the earlier one in every view of the present."""
    world = World()
    room_id = world.create()
    world.set(room_id, ALICE, "m.room.name", {"name": "old"})
    named = world.set(room_id, ALICE, "m.room.name", {"name": "new"})
    for _ in range(2):
        assert state.current(world.db, room_id, "m.room.name") == named
        assert state.current_id(world.db, room_id, "m.room.name") == named.event_id
        assert state.current_ids(world.db, room_id)["m.room.name", ""] == named.event_id
        assert named in state.current_all(world.db, room_id)
        assert set(state.current_of_type(world.db, room_id, "m.room.member")) == {ALICE}
        world.db.cache_pool.clear()


def test_unknown_rooms_and_keys_are_absent() -> None:
    """What does not exist is `None` or empty, never an error."""
    world = World()
    room_id = world.create()
    assert not state.exists(world.db, UNKNOWN)
    assert state.head(world.db, UNKNOWN) is None
    assert state.current(world.db, UNKNOWN, "m.room.name") is None
    assert state.current_ids(world.db, UNKNOWN) == {}
    assert state.current_all(world.db, UNKNOWN) == []
    assert state.at_count(world.db, UNKNOWN, 10**6) is None
    assert state.exists(world.db, room_id)
    assert state.current(world.db, room_id, "m.room.name") is None
    head = state.head(world.db, room_id)
    assert head is not None
    assert state.get(world.db, head.state, "m.room.name") is None


def test_message_leaves_the_state_alone() -> None:
    """The states before and after a message are one, and the room's head does not move."""
    world = World()
    room_id = world.create()
    head = state.head(world.db, room_id)
    event = world.say(room_id, ALICE, "x")
    assert state.head(world.db, room_id) == head
    assert head is not None
    assert state.before(world.db, event.event_id) == state.after(world.db, event.event_id) == head.state


def test_states_around_a_change_differ_by_it() -> None:
    """`diff` of the states before and after a change names the old and the new event of the key."""
    world = World()
    room_id = world.create()
    old = world.set(room_id, ALICE, "m.room.topic", {"topic": "a"})
    new = world.set(room_id, ALICE, "m.room.topic", {"topic": "b"})
    before, after = state.before(world.db, new.event_id), state.after(world.db, new.event_id)
    assert before is not None
    assert after is not None
    assert state.get(world.db, before, "m.room.topic") == old
    assert state.get(world.db, after, "m.room.topic") == new
    added, removed = state.diff(world.db, before, after)
    assert state.events_of(world.db, added.values()) == [new]
    assert state.events_of(world.db, removed.values()) == [old]
    assert {short_ids.statekey_of(world.db, key) for key in added} == {("m.room.topic", "")}
    assert old in state.events_at(world.db, before)
    assert old not in state.events_at(world.db, after)


def test_at_count_gives_the_state_of_that_moment() -> None:
    """At each count of the counter the room has the state that it then had, also long afterwards."""
    world = World()
    room_id = world.create()
    seen = {}
    for number in range(8):
        event = world.set(room_id, ALICE, "m.room.topic", {"topic": str(number)})
        world.say(room_id, ALICE, "between")
        seen[world.db.current_count()] = event
    for count, event in seen.items():
        number_then = state.at_count(world.db, room_id, count)
        assert number_then is not None
        assert state.get(world.db, number_then, "m.room.topic") == event
    assert state.at_count(world.db, room_id, 0) is None


def test_power_levels_follow_their_event_and_its_redaction() -> None:
    """The levels kept at hand are those of the current event, pruned if it is redacted."""
    world = World()
    room_id = world.create(users={BOB: 50})
    assert state.power_levels(world.db, room_id).user(BOB) == 50
    levels = {"users": {ALICE: 100, CAROL: 40}, "notifications": {"room": 10}}
    event = world.set(room_id, ALICE, "m.room.power_levels", levels)
    assert state.power_levels(world.db, room_id).user(BOB) == 0
    assert state.power_levels(world.db, room_id).notifications("room") == 10
    world.redact(room_id, ALICE, event.event_id)
    assert state.power_levels(world.db, room_id).user(CAROL) == 40
    assert state.power_levels(world.db, room_id).notifications("room") == 50


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["m.room.name", "m.room.topic", "org.example.a", "org.example.b", "m.room.message"]),
            st.sampled_from(["", "x", "y"]),
            st.integers(0, 2),
        ),
        max_size=40,
    )
)
def test_random_changes_give_the_states_of_a_naive_model(changes: list[tuple[str, str, int]]) -> None:
    """After any sequence of changes the state before and after each event, and at each count, is a dictionary's."""
    world = World()
    room_id = world.create()
    for event_type, key, value in changes:
        if event_type == "m.room.message":
            world.say(room_id, ALICE, str(value))
        else:
            world.set(room_id, ALICE, event_type, {"value": value}, key)
    invariants.check_all(world.db)
