"""A builder of rooms for tests: a homeserver's facts and deeds on the memory engine, without HTTP.

    world = World()
    room_id = world.create(ALICE)
    world.join(room_id, BOB)
    event = world.say(room_id, BOB, "hello")

Deeds run at once, in one batch each, as the real ones do under the room's lock.
"""

from __future__ import annotations

from typing import Any, cast

from conduit.config.schema import Config
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId
from conduit.protocol.pdu import Event
from conduit.protocol.power_levels import initial_content
from conduit.protocol.room_versions import room_version
from conduit.protocol.signing import SigningKey
from conduit.service.context import Context
from conduit.service.events import RoomView
from conduit.service.locks import Locks
from conduit.service.outbound.build import outbound
from conduit.service.outbound.wire import Unwired
from conduit.service.rooms.typing import Typing

SERVER = ServerName("localhost")
ALICE = UserId("@alice:localhost")
BOB = UserId("@bob:localhost")
CAROL = UserId("@carol:localhost")
START_MS = 1_700_000_000_000


class SteppingClock:
    """A clock that is one millisecond later at each look, so that events are in the order of their times."""

    def __init__(self) -> None:
        self.now = START_MS

    def now_ms(self) -> int:
        """Return the next millisecond."""
        self.now += 1
        return self.now

    def monotonic(self) -> float:
        """Return the time in seconds."""
        return self.now / 1000

    async def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.now += int(seconds * 1000)


def context(db: Database | None = None, **config: Any) -> Context:
    """Return a context on an empty memory engine with what rooms and events need of it; the rest is absent."""
    absent = cast(Any, None)
    db = Database(MemoryEngine(TREE_NAMES)) if db is None else db
    clock = SteppingClock()
    settings = Config.for_tests(**config)
    key = SigningKey(bytes(range(32)), "test")
    return Context(
        config=settings,
        server_name=SERVER,
        db=db,
        clock=clock,
        locks=Locks(),
        typing=Typing(db=db, clock=clock, audience=lambda room_id: ()),
        presence=absent,
        media_files=absent,
        hasher=absent,
        outbound=outbound(settings, db=db, clock=clock, signing_key=key, wire=Unwired()),
        tasks=absent,
    )


class World:
    """A homeserver's rooms. `ctx` and `db` are open to tests."""

    def __init__(self, **config: Any) -> None:
        self.ctx = context(**config)
        self.db = self.ctx.db

    def create(
        self,
        creator: UserId = ALICE,
        *,
        version: str = "11",
        join_rule: str = "public",
        users: dict[str, int] | None = None,
        content: dict[str, Any] | None = None,
    ) -> RoomId:
        """Make a room which its creator has joined, with power levels (`users` added) and a join rule."""
        rules = room_version(version)
        levels = initial_content(creator, rules)
        levels["users"] = {**levels["users"], **(users or {})}
        with self.db.batch() as batch:
            view = RoomView.create(self.ctx, batch, creator, content or {}, rules)
            view.add(creator, "m.room.member", {"membership": "join"}, state_key=creator)
            view.add(creator, "m.room.power_levels", levels, state_key="")
            view.add(creator, "m.room.join_rules", {"join_rule": join_rule}, state_key="")
        return view.room_id

    def send(
        self,
        room_id: RoomId,
        sender: UserId,
        event_type: str,
        content: dict[str, Any],
        *,
        state_key: str | None = None,
        redacts: EventId | None = None,
        transaction: tuple[str, str] | None = None,
    ) -> Event:
        """Send an event in a batch of its own."""
        with self.db.batch() as batch:
            return RoomView.open(self.ctx, batch, room_id).add(
                sender, event_type, content, state_key=state_key, redacts=redacts, transaction=transaction
            )

    def say(self, room_id: RoomId, sender: UserId, body: str, **content: Any) -> Event:
        """Send a text message; `content` is added to it."""
        return self.send(room_id, sender, "m.room.message", {"msgtype": "m.text", "body": body, **content})

    def set(self, room_id: RoomId, sender: UserId, event_type: str, content: dict[str, Any], key: str = "") -> Event:
        """Send a state event."""
        return self.send(room_id, sender, event_type, content, state_key=key)

    def member(self, room_id: RoomId, sender: UserId, target: UserId, membership: str, **content: Any) -> Event:
        """Change a membership."""
        return self.set(room_id, sender, "m.room.member", {"membership": membership, **content}, target)

    def join(self, room_id: RoomId, user_id: UserId, **content: Any) -> Event:
        """Let a user join."""
        return self.member(room_id, user_id, user_id, "join", **content)

    def leave(self, room_id: RoomId, user_id: UserId) -> Event:
        """Let a user leave."""
        return self.member(room_id, user_id, user_id, "leave")

    def redact(self, room_id: RoomId, sender: UserId, target: EventId) -> Event:
        """Redact an event."""
        return self.send(room_id, sender, "m.room.redaction", {}, redacts=target)


def users(count: int, server_name: str = SERVER) -> list[UserId]:
    """Return the ids of many users."""
    return [UserId(f"@user{number}:{server_name}") for number in range(count)]
