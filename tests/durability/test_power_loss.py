"""Every acknowledgement comes after the sync that covers it: what it tells of outlasts a failure of power.

A kill proves little of this, since the kernel keeps what the dead process has written. So the server is observed from outside: strace records all that it
writes and syncs, and when it answers. `tests.durability.disk` then makes, for the instant at which an answer was written to its socket, the
directory as the worst disk would leave it: logs cut at what the last completed sync had covered, pages that were not synced lost, names whose directory was not
synced gone; and others in which chance decides for each sector. A server started on it must have everything acknowledged until then.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from benches.http import Connection

from conduit.database.check import check
from tests.durability import trace
from tests.durability.actor import PASSWORD, C, segment
from tests.durability.disk import Disk
from tests.durability.world import SETTINGS
from tests.support.homeserver import serve
from tests.support.process import ENGINES, ServerProcess

IS_FULL = os.environ.get("TEST_DEPTH") == "full"
LANES, ROUNDS = 3, 4 if IS_FULL else 2
IMAGES = 40 if IS_FULL else 4
"""At how many acknowledgements the directory is opened as the disk would leave it."""
CHANCES = 4 if IS_FULL else 2
"""How many further directories each, in which chance decides; what was not synced is there in order in every other one."""


@dataclass
class Deed:
    """A request that writes, with a text that nothing else holds, and where it can be seen afterwards."""

    method: str
    path: str
    body: Any
    mark: str
    seen_at: str
    """A path of GET whose answer holds the mark; `ANSWER` stands for what the answer said."""
    answer: str = ""
    socket: tuple[int, int] = (0, 0)
    """The client's port, and which answer on this connection is the acknowledgement."""


@dataclass
class Lane:
    """A client on one connection, which does one deed after another."""

    connection: Connection
    user_id: str
    token: str
    port: int = 0
    answers: int = 0
    deeds: list[Deed] = field(default_factory=list)

    async def ask(self, method: str, path: str, body: Any, **options: Any) -> Any:
        """Return an answer, and count it."""
        answer = (await self.connection.request(method, path, body, **options)).json()
        self.answers += 1
        streams = self.connection._streams
        assert streams is not None
        self.port = streams[1].get_extra_info("sockname")[1]
        return answer

    async def do(self, deeds: Iterator[Deed]) -> None:
        """Do `deeds`."""
        for deed in deeds:
            is_file = isinstance(deed.body, bytes)
            options = {"content_type": "application/octet-stream"} if is_file else {}
            answer = await self.ask(deed.method, deed.path, deed.body, **options)
            deed.answer = str(next(iter(answer.values()), "")).removeprefix("mxc://")
            deed.socket = self.port, self.answers - 1
            self.deeds.append(deed)


def deeds(lane: Lane, name: str, room: str) -> Iterator[Deed]:
    """Return deeds of all kinds."""
    user, here = f"user/{segment(lane.user_id)}", f"rooms/{segment(room)}"
    for number in range(ROUNDS):
        mark = f"<{name}.{number}.%s>"

        def text(kind: str, mark: str = mark) -> str:
            # Twice: where a log's block ends, one of them may be torn in two.
            return (mark % kind) * 2

        message = {"msgtype": "m.text", "body": text("message")}
        event = f"{C}/{here}/event/ANSWER"
        yield Deed("PUT", f"{C}/{here}/send/m.room.message/{number}", message, mark % "message", event)
        topic = f"{C}/{here}/state/org.example.note/{name}.{number}"
        yield Deed("PUT", topic, {"note": text("state")}, mark % "state", topic)
        data = f"{C}/{user}/account_data/org.example.{number}"
        yield Deed("PUT", data, {"note": text("data")}, mark % "data", data)
        data = f"{C}/{user}/{here}/account_data/org.example.{number}"
        yield Deed("PUT", data, {"note": text("room data")}, mark % "room data", data)
        file = text("file").encode() + b"\xff" * (600_000 if number == 1 else 100)
        seen = "/_matrix/client/v1/media/download/ANSWER"
        yield Deed("POST", "/_matrix/media/v3/upload", file, mark % "file", seen)
        name_of_room = {"name": text("room"), "preset": "public_chat"}
        yield Deed("POST", f"{C}/createRoom", name_of_room, mark % "room", f"{C}/rooms/ANSWER/state/m.room.name")
        to_device = {"messages": {lane.user_id: {"*": {"note": text("device")}}}}
        path = f"{C}/sendToDevice/org.example.note/{number}"
        yield Deed("PUT", path, to_device, mark % "device", f"{C}/sync?timeout=0")
        tag = f"{C}/{user}/{here}/tags"
        yield Deed("PUT", f"{tag}/u.{segment(text('tag'))}", {"order": 0.5}, mark % "tag", tag)
    profile = f"{C}/profile/{segment(lane.user_id)}/displayname"
    yield Deed("PUT", profile, {"displayname": text("name")}, mark % "name", profile)


async def load(url: str) -> list[Lane]:
    """Make accounts and a room, then do everything on several connections at once."""
    lanes = []
    for number in range(LANES):
        body = {"username": f"user{number}", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        lane = Lane(Connection(url), "", "")
        lanes.append(lane)
        account = await lane.ask("POST", f"{C}/register", body)
        lane.user_id, lane.token = account["user_id"], account["access_token"]
        lane.connection.token = lane.token
    room_body = {"preset": "public_chat", "power_level_content_override": {"state_default": 0}}
    room = (await lanes[0].ask("POST", f"{C}/createRoom", room_body))["room_id"]
    for lane in lanes[1:]:
        await lane.ask("POST", f"{C}/join/{segment(room)}", {})
    await asyncio.gather(*(lane.do(deeds(lane, f"lane{number}", room)) for number, lane in enumerate(lanes)))
    for lane in lanes:
        await lane.connection.close()
    return lanes


class Recording:
    """A server's whole life under load, from a directory that was not there to its end."""

    def __init__(self, root: Path, output: Path, lanes: list[Lane]) -> None:
        self.root = root
        self.lanes = lanes
        self.calls = list(trace.calls(output))
        by_socket = {deed.socket: (lane, deed) for lane in lanes for deed in lane.deeds}
        answered: dict[int, int] = {}
        self.acknowledged: list[tuple[int, Lane, Deed]] = []
        """When each answer was begun to be written, in order."""
        for call in self.calls:
            where = call.target[1]
            if call.name not in ("write", "writev", "sendto", "sendmsg") or not where.startswith("TCP:"):
                continue
            if call.texts and call.texts[0].startswith(b"HTTP/1.1 "):
                assert call.texts[0].startswith(b"HTTP/1.1 200"), call.texts[0]
                port = int(where.rpartition(":")[2].rstrip("]"))
                number = answered[port] = answered.get(port, -1) + 1
                if found := by_socket.get((port, number)):
                    self.acknowledged.append((call.began, *found))
        self.acknowledged.sort(key=lambda one: one[0])

    def moments(self) -> Iterator[tuple[int, Disk]]:
        """Return the disk at each acknowledgement, in order."""
        disk = Disk(self.root)
        calls = iter(self.calls)
        call = next(calls, None)
        for number, (began, _, _) in enumerate(self.acknowledged):
            while call is not None and call.ended < began:
                disk.play(call)
                call = next(calls, None)
            yield number, disk


async def record(directory: Path, engine: str, settings: str = SETTINGS) -> Recording:
    """Return the recording of a server on a new directory."""
    if reason := trace.why_not(directory):
        pytest.skip(reason)
    root, output = directory / "server", directory / "trace"
    root.mkdir()
    server = ServerProcess(root, engine, settings)
    # The tracer beside the server, not above it: signals and the exit status are the server's.
    server.start(*trace.command(output), "-D")
    try:
        lanes = await load(server.url)
    except BaseException:
        server.kill()
        raise
    server.stop()
    recording = Recording(root, output, lanes)
    assert len(recording.acknowledged) == sum(len(lane.deeds) for lane in lanes)
    return recording


async def missing(directory: Path, engine: str, acknowledged: list[tuple[int, Lane, Deed]]) -> list[str]:
    """Return what a server started on `directory` does not have of all that was acknowledged."""
    lost = []
    async with serve(engine=engine, directory=directory / "data", first_is_admin=True) as hs:
        lost += [str(finding) for finding in check(hs.ctx.db)]
        newest: dict[str, Deed] = {}
        for _, lane, deed in acknowledged:
            answered = segment(deed.answer).replace("%2F", "/")
            newest[lane.user_id + deed.seen_at.replace("ANSWER", answered)] = deed
        connections = {lane.user_id: Connection(hs.url, lane.token) for _, lane, _ in acknowledged}
        for where, deed in newest.items():
            user_id, _, path = where.partition("/")
            answer = await connections[user_id].request("GET", "/" + path)
            if answer.status != 200 or deed.mark.encode() not in answer.body:
                lost.append(f"{deed.method} {deed.path} {deed.mark}: {answer.status} {answer.body[:200]!r}")
        for connection in connections.values():
            await connection.close()
    return lost


@pytest.mark.parametrize("engine", ENGINES)
async def test_acknowledged_is_what_outlasts_a_failure_of_power(engine: str, tmp_path: Path) -> None:
    """At every acknowledgement a completed sync has covered what it is about; and the directory that such a failure leaves opens with all of it."""
    recording = await record(tmp_path, engine)
    count = len(recording.acknowledged)
    chosen = set(Random(1).sample(range(count), min(IMAGES, count)))
    opened = 0
    for number, disk in recording.moments():
        deed = recording.acknowledged[number][2]
        assert disk.keeps(deed.mark.encode()), f"{deed} was acknowledged before it was on disk"
        for chance in range(-1, CHANCES) if number in chosen else ():
            left = tmp_path / f"left-{number}-{chance}"
            disk.leave(left, Random(chance) if chance >= 0 else None, in_order=chance % 2 == 0)
            lost = await missing(left, engine, recording.acknowledged[: number + 1])
            assert lost == [], f"after acknowledgement {number}, chance {chance}"
            opened += 1
            shutil.rmtree(left)
    print(engine, {"acknowledged": count, "syncs": disk.syncs, "opened": opened})


async def test_a_server_that_does_not_sync_is_caught(tmp_path: Path) -> None:
    """The measure itself: with `durability = "os"` the log is not synced, and that is seen."""
    recording = await record(tmp_path, "rocksdb", 'durability = "os"' + SETTINGS)
    kept = [disk.keeps(recording.acknowledged[number][2].mark.encode()) for number, disk in recording.moments()]
    files = [isinstance(deed.body, bytes) for _, _, deed in recording.acknowledged]
    assert kept == files
