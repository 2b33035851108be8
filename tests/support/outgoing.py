"""What is needed to watch a server send: remote users in its rooms, without a handshake, and a destination that takes everything.

async with network("one.test") as net:
    bob = enter(net["one.test"], room_id, "@bob:two.test")
    sink = Sink(net, "two.test")
    ...
    await sink.gets(lambda: sink.bodies == ["hello"])
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from conduit.protocol.ids import RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.service.context import Context
from conduit.service.events import RoomView
from tests.support.federation import Incoming, Network
from tests.support.homeserver import Homeserver

Json = dict[str, Any]

TURNS = 5_000
"""How often the loop turns before what a test waits for counts as missing."""


async def until(condition: Callable[[], Any], what: Callable[[], Any] = lambda: "") -> None:
    """Let the loop turn until the condition holds, on whatever threads it depends."""
    for turn in range(TURNS):
        if condition():
            return
        # Threads that write to a disk need real time now and then.
        await asyncio.sleep(0 if turn % 20 else 0.001)
    raise AssertionError(f"it did not come to it: {what()}")


async def quiet() -> None:
    """Let everything happen that can happen by itself."""
    for turn in range(60):
        await asyncio.sleep(0 if turn % 20 else 0.001)


def member(hs: Homeserver | Context, room_id: str, sender: str, target: str, membership: str) -> Event:
    """Write a member event of whomever, of whatever server, as if it had come."""
    ctx = hs if isinstance(hs, Context) else hs.ctx
    with ctx.db.batch() as batch:
        view = RoomView.open(ctx, batch, RoomId(room_id))
        return view.add(UserId(sender), "m.room.member", {"membership": membership}, state_key=target)


def enter(hs: Homeserver | Context, room_id: str, user_id: str) -> UserId:
    """Let a user of another server be in a room."""
    member(hs, room_id, user_id, user_id, "join")
    return UserId(user_id)


class Sink:
    """A destination that acknowledges every transaction, and takes each but once as the specification wants it."""

    def __init__(self, net: Network, name: str) -> None:
        self.peer = net.peer(name)
        self.net = net
        self.requests: list[tuple[str, Json]] = []
        """(transaction id, body) of every request, repeated ones too."""
        self.taken: dict[str, Json] = {}
        """Each transaction once, by its id."""
        self.answer: Any = {"pdus": {}}
        self.peer.on("PUT", r"/_matrix/federation/v1/send/.*", self._receive)

    def _receive(self, incoming: Incoming) -> Any:
        txn_id, body = incoming.segments[-1], incoming.json()
        self.requests.append((txn_id, body))
        if not isinstance(self.answer, tuple):
            if txn_id in self.taken:
                known = self.taken[txn_id]
                assert body["pdus"] == known["pdus"] or not body["pdus"], "another transaction under the same id"
            self.taken.setdefault(txn_id, body)
        return self.answer

    @property
    def pdus(self) -> list[Json]:
        """The events, in their order."""
        return [pdu for body in self.taken.values() for pdu in body["pdus"]]

    @property
    def texts(self) -> list[str]:
        """What the messages say, in their order."""
        return [pdu["content"]["body"] for pdu in self.pdus if pdu["type"] == "m.room.message"]

    def edus(self, edu_type: str) -> list[Json]:
        """The contents of the EDUs of a type, in their order."""
        return [
            edu["content"]
            for body in self.taken.values()
            for edu in body.get("edus", [])
            if edu["edu_type"] == edu_type
        ]

    @property
    def typing(self) -> list[tuple[str, bool]]:
        """(user, whether typing), in their order."""
        return [(content["user_id"], content["typing"]) for content in self.edus("m.typing")]

    async def gets(self, condition: Callable[[], Any]) -> None:
        """Wait until the condition holds."""
        await until(condition, lambda: self.requests)
