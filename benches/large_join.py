"""Joining a large room of another server, which a simulated one serves: how long until it can be used, until it is complete, and in how much memory.

    python -m benches.large_join [--engine rocksdb|lmdb] [--members 10000] [--events 50000] [--whole]

The server under test is one process on one core, the simulated one another. Half of the events that are neither members nor what rules the room are memberships of
people who have left, the rest stands in auth chains only. With `--whole` the simulated server leaves no members out of its answer. The wire is plain HTTP over loopback
in place of TLS. "usable": the join, and then a message sent and seen in /sync. "stall": the longest time for which the loop of the server stood.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import uvloop

from benches.http import Connection
from benches.peers import free_port
from benches.simulated import Room, RoomAnswers, published_keys
from conduit.protocol.ids import RoomId
from conduit.service.outbound.wire import WireAnswer, WireStream

PEER = "peer.test"
ROOM = f"!large:{PEER}"
STALL_STEP = 0.002


# --- the simulated server ------------------------------------------------------------------------------------------


class SimulatedServer:
    """Answers what a joining server asks."""

    def __init__(self, room: Room, *, omits: bool) -> None:
        self._answers = RoomAnswers(room, omits=omits)

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return status and body for a request."""
        if path.startswith("/_matrix/key/v2/server"):
            return 200, published_keys(PEER)
        _, _, _, _, act, *rest = path.split("/")
        found = b'{"pdus":{}}' if act == "send" else self._answers.answer(act, rest)
        return (404, b'{"errcode":"M_UNRECOGNIZED","error":""}') if found is None else (200, found)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        while head := await reader.readline():
            path = head.split(b" ")[1].decode()
            length = 0
            while (line := await reader.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            await reader.readexactly(length)
            status, body = self.answer(path)
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()


async def simulate(options: argparse.Namespace) -> None:
    """Be the simulated server until the process ends."""
    room = Room.large(PEER, options.members, options.events)
    server = SimulatedServer(room, omits=not options.whole)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", options.peer_port)
    _tell({"joined": room.joined, "state": len(room.state), "chain": len(room.chain)})
    async with listening:
        await listening.serve_forever()


# --- the server under test -----------------------------------------------------------------------------------------


class PlainWire:
    """Plain HTTP to the simulated server, whatever the name."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def exchange(
        self,
        server: str,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        seconds: float,
        max_bytes: int,
    ) -> WireAnswer:
        """Send one request on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write(
            ("\r\n".join([*lines, f"Content-Length: {len(body or b'')}"]) + "\r\n\r\n").encode() + (body or b"")
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        parts = []
        while length:
            parts.append(await reader.read(min(length, 1 << 20)))
            length -= len(parts[-1])
        writer.close()
        answer = b"".join(parts)
        return WireAnswer(int(head[9:12]), {}, answer)

    @asynccontextmanager
    async def stream(
        self, server: str, method: str, target: str, headers: Mapping[str, str], *, seconds: float, max_bytes: int
    ) -> AsyncIterator[WireStream]:
        """Send one request and hand out its answer."""
        answer = await self.exchange(server, method, target, headers, None, seconds=seconds, max_bytes=max_bytes)

        async def pieces() -> AsyncIterator[bytes]:
            yield answer.body

        yield WireStream(answer.status, {}, pieces())

    async def close(self) -> None:
        """Nothing is kept open."""


async def serve(options: argparse.Namespace) -> None:
    """Be the server under test until a line comes in; then tell how long the loop stood at most."""
    from conduit.config.schema import Config, Listener
    from conduit.server import build, look_rarely_for_garbage
    from conduit.service.rooms import members, partial

    config = Config.for_tests(
        server_name="bench.test",
        database_backend=options.engine,
        database_path=Path(options.directory),
        listeners=(Listener(address="127.0.0.1", port=options.port),),
        allow_federation=True,
        trusted_servers=(),
    )
    server = build(config, wire=PlainWire(options.peer_port))
    await server.start()
    stalls: list[tuple[float, float]] = []

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(STALL_STEP)
            stalls.append((time.perf_counter() - before - STALL_STEP, time.perf_counter()))

    watching = asyncio.ensure_future(watch())
    look_rarely_for_garbage()
    _tell("ready")
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        if line.startswith("reset"):
            stalls.clear()
            _tell("ok")
        elif line.startswith("whole"):
            await partial.whole(server.ctx.db, RoomId(ROOM), 600)
            _tell(members.joined_count(server.ctx.db, RoomId(ROOM)))
        else:
            late = sorted(stall for stall, _ in stalls)
            above = [stall for stall in late if stall > 0.02]
            _tell({"stall": late[-1], "above": len(above)})
    watching.cancel()
    await server.stop()


# --- the measurement -----------------------------------------------------------------------------------------------


def _spawn(arguments: list[str], core: int | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benches.large_join", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
    )


def _tell(what: Any) -> None:
    """Write a line for who has started this process; others are logs."""
    print(">" + json.dumps(what), flush=True)


def _hear(process: subprocess.Popen[str]) -> Any:
    """Return what the process tells next."""
    assert process.stdout is not None
    while line := process.stdout.readline():
        if line.startswith(">"):
            return json.loads(line[1:])
    raise RuntimeError("a process has ended")


def _say(process: subprocess.Popen[str], line: str) -> Any:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return _hear(process)


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next((line for line in status.splitlines() if line.startswith("VmHWM")), "")
    return int(line.split()[1]) / 1024 if line else psutil.Process(pid).memory_info().rss / 2**20


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run both servers, join, and return the figures."""
    cores = sorted(os.sched_getaffinity(0))
    own = cores[0] if len(cores) > 1 else None
    other = cores[-1] if len(cores) > 1 else None
    port, peer_port = free_port(), free_port()
    shared = ["--peer-port", str(peer_port), "--members", str(options.members), "--events", str(options.events)]
    if options.whole:
        shared.append("--whole")
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        peer = _spawn(["--simulate", *shared], other)
        room = _hear(peer)
        place = ["--directory", directory + "/db", "--engine", options.engine, "--port", str(port)]
        server = _spawn(["--serve", *shared, *place], own)
        try:
            assert _hear(server) == "ready"
            return {**room, **await _join(f"http://127.0.0.1:{port}", server)}
        finally:
            for process in (server, peer):
                process.terminate()
                process.wait()


async def _join(url: str, server: subprocess.Popen[str]) -> dict[str, Any]:
    anybody = Connection(url)
    request = {"username": "alice", "password": "a long password", "auth": {"type": "m.login.dummy"}}
    account = await anybody.post("/_matrix/client/v3/register", request)
    alice = Connection(url, account["access_token"])
    _say(server, "reset")
    memory = _peak_mb(server.pid)
    cpu = sum(psutil.Process(server.pid).cpu_times()[:2])
    began = time.perf_counter()
    await alice.post(f"/_matrix/client/v3/join/{ROOM}?via={PEER}", {})
    joined = time.perf_counter() - began
    sent = await alice.put(
        f"/_matrix/client/v3/rooms/{ROOM}/send/m.room.message/1", {"msgtype": "m.text", "body": "hello"}
    )
    lazy = '{"room":{"state":{"lazy_load_members":true}}}'
    sync = await alice.get(f"/_matrix/client/v3/sync?filter={lazy.replace(' ', '')}".replace('"', "%22"))
    seen = [event["event_id"] for event in sync["rooms"]["join"][ROOM]["timeline"]["events"]]
    assert sent["event_id"] in seen, "the message is not to be seen"
    usable = time.perf_counter() - began
    usable_memory = _peak_mb(server.pid)
    count = await asyncio.to_thread(_say, server, "whole")
    complete = time.perf_counter() - began
    stall = _say(server, "stalls")
    peak = _peak_mb(server.pid)
    answer = await alice.request("GET", f"/_matrix/client/v3/rooms/{ROOM}/joined_members")
    listed = answer.json()
    assert len(listed["joined"]) == count
    return {
        "members": len(listed["joined"]),
        "joined_s": round(joined, 2),
        "usable_s": round(usable, 2),
        "complete_s": round(complete, 2),
        "cpu_s": round(sum(psutil.Process(server.pid).cpu_times()[:2]) - cpu, 2),
        "memory_before_mb": round(memory),
        "memory_usable_mb": round(usable_memory),
        "memory_peak_mb": round(peak),
        "longest_stall_ms": round(stall["stall"] * 1000, 1),
        "stalls_above_20_ms": stall["above"],
        "first_members_ms": round(answer.seconds * 1000),
    }


def main() -> None:
    """Measure, or be one of the two servers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", choices=("rocksdb", "lmdb"), default="rocksdb")
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--whole", action="store_true", help="the simulated server leaves no members out")
    for role in ("simulate", "serve"):
        parser.add_argument(f"--{role}", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--directory", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--peer-port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.simulate:
        asyncio.run(simulate(options))
    elif options.serve:
        uvloop.run(serve(options))
    else:
        print(json.dumps(uvloop.run(measure(options))))


if __name__ == "__main__":
    main()
