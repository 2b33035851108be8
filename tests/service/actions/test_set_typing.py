"""Typing notices: who may give them, and when they end by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conduit.protocol.errors import Forbidden
from conduit.service.actions.set_typing import set_typing
from conduit.service.presence import Presence
from tests.support.rooms import ALICE, BOB, World


@pytest.fixture
def world() -> World:
    """A server with presence."""
    world = World()
    presence = Presence(db=world.db, clock=world.ctx.clock, audience=lambda user_id: ())
    world.ctx = replace(world.ctx, presence=presence)
    return world


async def test_member_starts_and_stops(world: World) -> None:
    """Who types is active; stopping says nothing about that."""
    room_id = world.create(ALICE)
    await set_typing(world.ctx, ALICE, room_id, typing=False, timeout_ms=0)
    assert world.ctx.presence.get(ALICE) is None
    await set_typing(world.ctx, ALICE, room_id, typing=True, timeout_ms=30_000)
    assert world.ctx.typing.users(room_id) == [ALICE]
    assert world.ctx.presence.get(ALICE) is not None
    await set_typing(world.ctx, ALICE, room_id, typing=False, timeout_ms=0)
    assert world.ctx.typing.users(room_id) == []


async def test_others_may_not_type(world: World) -> None:
    """Neither strangers, nor the invited, nor who has left; and leaving ends a notice."""
    room_id = world.create(ALICE)
    for act in (
        lambda: None,
        lambda: world.member(room_id, ALICE, BOB, "invite"),
        lambda: (world.join(room_id, BOB), world.leave(room_id, BOB)),
    ):
        act()
        for typing in (True, False):
            with pytest.raises(Forbidden):
                await set_typing(world.ctx, BOB, room_id, typing=typing, timeout_ms=1000)
    world.join(room_id, BOB)
    await set_typing(world.ctx, BOB, room_id, typing=True, timeout_ms=30_000)
    world.leave(room_id, BOB)
    assert world.ctx.typing.users(room_id) == []
