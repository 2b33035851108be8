"""The content of member events, and the limits that the rules do not know."""

from __future__ import annotations

import pytest

from conduit.database import trees
from conduit.protocol.errors import BadJson, Forbidden, GuestAccessForbidden
from conduit.protocol.ids import RoomId, ServerName, UserId
from conduit.service.actions import membership
from conduit.service.rooms import members
from conduit.service.users import profiles
from tests.support.rooms import ALICE, BOB, World


def test_content_has_the_profile_unless_another_is_given() -> None:
    """Joins, invites and knocks carry the profile; what the client says of it goes first; leaves carry none."""
    world = World()
    with world.db.batch() as batch:
        profiles.set_displayname(batch, ALICE, "Alice")
    for value in ("join", "invite", "knock"):
        assert membership.content_of(world.db, ALICE, value) == {"membership": value, "displayname": "Alice"}
    for value in ("leave", "ban"):
        assert membership.content_of(world.db, ALICE, value, reason="x") == {"membership": value, "reason": "x"}
    other = membership.content_of(world.db, ALICE, "join", extra={"displayname": "A.", "n": 1})
    assert other == {"membership": "join", "displayname": "A.", "n": 1}


def test_content_from_a_client_cannot_speak_for_the_server() -> None:
    """What only the server may say is dropped, and fields of the wrong type are refused."""
    world = World()
    extra = {"membership": "ban", "join_authorised_via_users_server": "@x:y", "third_party_signed": {}}
    assert membership.content_of(world.db, BOB, "join", extra=extra) == {"membership": "join"}
    for name in ("displayname", "avatar_url", "reason"):
        with pytest.raises(BadJson):
            membership.content_of(world.db, BOB, "join", extra={name: ["x"]})


def test_rooms_are_here_with_somebody_here_or_nobody_anywhere() -> None:
    """An unknown room is elsewhere, and so is one that goes on without us; a room of this server stays open when deserted."""
    world = World()
    assert not membership.is_here(world.ctx, RoomId("!nowhere:localhost"))
    room_id = world.create(ALICE)
    assert membership.is_here(world.ctx, room_id)
    world.leave(room_id, ALICE)
    assert membership.is_here(world.ctx, room_id)
    world.join(room_id, BOB)
    world.join(room_id, UserId("@zoe:far.test"))
    world.leave(room_id, BOB)
    assert not membership.is_here(world.ctx, room_id)


def test_servers_for_a_room_begin_with_who_has_invited() -> None:
    """Then those that the client names, those that were there, those that its stripped state names, and the one in the room's id."""
    world = World()
    room_id = RoomId("!room:named.test")
    told = [
        {"type": "m.room.create", "state_key": "", "sender": "@c:made.test", "content": {}},
        {"type": "m.room.member", "state_key": ALICE, "sender": "@i:inviter.test", "content": {"membership": "invite"}},
    ]
    with world.db.batch() as batch:
        members.record(batch, room_id, ALICE, "invite", count=batch.next_count(), event=0, stripped=told)
    found = membership.servers_for(world.ctx, room_id, ALICE, [ServerName("via.test")])
    assert found == ["inviter.test", "via.test", "made.test", "named.test"]
    assert membership.servers_for(world.ctx, RoomId("!" + "A" * 43), BOB) == []


def test_blocked_room_is_closed() -> None:
    """What the administrators have blocked nobody enters."""
    world = World()
    room_id = world.create(ALICE)
    membership.require_open(world.ctx, room_id)
    with world.db.batch() as batch:
        trees.disabledroomids.put(batch, room_id, True)
    with pytest.raises(Forbidden):
        membership.require_open(world.ctx, room_id)


def test_guest_access_must_say_can_join() -> None:
    """Rooms are closed to guests unless they say otherwise."""
    world = World()
    room_id = world.create(ALICE)
    with pytest.raises(GuestAccessForbidden):
        membership.require_guest_access(world.db, room_id)
    world.set(room_id, ALICE, "m.room.guest_access", {"guest_access": "can_join"})
    membership.require_guest_access(world.db, room_id)
