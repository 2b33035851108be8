"""The workloads, in the order in which they run. Each takes the world that those before it have made."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote

from benches.http import Answer, Connection
from benches.measure import Result, latencies, run
from benches.peers import Peer

PASSWORD = "correct horse battery staple"
C = "/_matrix/client/v3"


@dataclass
class Scale:
    """How much is done: all of it, or a tenth for a quick look."""

    members: int = 500
    rooms: int = 50
    sends: int = 2000
    history: int = 2000
    repeat: int = 20

    @classmethod
    def quick(cls) -> Scale:
        """Return a small scale."""
        return cls(members=60, rooms=20, sends=400, history=300, repeat=5)


@dataclass
class World:
    """What has been made on one peer."""

    peer: Peer
    scale: Scale
    users: list[Connection] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    large: str = ""
    history: str = ""
    media: str = ""
    next_txn: int = 0

    def txn(self) -> str:
        """Return a fresh transaction id."""
        self.next_txn += 1
        return f"t{self.next_txn}"

    def send(self, room: str) -> str:
        """Return the path of the next send to a room."""
        return f"{C}/rooms/{quote(room)}/send/m.room.message/{self.txn()}"


BODY = {"msgtype": "m.text", "body": "Hello, world: a message of the usual length, as people write them all day long."}


async def _register(peer: Peer, name: str) -> tuple[Connection, str]:
    connection = Connection(peer.url)
    body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    account = await connection.post(f"{C}/register", body)
    connection.token = account["access_token"]
    return connection, account["user_id"]


async def register(world: World) -> Result:
    """Register accounts, one after the other."""
    connection = Connection(world.peer.url)
    bodies = [
        {"username": f"early{index}", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        for index in range(world.scale.repeat)
    ]
    return await run(world.peer, [[partial(connection.request, "POST", f"{C}/register", body) for body in bodies]])


async def login(world: World) -> Result:
    """Log in with a password, one after the other."""
    connection = Connection(world.peer.url)
    bodies = [
        {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": f"early{index}"},
            "password": PASSWORD,
        }
        for index in range(world.scale.repeat)
    ]
    return await run(world.peer, [[partial(connection.request, "POST", f"{C}/login", body) for body in bodies]])


async def make_users(world: World) -> None:
    """Register the users of all later workloads; not measured."""
    for first in range(0, world.scale.members, 8):
        names = [f"user{index}" for index in range(first, min(first + 8, world.scale.members))]
        for connection, user_id in await asyncio.gather(*(_register(world.peer, name) for name in names)):
            world.users.append(connection)
            world.ids.append(user_id)


async def _room(world: World, owner: int = 0, preset: str = "public_chat") -> str:
    made = await world.users[owner].post(f"{C}/createRoom", {"preset": preset, "name": "A room"})
    return str(made["room_id"])


async def create_rooms(world: World) -> Result:
    """Create public rooms with a name, one after the other."""
    user = world.users[0]
    body = {"preset": "public_chat", "name": "A room"}
    lane = [partial(user.request, "POST", f"{C}/createRoom", body) for _ in range(world.scale.repeat)]
    return await run(world.peer, [lane])


async def joins(world: World) -> Result:
    """Join everybody into one public room that grows, four at a time."""
    world.large = await _room(world)
    path = f"{C}/rooms/{quote(world.large)}/join"
    lanes: list[list[Callable[[], Awaitable[object]]]] = [[] for _ in range(4)]
    for index, user in enumerate(world.users[1:]):
        lanes[index % 4].append(partial(user.request, "POST", path, {}))
    return await run(world.peer, lanes)  # type: ignore[arg-type]


async def send_one(world: World) -> Result:
    """Send messages from one client into a small room."""
    room = await _room(world)
    user = world.users[0]
    lane = [partial(user.request, "PUT", world.send(room), BODY) for _ in range(world.scale.sends // 8)]
    return await run(world.peer, [lane])


async def send_many(world: World) -> Result:
    """Send messages from 32 clients over 16 rooms of two."""
    lanes = []
    for index in range(16):
        one, other = world.users[2 * index], world.users[2 * index + 1]
        room = await _room(world, 2 * index)
        await other.post(f"{C}/rooms/{quote(room)}/join", {})
        for user in (one, other):
            paths = [world.send(room) for _ in range(world.scale.sends // 32)]
            lanes.append([partial(user.request, "PUT", path, BODY) for path in paths])
    return await run(world.peer, lanes)


async def deliver(world: World) -> Result:
    """Send into a room of 50 of whom 20 long-poll; the latencies are from the send to each receipt."""
    room = await _room(world)
    for user in world.users[1:50]:
        await user.post(f"{C}/rooms/{quote(room)}/join", {})
    count = max(10, world.scale.sends // 40)
    sent: dict[str, float] = {}
    taken: list[float] = []

    async def poll(user: Connection) -> None:
        own = Connection(world.peer.url, user.token)
        since = (await own.get(f"{C}/sync"))["next_batch"]
        ready.release()
        seen = 0
        while seen < count:
            answer = await own.get(f"{C}/sync?timeout=30000&since={quote(since)}")
            now = time.perf_counter()
            since = answer["next_batch"]
            joined = answer.get("rooms", {}).get("join", {}).get(room, {})
            for event in joined.get("timeline", {}).get("events", ()):
                mark = event["content"].get("mark")
                if mark is not None:
                    taken.append(now - sent[mark])
                    seen += 1
        await own.close()

    ready = asyncio.Semaphore(0)
    pollers = [asyncio.ensure_future(poll(user)) for user in world.users[1:21]]
    async with asyncio.timeout(60):
        for _ in pollers:
            await ready.acquire()
    await asyncio.sleep(0.5)
    cpu, started = world.peer.cpu_seconds(), time.perf_counter()
    for index in range(count):
        mark = f"mark{index}"
        sent[mark] = time.perf_counter()
        answer = await world.users[0].request("PUT", world.send(room), {**BODY, "mark": mark})
        assert answer.status == 200
        # A steady ten a second, so that latency is not the length of a queue.
        await asyncio.sleep(max(0.0, 0.1 * (index + 1) - (time.perf_counter() - started)))
    await asyncio.gather(*pollers)
    used = world.peer.cpu_seconds() - cpu
    return Result(count, used / count * 1000, None, **latencies(taken))


async def make_rooms(world: World) -> None:
    """Put the first user into as many rooms as a busy person has, with some messages each; not measured."""
    for _ in range(world.scale.rooms - 3):
        room = await _room(world, 1)
        await world.users[0].post(f"{C}/rooms/{quote(room)}/join", {})
        for _ in range(5):
            await world.users[1].put(world.send(room), BODY)
    world.history = await _room(world)
    for _ in range(world.scale.history):
        await world.users[0].put(world.send(world.history), BODY)


async def sync_initial(world: World) -> Result:
    """Sync from nothing as a user in many rooms, one of them large."""
    user = world.users[0]
    # Synapse keeps its answers for two minutes: another timeout is another answer.
    lane = [partial(user.request, "GET", f"{C}/sync?timeout={index}") for index in range(world.scale.repeat)]
    return await run(world.peer, [lane])


LAZY = quote('{"room":{"state":{"lazy_load_members":true}}}')


async def sync_initial_lazy(world: World) -> Result:
    """The same with members loaded lazily, as clients of today do."""
    user = world.users[0]
    paths = [f"{C}/sync?timeout={index}&filter={LAZY}" for index in range(world.scale.repeat)]
    lane = [partial(user.request, "GET", path) for path in paths]
    return await run(world.peer, [lane])


async def sync_nothing_new(world: World) -> Result:
    """Sync on 16 connections when nothing is new."""
    users = world.users[:16]
    tokens = [(await user.get(f"{C}/sync?timeout=0"))["next_batch"] for user in users]
    # Once more, when all have come: the second answers settle what the first ones caused (presence).
    for index, user in enumerate(users):
        tokens[index] = (await user.get(f"{C}/sync?timeout=0&since={quote(tokens[index])}"))["next_batch"]
    lanes = []
    for user, since in zip(users, tokens, strict=True):
        path = f"{C}/sync?timeout=0&since={quote(since)}"
        lanes.append([partial(user.request, "GET", path) for _ in range(world.scale.repeat * 5)])
    return await run(world.peer, lanes)


async def idle(world: World) -> Result:
    """Let 50 connections wait for news that do not come; the figure is CPU milliseconds a second."""
    waiting = [Connection(world.peer.url, user.token) for user in world.users[:50]]

    async def poll(connection: Connection) -> None:
        since = (await connection.get(f"{C}/sync?timeout=0"))["next_batch"]
        await connection.request("GET", f"{C}/sync?timeout=30000&since={quote(since)}")

    polls = [asyncio.ensure_future(poll(connection)) for connection in waiting]
    await asyncio.sleep(3)
    cpu = world.peer.cpu_seconds()
    await asyncio.sleep(5)
    used = world.peer.cpu_seconds() - cpu
    for task in polls:
        task.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    for connection in waiting:
        await connection.close()
    return Result(1, used / 5 * 1000, unit="second")


async def messages(world: World) -> Result:
    """Page back through a room's history, 100 events at a time."""
    user = world.users[0]
    end = ""
    pages = []
    path = f"{C}/rooms/{quote(world.history)}/messages?dir=b&limit=100"
    while len(pages) < world.scale.history // 100:
        pages.append(path + end)
        answer = await user.get(path + end)
        end = f"&from={quote(answer['end'])}"
    return await run(world.peer, [[partial(user.request, "GET", page) for page in pages]])


async def members(world: World) -> Result:
    """Read the members of the large room, once read before."""
    return await _read(world, f"{C}/rooms/{quote(world.large)}/members")


async def state(world: World) -> Result:
    """Read the state of the large room, once read before."""
    return await _read(world, f"{C}/rooms/{quote(world.large)}/state")


async def _read(world: World, path: str) -> Result:
    user = world.users[0]
    await user.get(path)
    return await run(world.peer, [[partial(user.request, "GET", path) for _ in range(world.scale.repeat * 5)]])


async def upload_keys(world: World) -> Result:
    """Upload 50 one-time keys at a time."""
    lane = []
    for index, user in enumerate(world.users[: world.scale.repeat * 5]):
        keys = {
            f"signed_curve25519:AAAA{index}x{number}": {
                "key": "zKbLg+NrIjpnagy+pIY6uPL4ZwEG2v+8F9lmgsnlZzs",
                "signatures": {world.ids[index]: {"ed25519:DEVICE": "m" * 86}},
            }
            for number in range(50)
        }
        lane.append(partial(user.request, "POST", f"{C}/keys/upload", {"one_time_keys": keys}))
    return await run(world.peer, [lane])


async def upload_media(world: World) -> Result:
    """Upload files of 1 MB."""
    user = world.users[0]
    path = "/_matrix/media/v3/upload"
    data = os.urandom(1_000_000)

    async def upload(index: int) -> Answer:
        # Other bytes each time, for a server that keeps files once.
        return await user.request("POST", path, index.to_bytes(8, "big") + data[8:], content_type="image/png")

    uri = (await upload(0)).json()["content_uri"]
    world.media = uri.removeprefix("mxc://")
    return await run(world.peer, [[partial(upload, index) for index in range(1, world.scale.repeat * 5)]])


async def download_media(world: World) -> Result:
    """Download a file of 1 MB."""
    user = world.users[0]
    path = f"/_matrix/client/v1/media/download/{world.media}"
    return await run(world.peer, [[partial(user.request, "GET", path) for _ in range(world.scale.repeat * 5)]])


Workload = Callable[[World], Awaitable[Result | None]]

FRESH: tuple[Workload, ...] = (register, login)
"""Run on a server as it comes."""

MAIN: tuple[Workload, ...] = (
    make_users,
    create_rooms,
    joins,
    send_one,
    send_many,
    deliver,
    make_rooms,
    sync_initial,
    sync_initial_lazy,
    sync_nothing_new,
    idle,
    messages,
    members,
    state,
    upload_keys,
    upload_media,
    download_media,
)
