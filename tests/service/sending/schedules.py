"""One sender against one destination, through whatever happens to the wire and to the server: a world for tests of whole schedules.

A crash is the end of everything that is not in the database; what goes on is another server on the same database.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import orjson

from conduit import server
from conduit.config.schema import Config
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId
from conduit.protocol.power_levels import initial_content
from conduit.protocol.room_versions import room_version
from conduit.service.context import Context
from conduit.service.events import RoomView
from conduit.service.outbound.errors import Unreachable
from conduit.service.outbound.wire import WireAnswer
from conduit.service.rooms import receipts, timeline
from conduit.service.sending import queue, sender
from tests.support.clock import ManualClock
from tests.support.outgoing import quiet, until

ALICE, BOB = UserId("@alice:one.test"), UserId("@bob:two.test")
TWO = ServerName("two.test")


class Destination:
    """A wire with one well-behaved server at its other end, which takes each transaction once."""

    def __init__(self) -> None:
        self.is_down = False
        self.lost_answers = 0
        self.lost_requests = 0
        self.refusals = 0
        self.under_way = 0
        self.requests = 0
        self.taken: dict[str, dict[str, Any]] = {}

    async def exchange(
        self, name: str, method: str, target: str, headers: Any, body: bytes | None, *, seconds: float, max_bytes: int
    ) -> WireAnswer:
        assert name == TWO
        assert self.under_way == 0, "two transactions under way at a time"
        self.under_way += 1
        try:
            await asyncio.sleep(0)
            return self._answer(target, body or b"")
        finally:
            self.under_way -= 1

    def _answer(self, target: str, body: bytes) -> WireAnswer:
        if self.is_down or self.lost_requests:
            self.lost_requests = max(0, self.lost_requests - 1)
            raise Unreachable(TWO, "down")
        self.requests += 1
        if self.refusals:
            self.refusals -= 1
            return WireAnswer(400, {}, b"{}")
        txn_id, sent = target.rpartition("/")[2], orjson.loads(body)
        assert len(sent["pdus"]) <= 50
        assert len(sent.get("edus", [])) <= 100
        if txn_id in self.taken:
            assert not sent["pdus"] or sent["pdus"] == self.taken[txn_id]["pdus"]
        self.taken.setdefault(txn_id, sent)
        if self.lost_answers:
            self.lost_answers -= 1
            raise Unreachable(TWO, "lost")
        return WireAnswer(200, {}, b'{"pdus":{}}')

    def stream(self, *args: Any, **more: Any) -> Any:
        raise Unreachable(TWO, "nothing is streamed here")

    async def close(self) -> None:
        pass

    def texts(self) -> list[str]:
        return [pdu["content"]["body"] for sent in self.taken.values() for pdu in sent["pdus"]]

    def edus(self, edu_type: str) -> list[Any]:
        return [
            edu["content"]
            for sent in self.taken.values()
            for edu in sent.get("edus", [])
            if edu["edu_type"] == edu_type
        ]

    def typing(self) -> set[tuple[str, str]]:
        """Who types where, as this server was told."""
        found = set()
        for content in self.edus("m.typing"):
            key = (content["room_id"], content["user_id"])
            if content["typing"]:
                found.add(key)
            else:
                found.discard(key)
        return found

    def read(self) -> dict[str, str]:
        """How far Alice has read in each room, as this server was told."""
        return {
            room_id: content["m.read"][ALICE]["event_ids"][0]
            for told in self.edus("m.receipt")
            for room_id, content in told.items()
        }


class World:
    """A server with rooms in which Bob of the other server is."""

    def __init__(self, directory: Any, rooms: int = 3) -> None:
        self.clock = ManualClock()
        self.db = Database(MemoryEngine(TREE_NAMES))
        self.wire = Destination()
        self.texts: list[str] = []
        self.messages: list[int] = []
        self.events: dict[RoomId, EventId] = {}
        self._directory = directory
        self.ctx: Context = cast(Any, None)
        self._begin()
        self.rooms = [self._room() for _ in range(rooms)]

    def _begin(self) -> None:
        config = Config.for_tests(
            server_name="one.test",
            allow_federation=True,
            trusted_servers=(),
            database_path=Path(self._directory),
        )
        self.ctx = server.build(config, clock=self.clock, db=self.db, wire=cast(Any, self.wire)).ctx
        for task in (sender.run(self.ctx), self.ctx.typing.run()):
            self.ctx.tasks.spawn(task, name="test")

    def _room(self) -> RoomId:
        rules = room_version("11")
        with self.db.batch() as batch:
            view = RoomView.create(self.ctx, batch, ALICE, {}, rules)
            view.add(ALICE, "m.room.member", {"membership": "join"}, state_key=ALICE)
            view.add(ALICE, "m.room.power_levels", initial_content(ALICE, rules), state_key="")
            view.add(ALICE, "m.room.join_rules", {"join_rule": "public"}, state_key="")
            view.add(BOB, "m.room.member", {"membership": "join"}, state_key=BOB)
        return view.room_id

    async def crash(self) -> None:
        """End the server as it stands and start another one on its database."""
        await self.ctx.tasks.close()
        self._begin()
        await quiet()

    async def close(self) -> None:
        """End."""
        await self.ctx.tasks.close()

    def say(self, room: int) -> None:
        """Send a message."""
        text = str(len(self.texts))
        self.texts.append(text)
        with self.db.batch() as batch:
            view = RoomView.open(self.ctx, batch, self.rooms[room])
            event = view.add(ALICE, "m.room.message", {"msgtype": "m.text", "body": text})
        self.events[self.rooms[room]] = event.event_id

    def write(self) -> None:
        """Send a to-device message."""
        number = len(self.messages)
        self.messages.append(number)
        with self.db.batch() as batch:
            queue.enqueue_edu(batch, TWO, {"edu_type": "m.direct_to_device", "content": {"number": number}})

    def type(self, room: int, is_typing: bool) -> None:
        """Start or stop typing."""
        if is_typing:
            self.ctx.typing.start(self.rooms[room], ALICE, 60_000)
        else:
            self.ctx.typing.stop(self.rooms[room], ALICE)

    def read(self, room: int) -> None:
        """Read up to the newest event."""
        event_id = self.events.get(self.rooms[room])
        position = None if event_id is None else timeline.position(self.db, event_id)
        if event_id is not None and position is not None:
            with self.db.batch() as batch:
                receipts.put(batch, self.rooms[room], ALICE, receipts.READ, event_id, position.live, "", 1)

    async def settle(self) -> None:
        """Let the wire be whole and everything be sent."""
        self.wire.is_down = False
        self.wire.lost_answers = self.wire.lost_requests = self.wire.refusals = 0
        for _ in range(40):
            await quiet()
            if not list(queue.destinations(self.db)) and self.ctx.outbound.backoff.failing(TWO) is None:
                break
            await self.clock.advance(1800)
        await until(lambda: not any(queue.lengths(self.db, TWO)))
        await quiet()
