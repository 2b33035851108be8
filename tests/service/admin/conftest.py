"""Alice at the console of her server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.protocol.ids import RoomId
from conduit.service.admin import room
from conduit.service.rooms import timeline
from tests.support.client import User
from tests.support.homeserver import Homeserver, serve


class Console:
    """Alice, administrator, in the admin room."""

    def __init__(self, hs: Homeserver, alice: User) -> None:
        self.hs = hs
        self.alice = alice
        found = room.room_id(hs.ctx.db, hs.ctx.server_name)
        assert found is not None
        self.room_id: RoomId = found

    async def say(self, line: str, **content: Any) -> str:
        """Write a line and return @conduit's answer to it."""
        asked = await self.alice.send(self.room_id, {"msgtype": "m.text", "body": line, **content})
        with self.hs.ctx.db.watch.register([("room", self.room_id)]) as waiter:
            while (answer := self.answer_to(asked)) is None:
                assert await waiter.wait(10)
        return answer

    def answer_to(self, event_id: str) -> str | None:
        """Return what @conduit has answered to an event."""
        for _, event in timeline.scan(self.hs.ctx.db, self.room_id, reverse=True):
            relation = event.content.get("m.relates_to", {})
            if relation.get("m.in_reply_to", {}).get("event_id") == event_id:
                return str(event.content["body"])
        return None

    def answers(self) -> int:
        """Return how often @conduit has spoken."""
        events = [event for _, event in timeline.scan(self.hs.ctx.db, self.room_id)]
        return sum(event.type == "m.room.message" and event.sender == "@conduit:localhost" for event in events)


@pytest.fixture
async def console() -> AsyncIterator[Console]:
    """A server whose first account is Alice's."""
    async with serve(first_is_admin=True) as hs:
        yield Console(hs, await hs.register("alice"))
