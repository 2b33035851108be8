"""Creating rooms: everything or nothing. What ends up in a room is tested in tests/api/client/test_create_room.py."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.database import trees
from conduit.protocol.errors import BadJson, Forbidden, InvalidRoomState, MatrixError, RoomInUse, UnsupportedRoomVersion
from conduit.protocol.ids import RoomAlias, RoomId
from conduit.service.actions.create_room import MAX_INVITES, Piece, Wish, create_room
from conduit.service.context import Context
from conduit.service.rooms import aliases, directory, members, state
from conduit.service.users import accounts
from tests.support import invariants
from tests.support.rooms import ALICE, BOB, CAROL, context, users

ALIAS = RoomAlias("#room:localhost")


def server(**config: Any) -> Context:
    """Return a server with three users."""
    ctx = context(**config)
    with ctx.db.batch() as batch:
        for user_id in (ALICE, BOB, CAROL):
            accounts.create(batch, user_id, "")
    return ctx


def content(ctx: Context, room_id: RoomId, event_type: str) -> Any:
    """Return the content of a piece of state."""
    event = state.current(ctx.db, room_id, event_type)
    return None if event is None else event.content


def rows(ctx: Context) -> int:
    """Count all rows but the counters'."""
    return sum(1 for name in trees.TREE_NAMES if name != "global" for _ in ctx.db.scan(name, b"", None))


def test_full_wish_comes_true_at_once() -> None:
    """Alias, directory and invites come with the room, in the one batch that wakes those concerned."""
    ctx = server()
    before = ctx.db.statistics()["batches"]
    wish = Wish(public=True, alias=ALIAS, name="Name", topic="Topic", invite=(BOB, CAROL, BOB), is_direct=True)
    room_id = create_room(ctx, ALICE, wish)
    assert ctx.db.statistics()["batches"] == before + 1
    assert members.joined(ctx.db, room_id) == {ALICE}
    assert set(members.invited(ctx.db, room_id)) == {BOB, CAROL}
    assert aliases.room_of(ctx.db, ALIAS) == room_id
    assert directory.is_public(ctx.db, room_id)
    assert content(ctx, room_id, "m.room.join_rules") == {"join_rule": "public"}
    assert content(ctx, room_id, "m.room.canonical_alias") == {"alias": ALIAS}
    for user_id in (ALICE, BOB, CAROL):
        assert ctx.db.watch.last(("user", user_id)) > 0
    invariants.check_all(ctx.db)


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        (Wish(version="99"), UnsupportedRoomVersion),
        (Wish(alias=RoomAlias("#taken:localhost")), RoomInUse),
        (Wish(invite=tuple(users(MAX_INVITES + 1))), InvalidRoomState),
        (Wish(initial_state=tuple(Piece("a.b", str(n), {}) for n in range(501))), InvalidRoomState),
        (Wish(version="11", power_levels={"users": {BOB: 100}}), InvalidRoomState),
        (Wish(version="11", power_levels={"invite": 101}, invite=(BOB,)), InvalidRoomState),
        (Wish(creation_content={"m.federate": "no"}), BadJson),
        (Wish(creation_content={"type": 1}), BadJson),
        (Wish(version="12", creation_content={"additional_creators": ["bob"]}), BadJson),
        (Wish(initial_state=(Piece("m.room.member", BOB, {"membership": "invite"}),)), InvalidRoomState),
        (Wish(initial_state=(Piece("m.room.create", "", {}),)), InvalidRoomState),
        (Wish(initial_state=(Piece("org.example", "", {"x": "y" * 70_000}),)), MatrixError),
        (Wish(invite=(ALICE,)), InvalidRoomState),
    ],
)
def test_wish_that_fails_leaves_nothing(wish: Wish, error: type[MatrixError]) -> None:
    """Whatever was written before the point of failure is gone with the batch."""
    ctx = server()
    create_room(ctx, BOB, Wish(alias=RoomAlias("#taken:localhost")))
    before = rows(ctx)
    with pytest.raises(error):
        create_room(ctx, ALICE, wish)
    assert rows(ctx) == before
    assert members.rooms(ctx.db, ALICE) == []


def test_initial_state_comes_before_the_preset() -> None:
    """And the parameter of its own before both; each piece is there once."""
    ctx = server()
    pieces = (
        Piece("m.room.join_rules", "", {"join_rule": "knock"}),
        Piece("m.room.name", "", {"name": "state"}),
        Piece("m.room.topic", "", {"topic": "state"}),
    )
    room_id = create_room(ctx, ALICE, Wish(preset="public_chat", name="parameter", initial_state=pieces))
    assert content(ctx, room_id, "m.room.join_rules") == {"join_rule": "knock"}
    assert content(ctx, room_id, "m.room.guest_access") == {"guest_access": "forbidden"}
    assert content(ctx, room_id, "m.room.name") == {"name": "parameter"}
    assert content(ctx, room_id, "m.room.topic") == {"topic": "state"}


def test_trusted_people_have_the_power_that_the_version_gives() -> None:
    """A level in older versions, being a creator in version 12, in which creators have no level."""
    ctx = server()
    wish = {"preset": "trusted_private_chat", "invite": (BOB,)}
    old = create_room(ctx, ALICE, Wish(version="11", **wish))  # type: ignore[arg-type]
    new = create_room(ctx, ALICE, Wish(version="12", **wish))  # type: ignore[arg-type]
    assert content(ctx, old, "m.room.power_levels")["users"] == {ALICE: 100, BOB: 100}
    assert content(ctx, new, "m.room.create")["additional_creators"] == [BOB]
    assert not content(ctx, new, "m.room.power_levels").get("users")


def test_switched_off_creation_is_for_administrators() -> None:
    """Everybody else is refused."""
    ctx = server(allow_room_creation=False)
    with pytest.raises(Forbidden):
        create_room(ctx, ALICE, Wish())
    with ctx.db.batch() as batch:
        accounts.update(batch, ALICE, admin=True)
    room_id = create_room(ctx, ALICE, Wish())
    assert members.rooms(ctx.db, ALICE) == [room_id]
