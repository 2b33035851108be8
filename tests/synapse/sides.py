"""The two sides of federation, alike for the tests: a server with a name, and people on it who sync.

alice = await side.register("alice")
await alice.until(lambda: room in alice.seen.invited, "the invite")
await agree(room, alice, bob)               # the state is the same on both sides, event by event
await agree_on_shared_rooms([ours, synapse])        # so it is in each room that both are in; the fixtures do it after every test
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import aiohttp

from tests.support.client import Expect, Json, Response, User, segment
from tests.support.homeserver import PASSWORD, Homeserver

T = TypeVar("T")
PATIENCE_SECONDS = 45.0
"""How long something that is to come may take on a machine with much else to do."""
POLL_MS = 3000
_NUMBERS = itertools.count(1)
_FILTER = {"room": {"timeline": {"limit": 1000}, "include_leave": True}}


@dataclass
class Seen:
    """What a person has been told by /sync so far."""

    timeline: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    """By room, in the order in which it came."""
    state: dict[str, dict[tuple[str, str], Json]] = field(default_factory=lambda: defaultdict(dict))
    joined: set[str] = field(default_factory=set)
    invited: dict[str, list[Json]] = field(default_factory=dict)
    knocked: dict[str, list[Json]] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    typing: dict[str, list[list[str]]] = field(default_factory=lambda: defaultdict(list))
    """By room, each list of users that was told."""
    receipts: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    presence: list[Json] = field(default_factory=list)
    to_device: list[Json] = field(default_factory=list)
    changed_devices: list[str] = field(default_factory=list)
    left_devices: list[str] = field(default_factory=list)

    def take(self, answer: Json) -> None:
        """Take in an answer of /sync."""
        rooms = answer.get("rooms", {})
        for room_id, room in rooms.get("join", {}).items():
            self._become(room_id, self.joined)
            self._take_events(room_id, room)
        for room_id, room in rooms.get("leave", {}).items():
            self._become(room_id, self.left)
            self._take_events(room_id, room)
        for room_id, room in rooms.get("invite", {}).items():
            self._become(room_id, self.invited)
            self.invited[room_id] = room["invite_state"]["events"]
        for room_id, room in rooms.get("knock", {}).items():
            self._become(room_id, self.knocked)
            self.knocked[room_id] = room["knock_state"]["events"]
        self.presence += answer.get("presence", {}).get("events", [])
        self.to_device += answer.get("to_device", {}).get("events", [])
        self.changed_devices += answer.get("device_lists", {}).get("changed", [])
        self.left_devices += answer.get("device_lists", {}).get("left", [])

    def _become(self, room_id: str, where: set[str] | dict[str, list[Json]]) -> None:
        self.joined.discard(room_id)
        self.left.discard(room_id)
        self.invited.pop(room_id, None)
        self.knocked.pop(room_id, None)
        if isinstance(where, set):
            where.add(room_id)

    def _take_events(self, room_id: str, room: Json) -> None:
        events = room.get("timeline", {}).get("events", [])
        self.timeline[room_id] += events
        for event in [*room.get("state", {}).get("events", []), *events]:
            if "state_key" in event:
                self.state[room_id][event["type"], event["state_key"]] = event
        for event in room.get("ephemeral", {}).get("events", []):
            if event["type"] == "m.typing":
                self.typing[room_id].append(event["content"]["user_ids"])
            else:
                self.receipts[room_id].append(event["content"])

    def event(self, room_id: str, event_id: str) -> Json | None:
        """Return an event of a timeline."""
        return next((event for event in self.timeline[room_id] if event["event_id"] == event_id), None)

    def member(self, room_id: str, user_id: str) -> str | None:
        """Return somebody's membership."""
        event = self.state[room_id].get(("m.room.member", user_id))
        return None if event is None else event["content"].get("membership")


class Person(User):
    """A user who remembers what /sync told."""

    server: Any

    def __init__(self, side: Side, user_id: str, device_id: str, token: str) -> None:
        super().__init__(cast(Homeserver, side), user_id, device_id, token, PASSWORD)
        self.side = side
        self.seen = Seen()
        self.since: str | None = None

    def _judge(self, method: str, path: str, response: Response) -> None:
        if self.side.is_ours:
            super()._judge(method, path, response)

    async def look(self, timeout_ms: int = 0) -> None:
        """Sync once."""
        answer = await self.sync(self.since, timeout_ms=timeout_ms, filter=_FILTER, set_presence="offline")
        self.since = answer["next_batch"]
        self.seen.take(answer)

    async def until(self, found: Callable[[], T | None], what: str, seconds: float = PATIENCE_SECONDS) -> T:
        """Return what `found` returns once that is true; it is asked after every sync."""
        end = time.monotonic() + seconds
        while not (value := found()):
            if time.monotonic() > end:
                raise AssertionError(f"{self.user_id} waits in vain for {what}")
            await self.look(POLL_MS)
        return value

    async def sees(self, room_id: str, event_id: str) -> Json:
        """Return an event once it has come."""
        return await self.until(lambda: self.seen.event(room_id, event_id), f"the event {event_id}")

    async def sees_member(self, room_id: str, person: Person, membership: str) -> None:
        """Return once somebody has a membership."""
        await self.until(
            lambda: self.seen.member(room_id, person.user_id) == membership,
            f"the membership {membership} of {person.user_id} in {room_id}, now {self.seen.member(room_id, person.user_id)}",
        )

    async def is_invited(self, room_id: str) -> list[Json]:
        """Return the stripped state of an invite once it has come."""
        return await self.until(lambda: self.seen.invited.get(room_id), f"the invite to {room_id}")

    async def join_via(self, room_id: str, via: Side, expect: Expect = 200) -> Any:
        """Join a room through a server."""
        names = {"via": via.name, "server_name": via.name}
        return await self.post(f"/join/{segment(room_id)}", {}, expect, params=names)

    async def knock_via(self, room_id: str, via: Side, expect: Expect = 200) -> Any:
        """Knock on a room through a server."""
        names = {"via": via.name, "server_name": via.name}
        return await self.post(f"/knock/{segment(room_id)}", {"reason": "let me in"}, expect, params=names)

    async def kick(self, room_id: str, person: Person, expect: Expect = 200) -> Any:
        """Remove somebody."""
        return await self.post(f"/rooms/{segment(room_id)}/kick", {"user_id": person.user_id}, expect)

    async def ban(self, room_id: str, person: Person, expect: Expect = 200) -> Any:
        """Ban somebody."""
        return await self.post(f"/rooms/{segment(room_id)}/ban", {"user_id": person.user_id}, expect)

    async def unban(self, room_id: str, person: Person, expect: Expect = 200) -> Any:
        """End somebody's ban."""
        return await self.post(f"/rooms/{segment(room_id)}/unban", {"user_id": person.user_id}, expect)

    async def whole_state(self, room_id: str) -> dict[tuple[str, str], Json]:
        """Return the room's current state."""
        events = await self.get(f"/rooms/{segment(room_id)}/state")
        return {(event["type"], event["state_key"]): event for event in events}


@dataclass(eq=False)
class Side:
    """A server. `name` is its server name, `url` where clients reach it."""

    name: str
    url: str
    session: aiohttp.ClientSession
    is_ours: bool
    last_bug: Exception | None = None
    people: list[Person] = field(default_factory=list)
    """Who has been registered."""

    async def register(self, localpart: str = "user") -> Person:
        """Return a new user; a number is added to the name, so that it is new on this server."""
        name = f"{localpart}{next(_NUMBERS)}-{time.time_ns() % 1_000_000}"
        request = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        async with self.session.post(self.url + "/_matrix/client/v3/register", json=request) as answer:
            body = await answer.json()
            assert answer.status == 200, body
        person = Person(self, body["user_id"], body["device_id"], body["access_token"])
        self.people.append(person)
        return person

    async def insiders(self) -> dict[str, Person]:
        """Return the rooms that people of this side are in, and one person in each."""
        found: dict[str, Person] = {}
        for person in self.people:
            for room_id in (await person.get("/joined_rooms"))["joined_rooms"]:
                found.setdefault(room_id, person)
        return found

    async def log_in(self, person: Person) -> Person:
        """Return the same user on another device."""
        request = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": person.user_id},
            "password": PASSWORD,
        }
        async with self.session.post(self.url + "/_matrix/client/v3/login", json=request) as answer:
            body = await answer.json()
            assert answer.status == 200, body
        return Person(self, body["user_id"], body["device_id"], body["access_token"])


async def eventually(ask: Callable[[], Awaitable[T]], wanted: Callable[[T], object], what: str) -> T:
    """Return the answer to a question about another process once it is what is wanted."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not wanted(answer := await ask()):
        if time.monotonic() > end:
            raise AssertionError(f"in vain awaited: {what}; now {answer}")
        await asyncio.sleep(0.1)
    return answer


Entry = tuple[str, str, Any, int]


def _essence(state: dict[tuple[str, str], Json]) -> dict[tuple[str, str], Entry]:
    return {
        key: (event["event_id"], event["sender"], event["content"], event["origin_server_ts"])
        for key, event in state.items()
    }


async def agree(room_id: str, *people: Person) -> dict[tuple[str, str], Json]:
    """Return the room's state once all people's servers have the same, event by event; fail if they never do."""

    async def ask() -> list[dict[tuple[str, str], Json]]:
        return list(await asyncio.gather(*(person.whole_state(room_id) for person in people)))

    def same(states: Iterable[dict[tuple[str, str], Json]]) -> bool:
        first, *others = map(_essence, states)
        return all(other == first for other in others)

    end = time.monotonic() + PATIENCE_SECONDS
    while not same(states := await ask()):
        if time.monotonic() > end:
            raise AssertionError(f"no agreement on {room_id}:\n" + "\n".join(_differences(states, people)))
        await asyncio.sleep(0.1)
    return states[0]


async def agree_on_shared_rooms(sides: Sequence[Side]) -> None:
    """Wait until all sides have the same state of each room that people of all of them are in."""
    insiders = [await side.insiders() for side in sides]
    for room_id in insiders[0]:
        if all(room_id in found for found in insiders):
            await agree(room_id, *(found[room_id] for found in insiders))


def _differences(states: list[dict[tuple[str, str], Json]], people: tuple[Person, ...]) -> list[str]:
    essences = [_essence(state) for state in states]
    lines = []
    for key in sorted({key for essence in essences for key in essence}):
        entries = [essence.get(key) for essence in essences]
        if any(entry != entries[0] for entry in entries):
            lines += [f"{key} at {person.side.name}: {entry}" for person, entry in zip(people, entries, strict=True)]
    return lines
