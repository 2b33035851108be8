"""The admin room."""

from __future__ import annotations

import pytest

from conduit.protocol.ids import RoomId, UserId
from conduit.service.admin import room
from conduit.service.rooms import members, state
from conduit.service.users import accounts, devices
from tests.support.homeserver import Homeserver

CONDUIT = UserId("@conduit:localhost")


def _room(hs: Homeserver) -> RoomId:
    found = room.room_id(hs.ctx.db, hs.ctx.server_name)
    assert found is not None
    return found


async def test_first_start_makes_conduit_and_its_room(hs: Homeserver) -> None:
    """Nobody can log in as @conduit; the room is its own, closed to all others."""
    account = accounts.get(hs.ctx.db, CONDUIT)
    assert account is not None
    assert account.kind == "server"
    assert accounts.password_hash(hs.ctx.db, CONDUIT) == ""
    rules = state.current(hs.ctx.db, _room(hs), "m.room.join_rules")
    assert rules is not None
    assert rules.content == {"join_rule": "invite"}
    assert members.joined(hs.ctx.db, _room(hs)) == {CONDUIT}
    bob = await hs.register("bob")
    await bob.join("#admins:localhost", "M_FORBIDDEN")
    await hs.client().post("/register", {"username": "conduit"}, "M_USER_IN_USE")


async def test_later_starts_change_nothing(hs: Homeserver) -> None:
    """The room is made once."""
    before = _room(hs)
    await room.ensure(hs.ctx)
    assert _room(hs) == before
    assert len(members.rooms(hs.ctx.db, CONDUIT)) == 1


async def test_administrator_who_is_missing_is_brought_in_at_the_start(hs: Homeserver) -> None:
    """As after a stop between the registration and the invitation."""
    await hs.register("alice")
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, UserId("@alice:localhost"), admin=True)
    await room.ensure(hs.ctx)
    assert members.is_joined(hs.ctx.db, _room(hs), UserId("@alice:localhost"))


async def test_members_of_conduits_admin_room_become_administrators(hs: Homeserver) -> None:
    """In a directory of Conduit's no account says so."""
    await hs.register("alice")
    alice = UserId("@alice:localhost")
    await room.admit(hs.ctx, alice)
    assert not accounts.is_admin(hs.ctx.db, alice)
    await room.ensure(hs.ctx)
    assert accounts.is_admin(hs.ctx.db, alice)


async def test_administrator_can_be_made_and_unmade(hs: Homeserver) -> None:
    """The room follows."""
    await hs.register("alice")
    alice = UserId("@alice:localhost")
    await room.make_admin(hs.ctx, alice)
    assert accounts.is_admin(hs.ctx.db, alice)
    assert members.is_joined(hs.ctx.db, _room(hs), alice)
    await room.remove_admin(hs.ctx, alice)
    assert not accounts.is_admin(hs.ctx.db, alice)
    assert not members.is_joined(hs.ctx.db, _room(hs), alice)
    levels = state.current(hs.ctx.db, _room(hs), "m.room.power_levels")
    assert levels is not None
    assert alice not in levels.content["users"]


async def test_sessions_of_conduit_end_with_the_emergency(hs: Homeserver) -> None:
    """Without an emergency password nobody stays logged in as @conduit."""
    with hs.ctx.db.batch() as batch:
        devices.create(batch, CONDUIT, "LEFT")
    await room.ensure(hs.ctx)
    assert devices.ids(hs.ctx.db, CONDUIT) == []


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a < b & c", "a &lt; b &amp; c"),
        ("one\ntwo", "one<br>two"),
        ("do `x <y>` now", "do <code>x &lt;y&gt;</code> now"),
        ("odd ` mark", "odd ` mark"),
        ("list:\n```\na\n b\n```", "list:<pre><code>a\n b</code></pre>"),
    ],
)
def test_marks_become_html(text: str, html: str) -> None:
    """Everything else is escaped."""
    assert room.as_html(text) == html
