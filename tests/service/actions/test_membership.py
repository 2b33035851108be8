"""The content of member events, and the limits that the rules do not know."""

from __future__ import annotations

import pytest

from conduit.protocol.errors import BadJson, Forbidden, NotFound
from conduit.protocol.ids import RoomId
from conduit.service.actions import membership
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


def test_reachable_rooms_are_known_and_have_somebody_here_or_nobody_anywhere() -> None:
    """An unknown room is not found; a room of this server stays open when deserted."""
    world = World()
    with pytest.raises(NotFound):
        membership.require_reachable(world.ctx, RoomId("!nowhere:localhost"))
    room_id = world.create(ALICE)
    membership.require_reachable(world.ctx, room_id)
    world.leave(room_id, ALICE)
    membership.require_reachable(world.ctx, room_id)
    with pytest.raises(Forbidden):
        membership.require_known(world.db, RoomId("!nowhere:localhost"))


def test_guest_access_must_say_can_join() -> None:
    """Rooms are closed to guests unless they say otherwise."""
    world = World()
    room_id = world.create(ALICE)
    with pytest.raises(Forbidden):
        membership.require_guest_access(world.db, room_id)
    world.set(room_id, ALICE, "m.room.guest_access", {"guest_access": "can_join"})
    membership.require_guest_access(world.db, room_id)
