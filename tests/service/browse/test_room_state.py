"""Which state of a room somebody reads: now, as it was left, or at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
import pytest

from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import RoomId, UserId
from conduit.service.browse import room_state
from conduit.service.browse.room_state import Body
from conduit.service.rooms import members, state
from tests.support.rooms import ALICE, BOB, CAROL, World


async def collected(body: Awaitable[Body]) -> bytes:
    """Return a list that is whole."""
    found = await body
    assert isinstance(found, bytes)
    return found


def name_seen(world: World, room_id: RoomId, user_id: UserId, count: int | None = None) -> str:
    """Return the room's name as a user reads it."""
    if count is None:
        number = room_state.readable(world.db, room_id, user_id)
    else:
        number = room_state.readable_at(world.db, room_id, user_id, count)
    return str(room_state.one(world.db, room_id, number, "m.room.name", "").content["name"])


def rename(world: World, room_id: RoomId, name: str) -> int:
    """Set the room's name and return the count at which it held."""
    world.set(room_id, ALICE, "m.room.name", {"name": name})
    return world.db.current_count()


def test_readable_for_who_has_left_is_the_state_at_the_leave() -> None:
    """Later changes are not seen, by leaving, being kicked or being banned."""
    world = World()
    for way in ("leave", "kick", "ban"):
        room_id = world.create(ALICE)
        world.join(room_id, BOB)
        rename(world, room_id, "then")
        sender, membership = (BOB, "leave") if way == "leave" else (ALICE, "leave" if way == "kick" else "ban")
        world.set(room_id, sender, "m.room.member", {"membership": membership}, BOB)
        rename(world, room_id, "now")
        assert name_seen(world, room_id, BOB) == "then"
        assert name_seen(world, room_id, ALICE) == "now"


def test_readable_after_a_rejected_invite_is_still_the_state_at_the_leave() -> None:
    """An invite that is rejected, or still open, shows nothing new to who was in the room before."""
    world = World()
    room_id = world.create(ALICE)
    world.join(room_id, BOB)
    rename(world, room_id, "then")
    world.set(room_id, BOB, "m.room.member", {"membership": "leave"}, BOB)
    rename(world, room_id, "now")
    world.set(room_id, ALICE, "m.room.member", {"membership": "invite"}, BOB)
    assert name_seen(world, room_id, BOB) == "then"
    world.set(room_id, BOB, "m.room.member", {"membership": "leave"}, BOB)
    assert name_seen(world, room_id, BOB) == "then"


def test_readable_for_who_was_never_in_the_room_is_nothing() -> None:
    """Neither an invite, nor its rejection, nor a ban opens the room."""
    world = World()
    room_id = world.create(ALICE)
    for user, steps in ((BOB, [(ALICE, "invite"), (BOB, "leave")]), (CAROL, [(ALICE, "ban")])):
        for sender, membership in steps:
            world.set(room_id, sender, "m.room.member", {"membership": membership}, user)
            with pytest.raises(Forbidden):
                room_state.readable(world.db, room_id, user)
    with pytest.raises(Forbidden):
        room_state.readable(world.db, RoomId("!nowhere:localhost"), ALICE)


def test_readable_for_who_forgot_the_room_is_nothing() -> None:
    """Forgetting ends access."""
    world = World()
    room_id = world.create(ALICE)
    world.join(room_id, BOB)
    world.set(room_id, BOB, "m.room.member", {"membership": "leave"}, BOB)
    with world.db.batch() as batch:
        members.forget(batch, room_id, BOB)
    with pytest.raises(Forbidden):
        room_state.readable(world.db, room_id, BOB)


def test_readable_at_a_count_is_the_state_then() -> None:
    """A member reads the past of a shared room."""
    world = World()
    room_id = world.create(ALICE)
    one = rename(world, room_id, "one")
    rename(world, room_id, "two")
    world.join(room_id, BOB)
    assert name_seen(world, room_id, ALICE, one) == "one"
    assert name_seen(world, room_id, BOB, one) == "one"
    assert name_seen(world, room_id, BOB, world.db.current_count()) == "two"


def test_readable_at_a_count_before_the_join_is_closed_where_history_is() -> None:
    """With history visible to members of the time only, newcomers do not read the past."""
    world = World()
    room_id = world.create(ALICE)
    world.set(room_id, ALICE, "m.room.history_visibility", {"history_visibility": "joined"})
    one = rename(world, room_id, "one")
    world.join(room_id, BOB)
    with pytest.raises(Forbidden):
        room_state.readable_at(world.db, room_id, BOB, one)
    assert name_seen(world, room_id, BOB, world.db.current_count()) == "one"


def test_readable_at_a_count_after_the_leave_is_the_state_at_the_leave() -> None:
    """Whoever has left cannot look past that by a newer token."""
    world = World()
    room_id = world.create(ALICE)
    world.join(room_id, BOB)
    then = rename(world, room_id, "then")
    world.set(room_id, BOB, "m.room.member", {"membership": "leave"}, BOB)
    now = rename(world, room_id, "now")
    assert name_seen(world, room_id, BOB, now) == "then"
    assert name_seen(world, room_id, BOB, then) == "then"


async def test_readable_at_a_count_before_the_room_is_the_empty_state() -> None:
    """Nobody was in it yet; who is not to look into the room learns not even that."""
    world = World()
    room_id = world.create(ALICE)
    number = room_state.readable_at(world.db, room_id, ALICE, 0)
    assert await collected(room_state.member_list(world.ctx, room_id, number)) == b'{"chunk":[]}'
    with pytest.raises(Forbidden):
        room_state.readable_at(world.db, room_id, BOB, 0)


async def test_lists_of_the_past_and_the_present_agree_with_the_state() -> None:
    """Whole state and members of any state hold exactly its events."""
    world = World()
    room_id = world.create(ALICE)
    numbers = []
    for user in (BOB, CAROL):
        world.join(room_id, user)
        head = state.head(world.db, room_id)
        assert head is not None
        numbers.append(head.state)
    for number, expected in zip(numbers, ({ALICE, BOB}, {ALICE, BOB, CAROL}), strict=True):
        for _ in range(2):
            whole = orjson.loads(await collected(room_state.whole(world.ctx, room_id, number)))
            assert {event["event_id"] for event in whole} == {
                event.event_id for event in state.events_at(world.db, number)
            }
            listed = orjson.loads(await collected(room_state.member_list(world.ctx, room_id, number)))["chunk"]
            assert {event["state_key"] for event in listed} == expected


async def test_lists_of_large_states_are_sent_as_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """They hold the same, come in pieces, and are not kept."""
    world = World()
    room_id = world.create(ALICE)
    for user_id in (BOB, CAROL):
        world.join(room_id, user_id)
    head = state.head(world.db, room_id)
    assert head is not None
    lists: list[Callable[[], Awaitable[Body]]] = [
        lambda: room_state.whole(world.ctx, room_id, head.state),
        lambda: room_state.member_list(world.ctx, room_id, head.state, membership="join"),
        lambda: room_state.joined_members(world.ctx, room_id, ALICE),
    ]
    kept = [await make() for make in lists]
    monkeypatch.setattr(room_state, "MAX_WHOLE", 3)
    for make, body in zip(lists, kept, strict=True):
        sent = await make()
        assert not isinstance(sent, bytes)
        assert b"".join([piece async for piece in sent]) == body


async def test_joined_members_are_shown_to_members_only() -> None:
    """Who is not in the room is refused; who has left is not listed."""
    world = World()
    room_id = world.create(ALICE)
    world.join(room_id, BOB, displayname="Bob", avatar_url="mxc://localhost/bob")
    world.join(room_id, CAROL)
    world.leave(room_id, CAROL)
    with pytest.raises(Forbidden):
        await room_state.joined_members(world.ctx, room_id, CAROL)
    listed = orjson.loads(await collected(room_state.joined_members(world.ctx, room_id, ALICE)))["joined"]
    assert listed == {ALICE: {}, BOB: {"display_name": "Bob", "avatar_url": "mxc://localhost/bob"}}
