"""Typing as an act."""

from __future__ import annotations

import pytest

from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import RoomId, UserId
from conduit.service.actions.set_typing import set_typing
from tests.support.homeserver import Homeserver
from tests.support.people import people


async def test_only_members_type_and_typing_is_activity(hs: Homeserver) -> None:
    """A member's notice stands until it is ended, and shows the member online; a stranger's is refused."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = RoomId(await alice.create_room())
    user = UserId(alice.user_id)
    await set_typing(hs.ctx, user, room_id, typing=True, timeout_ms=1000)
    assert hs.ctx.typing.users(room_id) == [user]
    assert (hs.ctx.presence.get(user) or {})["presence"] == "online"
    await set_typing(hs.ctx, user, room_id, typing=False, timeout_ms=0)
    assert hs.ctx.typing.users(room_id) == []
    with pytest.raises(Forbidden):
        await set_typing(hs.ctx, UserId(bob.user_id), room_id, typing=True, timeout_ms=1000)
    assert hs.ctx.typing.users(room_id) == []
