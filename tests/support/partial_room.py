"""A room that a user joins before all of its members are known."""

from __future__ import annotations

import asyncio

from conduit.protocol.ids import RoomId, UserId
from conduit.service.rooms import members, partial
from tests.support.client import User
from tests.support.federation import Network
from tests.support.outgoing import until
from tests.support.scripted_room import ScriptedRoom


class PartialRoom:
    """A scripted room on `far.test` for users of `two.test`. What holds its members back until `may_tell` is set, a subclass says."""

    def __init__(self, net: Network, version: str = "10") -> None:
        self.room = ScriptedRoom(net.peer("far.test"), version)
        self.may_tell = asyncio.Event()
        self.ctx = net["two.test"].ctx

    @property
    def room_id(self) -> RoomId:
        """The room."""
        return RoomId(self.room.room_id)

    @property
    def is_partial(self) -> bool:
        """Whether members are still unknown."""
        return partial.is_partial(self.ctx.db, self.room_id)

    def membership(self, user_id: str) -> str | None:
        """What the server knows of somebody."""
        return members.membership(self.ctx.db, self.room_id, UserId(user_id))

    async def join(self, user: User) -> None:
        """Let a user join and be in the room before it is complete."""
        await user.post(f"/join/{self.room_id}?via=far.test", {})
        assert self.is_partial

    async def completed(self) -> None:
        """Wait until everything is known."""
        await until(lambda: not self.is_partial)

    async def complete(self) -> None:
        """Let the rest be told, and wait until it is known."""
        self.may_tell.set()
        await self.completed()
