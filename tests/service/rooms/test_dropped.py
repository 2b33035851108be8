"""Servers that resolution has put out of a room."""

from __future__ import annotations

from conduit.protocol.ids import RoomId, ServerName
from conduit.service.rooms import dropped
from tests.support.rooms import World

ROOM = RoomId("!room:one.test")
ONE, TWO, THREE = (ServerName(name) for name in ("one.test", "two.test", "three.test"))


def test_who_is_put_out_is_told_once() -> None:
    """The next event goes to the server that is gone, and no further one."""
    world = World()
    with world.ctx.db.batch() as batch:
        dropped.settle(batch, ROOM, [ONE, TWO], [ONE], 1000)
        assert dropped.untold(batch, ROOM) == [TWO]
    with world.ctx.db.batch() as batch:
        dropped.told(batch, ROOM, [TWO])
    assert dropped.untold(world.ctx.db, ROOM) == []


def test_who_is_put_out_may_ask_for_a_week() -> None:
    """Told or not, and nobody else."""
    world = World()
    with world.ctx.db.batch() as batch:
        dropped.settle(batch, ROOM, [ONE, TWO], [ONE], 1000)
        dropped.told(batch, ROOM, [TWO])
    assert dropped.may_ask(world.ctx.db, ROOM, TWO, 1000 + dropped.KEPT_MS - 1)
    assert not dropped.may_ask(world.ctx.db, ROOM, TWO, 1000 + dropped.KEPT_MS)
    assert not dropped.may_ask(world.ctx.db, ROOM, THREE, 1001)


def test_who_still_sends_is_told_again_while_it_may_ask() -> None:
    """And nobody else, nor anybody after a week."""
    world = World()
    with world.ctx.db.batch() as batch:
        dropped.settle(batch, ROOM, [ONE, TWO], [ONE], 1000)
        dropped.told(batch, ROOM, [TWO])
        dropped.remind(batch, ROOM, TWO, 1000 + dropped.KEPT_MS)
        dropped.remind(batch, ROOM, THREE, 1001)
        assert dropped.untold(batch, ROOM) == []
        dropped.remind(batch, ROOM, TWO, 1001)
        assert dropped.untold(batch, ROOM) == [TWO]


def test_who_is_back_is_forgotten() -> None:
    """A resolution that brings the server back ends it."""
    world = World()
    with world.ctx.db.batch() as batch:
        dropped.settle(batch, ROOM, [ONE, TWO], [ONE], 1000)
    with world.ctx.db.batch() as batch:
        dropped.settle(batch, ROOM, [ONE], [ONE, TWO], 2000)
    assert dropped.untold(world.ctx.db, ROOM) == []
    assert not dropped.may_ask(world.ctx.db, ROOM, TWO, 2001)
