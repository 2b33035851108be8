"""Tests of memberships by user and by room."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.database import trees
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import RoomId, ServerName, UserId, server_name_of
from conduit.service.rooms import members
from tests.support import invariants
from tests.support.rooms import ALICE, BOB, CAROL, SERVER, World, users

DAVE = UserId("@dave:remote.example")
REMOTE = ServerName("remote.example")
UNKNOWN = RoomId("!unknown:localhost")


def test_membership_follows_the_member_events() -> None:
    """Invite, join, leave and ban are each seen from the user's and from the room's side."""
    world = World()
    room_id = world.create(join_rule="invite")
    assert members.membership(world.db, room_id, BOB) is None
    for membership, sender in (("invite", ALICE), ("join", BOB), ("leave", BOB), ("ban", ALICE)):
        world.member(room_id, sender, BOB, membership)
        assert members.membership(world.db, room_id, BOB) == membership
        assert members.rooms(world.db, BOB, membership) == [room_id]
        assert members.is_joined(world.db, room_id, BOB) == (membership == "join")
        invariants.check_all(world.db)
    assert members.was_ever_joined(world.db, room_id, BOB)
    assert not members.was_ever_joined(world.db, room_id, CAROL)


def test_other_users_whose_ids_begin_alike_are_apart() -> None:
    """A user's rooms are not those of somebody whose id continues theirs (Conduit's prefix trap)."""
    world = World()
    short, long = UserId("@b:localhost"), UserId("@b:localhost2")
    room_id = world.create()
    world.join(room_id, long)
    assert members.rooms(world.db, short) == []
    assert members.membership(world.db, room_id, short) is None
    assert members.joined_local(world.db, room_id, SERVER) == {ALICE}


def test_counts_and_servers_follow_joins_and_leaves() -> None:
    """A server is in the room from its first joined user to its last."""
    world = World()
    room_id = world.create()
    for user_id in (DAVE, BOB, CAROL):
        world.join(room_id, user_id)
    assert members.joined(world.db, room_id) == {ALICE, BOB, CAROL, DAVE}
    assert members.joined_count(world.db, room_id) == 4
    assert members.joined_local(world.db, room_id, SERVER) == {ALICE, BOB, CAROL}
    assert set(members.servers(world.db, room_id)) == {SERVER, REMOTE}
    assert members.rooms_of_server(world.db, REMOTE) == [room_id]
    world.leave(room_id, DAVE)
    world.leave(room_id, BOB)
    assert members.servers(world.db, room_id) == [SERVER]
    assert members.rooms_of_server(world.db, REMOTE) == []
    assert members.joined_count(world.db, room_id) == 2
    invariants.check_all(world.db)


def test_invited_users_are_counted_and_given_stripped_state() -> None:
    """An invite tells its target of the room, and both vanish with the join."""
    world = World()
    room_id = world.create(join_rule="invite")
    world.set(room_id, ALICE, "m.room.name", {"name": "Den"})
    world.member(room_id, ALICE, BOB, "invite")
    assert members.invited(world.db, room_id) == [BOB]
    assert members.invited_count(world.db, room_id) == 1
    stripped = {(event["type"], event["state_key"]) for event in members.invite_state(world.db, room_id, BOB)}
    assert stripped >= {
        ("m.room.create", ""),
        ("m.room.name", ""),
        ("m.room.join_rules", ""),
        ("m.room.member", ALICE),
        ("m.room.member", BOB),
    }
    world.join(room_id, BOB)
    assert members.invited_count(world.db, room_id) == 0
    assert members.invite_state(world.db, room_id, BOB) == []


def test_knocking_user_is_given_stripped_state() -> None:
    """Somebody who knocks sees what an invited user would see."""
    world = World()
    room_id = world.create(join_rule="knock")
    world.member(room_id, BOB, BOB, "knock")
    assert members.knocking(world.db, room_id) == [BOB]
    assert members.knock_state(world.db, room_id, BOB)
    world.leave(room_id, BOB)
    assert members.knocking(world.db, room_id) == []
    assert members.knock_state(world.db, room_id, BOB) == []


def test_stream_holds_one_row_for_each_room_at_its_latest_change() -> None:
    """A stream read since a count shows each room once, where its membership last changed."""
    world = World()
    one, other = world.create(), world.create()
    start = world.db.current_count()
    world.join(one, BOB)
    world.join(other, BOB)
    middle = world.db.current_count()
    world.leave(one, BOB)
    end = world.db.current_count()
    assert [change.room_id for change in members.changes(world.db, BOB, start, end)] == [other, one]
    assert [change.room_id for change in members.changes(world.db, BOB, middle, end)] == [one]
    assert [change.room_id for change in members.changes(world.db, BOB, start, middle)] == [other]
    assert members.changes(world.db, BOB, end, end + 10) == []


def test_new_display_name_is_no_change_of_membership() -> None:
    """The stream and the count since when somebody is in stay, the event behind the membership is the new one."""
    world = World()
    room_id = world.create()
    world.join(room_id, BOB)
    before = members.entry(world.db, room_id, BOB)
    count = world.db.current_count()
    world.join(room_id, BOB, displayname="Robert")
    after = members.entry(world.db, room_id, BOB)
    assert before is not None
    assert after is not None
    assert after.since == before.since
    assert after.event != before.event
    assert members.changes(world.db, BOB, count, world.db.current_count()) == []


def test_forgotten_room_is_gone_until_something_happens_in_it() -> None:
    """A room that was left and forgotten is in no list; joining it again brings it back."""
    world = World()
    room_id = world.create()
    world.join(room_id, BOB)
    world.leave(room_id, BOB)
    assert not members.is_forgotten(world.db, room_id, BOB)
    with world.db.batch() as batch:
        members.forget(batch, room_id, BOB)
        members.forget(batch, room_id, BOB)
    for _ in range(2):
        assert members.is_forgotten(world.db, room_id, BOB)
        assert members.membership(world.db, room_id, BOB) is None
        assert members.rooms(world.db, BOB, "leave") == []
        # A device that has not heard of the leave yet still must.
        assert len(members.changes(world.db, BOB, 0, world.db.current_count())) == 1
        world.db.cache_pool.clear()
    invariants.check_all(world.db)
    world.join(room_id, BOB)
    assert not members.is_forgotten(world.db, room_id, BOB)
    assert members.rooms(world.db, BOB) == [room_id]
    invariants.check_all(world.db)


def test_joined_room_is_not_forgotten() -> None:
    """Forgetting a room that one is in does nothing."""
    world = World()
    room_id = world.create()
    with world.db.batch() as batch:
        members.forget(batch, room_id, ALICE)
    assert members.rooms(world.db, ALICE) == [room_id]


def test_shared_rooms_are_those_both_are_joined_to() -> None:
    """Neither an invite nor a room left counts as shared."""
    world = World()
    one, other, third = world.create(), world.create(join_rule="invite"), world.create()
    world.join(one, BOB)
    world.member(other, ALICE, BOB, "invite")
    world.join(third, BOB)
    world.leave(third, BOB)
    assert members.share_room(world.db, ALICE, BOB)
    assert members.shared_rooms(world.db, ALICE, BOB) == [one]
    assert members.shared_rooms(world.db, BOB, ALICE) == [one]
    assert not members.share_room(world.db, BOB, CAROL)


def test_batch_sees_its_own_members_and_a_dropped_one_leaves_nothing() -> None:
    """Within a batch a join is seen by every read; if the batch fails, nobody has joined."""
    world = World()
    room_id = world.create()
    assert members.rooms(world.db, BOB) == []
    assert members.joined(world.db, room_id) == {ALICE}

    def fail() -> None:
        from conduit.service.events import RoomView

        with world.db.batch() as batch:
            view = RoomView.open(world.ctx, batch, room_id)
            view.add(BOB, "m.room.member", {"membership": "join"}, state_key=BOB)
            assert members.joined(batch, room_id) == {ALICE, BOB}
            assert members.rooms(batch, BOB) == [room_id]
            assert members.joined_count(batch, room_id) == 2
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert members.joined(world.db, room_id) == {ALICE}
    assert members.rooms(world.db, BOB) == []
    assert members.joined_count(world.db, room_id) == 1


def test_view_of_members_stays_as_it_was_given() -> None:
    """A reader who holds a room's members keeps that moment while others come and go."""
    world = World()
    room_id = world.create()
    held = members.joined(world.db, room_id)
    keys = members.crowds(world.db, room_id, SERVER)
    for user_id in users(60):
        world.join(room_id, user_id)
    assert held == {ALICE}
    assert ("user", users(1)[0]) not in frozenset[tuple[str, str]]().union(*keys)
    invariants.check_all(world.db)


def test_federated_invite_stands_without_a_known_room() -> None:
    """An invite from another server is a membership of its own, and may be rejected and forgotten."""
    world = World()
    stripped = [{"type": "m.room.name", "state_key": "", "sender": DAVE, "content": {"name": "Away"}}]
    with world.db.batch() as batch:
        count = batch.next_count()
        members.record(batch, UNKNOWN, BOB, "invite", count=count, event=0, stripped=stripped)
    assert members.membership(world.db, UNKNOWN, BOB) == "invite"
    assert members.invite_state(world.db, UNKNOWN, BOB) == stripped
    with world.db.batch() as batch:
        old = members.record(batch, UNKNOWN, BOB, "leave", count=batch.next_count(), event=0)
        members.forget(batch, UNKNOWN, BOB)
    assert old == "invite"
    assert members.rooms(world.db, BOB, "invite") == []
    assert trees.roomid_invitedcount.get(world.db, UNKNOWN) == 0


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([ALICE, BOB, CAROL, DAVE]),
            st.sampled_from([ALICE, BOB, CAROL, DAVE]),
            st.sampled_from(["join", "invite", "leave", "ban", "knock", "forget"]),
            st.integers(0, 2),
        ),
        max_size=50,
    ),
    st.sampled_from(["public", "invite", "knock"]),
)
def test_random_memberships_keep_all_trees_in_agreement(
    acts: list[tuple[UserId, UserId, str, int]], join_rule: str
) -> None:
    """Whatever people do to each other, every index agrees with the room's state, cached and on disk."""
    world = World()
    room_id = world.create(join_rule=join_rule, users={BOB: 60})
    for sender, target, act, name in acts:
        if act == "forget":
            with world.db.batch() as batch:
                members.forget(batch, room_id, target)
            continue
        try:
            world.member(room_id, sender, target, act, displayname=str(name))
        except Forbidden:
            continue
    invariants.check_all(world.db)
    for user_id in (ALICE, BOB, CAROL, DAVE):
        assert server_name_of(user_id) in (SERVER, REMOTE)
        listed = [
            kind for kind in ("join", "invite", "knock", "leave", "ban") if members.rooms(world.db, user_id, kind)
        ]
        assert len(listed) <= 1


async def test_sender_hears_who_comes_into_a_room() -> None:
    """Once each; and finds the servers there."""
    world = World()
    room_id = world.create()
    with world.db.watch.subscribe("entered") as news:
        world.join(room_id, BOB)
        world.join(room_id, BOB, displayname="Bob")
        assert await news.take(0) == [("entered", room_id, BOB)]
    assert members.has_server(world.db, room_id, "localhost")
    assert not members.has_server(world.db, room_id, "elsewhere.example")


def test_forgotten_room_stays_so_when_the_user_is_banned() -> None:
    """What is decided about somebody who is out and has forgotten the room is no news to them; an invite is."""
    world = World()
    room_id = world.create()
    world.join(room_id, BOB)
    world.leave(room_id, BOB)
    with world.db.batch() as batch:
        members.forget(batch, room_id, BOB)
    before = world.db.current_count()
    for membership in ("ban", "leave"):
        world.member(room_id, ALICE, BOB, membership)
        assert members.membership(world.db, room_id, BOB) is None
        assert members.is_forgotten(world.db, room_id, BOB)
        assert members.changes(world.db, BOB, before, world.db.current_count()) == []
        invariants.check_all(world.db)
    world.member(room_id, ALICE, BOB, "invite")
    assert members.membership(world.db, room_id, BOB) == "invite"
    invariants.check_all(world.db)
