"""Tests of letting users of other servers into restricted rooms."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import Forbidden, UnableToAuthoriseJoin, UnableToGrantJoin
from conduit.protocol.ids import RoomId, UserId
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.service.actions import restricted
from tests.support.rooms import ALICE, BOB, SERVER, World

EVE = UserId("@eve:peer.test")


def restrict(world: World, room_id: RoomId, *others: str, rule: str = "restricted") -> None:
    """Let members of other rooms into a room."""
    allow = [{"type": "m.room_membership", "room_id": other} for other in others]
    world.set(room_id, ALICE, "m.room.join_rules", {"join_rule": rule, "allow": allow})


@pytest.mark.parametrize(
    ("version", "rule", "expected"),
    [("7", "restricted", False), ("8", "restricted", True), ("9", "knock_restricted", False),
     ("10", "knock_restricted", True), ("11", "public", False), ("11", "invite", False)],
)  # fmt: skip
def test_voucher_is_needed_in_restricted_rooms_of_versions_that_have_them(
    version: str, rule: str, expected: bool
) -> None:
    """By the join rule and the room's version."""
    world = World()
    room_id = world.create(version=version)
    restrict(world, room_id, rule=rule)
    assert restricted.needs_voucher(world.db, room_id, EVE, ROOM_VERSIONS[version]) is expected


def test_voucher_is_not_needed_by_who_is_invited_or_in() -> None:
    """The rules let them in anyhow."""
    world = World()
    room_id = world.create()
    world.join(room_id, BOB)
    world.member(room_id, ALICE, EVE, "invite")
    restrict(world, room_id)
    for user_id in (BOB, EVE):
        assert not restricted.needs_voucher(world.db, room_id, user_id, ROOM_VERSIONS["11"])


def test_conditions_are_met_by_members_of_a_named_room() -> None:
    """Whoever is in one of the rooms, and nobody else."""
    world = World()
    space, room_id = world.create(), world.create()
    restrict(world, room_id, space)
    with pytest.raises(Forbidden):
        restricted.check_conditions(world.db, SERVER, room_id, EVE)
    world.join(space, EVE)
    restricted.check_conditions(world.db, SERVER, room_id, EVE)
    world.leave(space, ALICE)
    with pytest.raises(UnableToAuthoriseJoin):
        restricted.check_conditions(world.db, SERVER, room_id, EVE)


def test_conditions_on_unknown_rooms_are_left_to_others() -> None:
    """Unless another one is met."""
    world = World()
    space, room_id = world.create(), world.create()
    restrict(world, room_id, "!unknown:peer.test", space)
    with pytest.raises(UnableToAuthoriseJoin):
        restricted.check_conditions(world.db, SERVER, room_id, EVE)
    world.join(space, EVE)
    restricted.check_conditions(world.db, SERVER, room_id, EVE)


@pytest.mark.parametrize("allow", [None, 7, "x", [], [7], [{"type": "m.room_membership"}], [{"room_id": "!a:b"}]])
def test_conditions_of_another_shape_are_none(allow: Any) -> None:
    """What cannot be read is not met."""
    assert restricted.conditions({"allow": allow}) == []


def test_conditions_are_bounded() -> None:
    """A thousand rooms are not looked at."""
    allow = [{"type": "m.room_membership", "room_id": f"!{number}:x.test"} for number in range(1000)]
    assert len(restricted.conditions({"allow": allow})) == restricted.MAX_CONDITIONS


def test_voucher_is_the_most_powerful_local_member_who_may_invite() -> None:
    """Else any local member, if everybody may invite; else nobody."""
    world = World()
    room_id = world.create(version="10", users={"@root:peer.test": 99, BOB: 50})
    world.join(room_id, BOB)
    assert restricted.voucher(world.db, SERVER, room_id) == ALICE
    world.leave(room_id, ALICE)
    assert restricted.voucher(world.db, SERVER, room_id) == BOB
    restricted.check_voucher(world.db, SERVER, room_id, BOB)
    for user_id in (ALICE, EVE, "@carol:localhost"):
        with pytest.raises(UnableToGrantJoin):
            restricted.check_voucher(world.db, SERVER, room_id, user_id)
    world.leave(room_id, BOB)
    with pytest.raises(UnableToGrantJoin):
        restricted.voucher(world.db, SERVER, room_id)


def test_voucher_is_anybody_where_everybody_may_invite() -> None:
    """Members without a level of their own will do."""
    world = World()
    room_id = world.create(version="10")
    world.join(room_id, BOB)
    world.set(room_id, ALICE, "m.room.power_levels", {"users": {ALICE: 100}, "invite": 0})
    world.leave(room_id, ALICE)
    assert restricted.voucher(world.db, SERVER, room_id) == BOB
