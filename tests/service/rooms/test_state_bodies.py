"""Bodies of state are made once for a state and anew after a redaction."""

from __future__ import annotations

from conduit.protocol.ids import RoomId
from conduit.service.rooms import state_bodies
from tests.support.rooms import World

ROOM = RoomId("!room:localhost")


def test_body_is_kept_for_its_state_and_kind() -> None:
    """The same question is answered from the cache; another state or kind is made."""
    world = World()
    made: list[str] = []

    def get(state: int, kind: str) -> bytes:
        def make() -> bytes:
            made.append(kind)
            return b"%d" % state

        return state_bodies.get(world.db, ROOM, state, kind, make)

    assert [get(1, "state"), get(1, "state"), get(1, "members"), get(2, "state"), get(2, "state")] == [
        b"1",
        b"1",
        b"1",
        b"2",
        b"2",
    ]
    assert made == ["state", "members", "state"]
    held = [state_bodies.is_held(world.db, ROOM, *which) for which in ((2, "state"), (1, "state"), (1, "other"))]
    assert held == [True, False, False]


def test_body_is_made_anew_after_a_redaction() -> None:
    """Forgetting a room's bodies concerns all of its kinds, once it is committed."""
    world = World()
    contents = iter([b"before", b"after"])

    def get() -> bytes:
        return state_bodies.get(world.db, ROOM, 1, "state", lambda: next(contents))

    assert get() == b"before"
    stamp = state_bodies.stamp(world.db, ROOM, 1)
    with world.db.batch() as batch:
        state_bodies.forget(batch, ROOM)
        assert get() == b"before"
    assert get() == b"after"
    assert state_bodies.stamp(world.db, ROOM, 1) != stamp


def test_bodies_of_a_dropped_batch_stay() -> None:
    """A redaction that fails has changed nothing."""
    world = World()
    contents = iter([b"before", b"after"])
    state_bodies.get(world.db, ROOM, 1, "state", lambda: next(contents))
    try:
        with world.db.batch() as batch:
            state_bodies.forget(batch, ROOM)
            raise ValueError
    except ValueError:
        pass
    assert state_bodies.get(world.db, ROOM, 1, "state", lambda: next(contents)) == b"before"
