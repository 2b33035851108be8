"""Bodies of state are made once for a state and anew after a redaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from conduit.protocol.ids import RoomId
from conduit.service.rooms import state_bodies
from tests.support.rooms import World

ROOM = RoomId("!room:localhost")


class Bodies:
    """Asks for bodies, each made of the next of `contents` in two pieces with a pause between."""

    def __init__(self, contents: Iterator[bytes]) -> None:
        self.world = World()
        self.made: list[tuple[int, str]] = []
        self._contents = contents

    async def get(self, state: int = 1, kind: str = "state") -> bytes:
        """Return a body."""

        async def make() -> AsyncIterator[bytes]:
            self.made.append((state, kind))
            yield next(self._contents)
            await asyncio.sleep(0)
            yield b"!"

        lock = self.world.ctx.locks.body(ROOM)
        return await state_bodies.get(lock, self.world.db, ROOM, state, kind, make)

    def held(self, state: int, kind: str) -> bytes | None:
        """Return a body that is kept."""
        return state_bodies.held(self.world.db, ROOM, state, kind)

    def redact(self) -> None:
        """Let something in the room be redacted."""
        with self.world.db.batch() as batch:
            state_bodies.forget(batch, ROOM)


async def test_body_is_kept_for_its_state_and_kind() -> None:
    """The same question is answered from the cache; another state or kind is made."""
    bodies = Bodies(iter([b"a", b"b", b"c"]))
    asked = [(1, "state"), (1, "state"), (1, "members"), (2, "state"), (2, "state")]
    assert [await bodies.get(*which) for which in asked] == [b"a!", b"a!", b"b!", b"c!", b"c!"]
    assert bodies.made == [(1, "state"), (1, "members"), (2, "state")]
    assert [bodies.held(*which) for which in ((2, "state"), (1, "state"), (1, "other"))] == [b"c!", None, None]


async def test_body_that_several_want_is_made_once() -> None:
    """Whoever asks while it is being made waits for it."""
    bodies = Bodies(iter([b"a", b"b"]))
    assert await asyncio.gather(bodies.get(), bodies.get(), bodies.get()) == [b"a!"] * 3
    assert bodies.made == [(1, "state")]


async def test_body_is_made_anew_after_a_redaction() -> None:
    """Forgetting a room's bodies concerns all of its kinds, once it is committed."""
    bodies = Bodies(iter([b"before", b"after"]))
    assert await bodies.get() == b"before!"
    stamp = state_bodies.stamp(bodies.world.db, ROOM, 1)
    with bodies.world.db.batch() as batch:
        state_bodies.forget(batch, ROOM)
        assert bodies.held(1, "state") == b"before!"
    assert await bodies.get() == b"after!"
    assert state_bodies.stamp(bodies.world.db, ROOM, 1) != stamp


async def test_body_is_not_kept_if_something_is_redacted_while_it_is_made() -> None:
    """What was read before may be what the redaction took away."""

    def contents() -> Iterator[bytes]:
        bodies.redact()
        yield b"during"
        yield b"after"

    bodies = Bodies(contents())
    assert await bodies.get() == b"during!"
    assert await bodies.get() == b"after!"


async def test_bodies_of_a_dropped_batch_stay() -> None:
    """A redaction that fails has changed nothing."""
    bodies = Bodies(iter([b"before", b"after"]))
    await bodies.get()
    try:
        with bodies.world.db.batch() as batch:
            state_bodies.forget(batch, ROOM)
            raise ValueError
    except ValueError:
        pass
    assert await bodies.get() == b"before!"
