"""The workloads with other servers: receiving events, joining a large room, sending to many.

    python -m benches.federation [--no-synapse] [--only receive_1,receive_50,send_to_many,join_large] [--quick]

`make bench` runs them too. The other servers are simulated (`benches.simulated`), behind TLS by an authority that both servers under test trust.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import uvloop
from tests.support.certificates import Authority

from benches.http import Connection
from benches.measure import Result, latencies
from benches.peers import Conduit, Peer, Synapse, free_port
from benches.simulated import Member, PeerConnection, Room, RoomAnswers, Simulated, authority_in
from conduit.protocol.pdu import Event

C = "/_matrix/client/v3"
DESTINATIONS = 200
DEAD = 20
WINDOW = 50
"""About how many received events may not be visible yet when the next transaction is sent."""


@dataclass(frozen=True)
class Scale:
    """How much is done."""

    single: int = 250
    """Events that come alone."""
    together: int = 1000
    """Events that come 50 at a time."""
    sends: int = 20
    members: int = 10_000
    events: int = 50_000
    complete_seconds: float = 240.0
    """How long a join is watched for being complete."""

    @classmethod
    def quick(cls) -> Scale:
        """Return a small scale."""
        return cls(single=50, together=300, sends=5, members=1000, events=5000, complete_seconds=60)


# --- the servers under test, with federation -----------------------------------------------------------------------


class FederatedConduit(Conduit):
    """The server of this checkout, with a TLS listener for other servers."""

    def __init__(self, directory: Path, engine: str, authority: Authority) -> None:
        super().__init__(directory, engine)
        federation = free_port()
        self.server_name = f"127.0.0.1:{federation}"
        certs, key = authority.issue(f"{self.name}-{federation}", "127.0.0.1")
        self._config.write_text(
            f"""
[global]
server_name = "{self.server_name}"
database_backend = "{engine}"
database_path = "{directory / "data"}"
allow_registration = true
allow_federation = true
federation_ca_file = "{authority.file}"
ip_range_denylist = []
trusted_servers = []
max_request_size = 50_000_000
log = "warn"
[global.rate_limits]
enabled = false
[[global.listeners]]
port = {self.port}
[[global.listeners]]
port = {federation}
certs = "{certs}"
key = "{key}"
"""
        )


class FederatedSynapse(Synapse):
    """Synapse with a TLS listener for other servers."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        self._authority = authority
        self._federation = free_port()
        self.server_name = f"127.0.0.1:{self._federation}"
        super().__init__(directory)
        self.configure(bcrypt_rounds=4)

    def configure(self, *, bcrypt_rounds: int) -> None:
        """Write what differs from the defaults."""
        super().configure(bcrypt_rounds=bcrypt_rounds)
        certs, key = self._authority.issue("synapse", "127.0.0.1")
        loopback = {"type": "http", "bind_addresses": ["127.0.0.1"]}
        resources = [{"names": ["client", "federation"], "compress": False}]
        config = {
            "server_name": self.server_name,
            "listeners": [
                {**loopback, "port": self.port, "resources": resources},
                {**loopback, "port": self._federation, "tls": True, "resources": resources},
            ],
            "tls_certificate_path": str(certs),
            "tls_private_key_path": str(key),
            "federation_custom_ca_list": [str(self._authority.file)],
            "ip_range_blacklist": [],
            "federation_ip_range_blacklist": [],
            "rc_federation": {"window_size": 1000, "sleep_limit": 100_000, "reject_limit": 100_000, "concurrent": 100},
            "federation_rr_transactions_per_room_per_second": 100_000,
        }
        # JSON is YAML.
        (self.directory / "federation.yaml").write_text(json.dumps(config))

    def command(self) -> list[str]:
        """Return what to execute."""
        return [*super().command(), "-c", str(self.directory / "federation.yaml")]


# --- the workloads -------------------------------------------------------------------------------------------------


@dataclass
class World:
    """One server under test, the simulated ones, and a user."""

    peer: FederatedConduit | FederatedSynapse
    scale: Scale
    simulated: Simulated
    alice: Connection
    core: int | None

    async def member(self, name: str) -> Member:
        """Return somebody of a simulated server who has joined a new room of the server under test."""
        made = await self.alice.post(f"{C}/createRoom", {"preset": "public_chat", "room_version": "10"})
        origin = self.simulated.names[0]
        member = Member(f"@{name}:{origin}", PeerConnection(origin, self.peer.server_name, self.simulated.authority))
        await member.join(made["room_id"])
        return member


async def _receive(world: World, name: str, count: int, at_once: int) -> Result:
    """Send events into a room; it is over when a local client can see the last one."""
    member = await world.member(name)
    await member.send([member.message("the first")])
    events = [member.message(f"Message {number} of the usual length, as people write them.") for number in range(count)]
    gc.collect()
    taken: list[float] = []
    cpu, started = world.peer.cpu_seconds(), time.perf_counter()
    for first in range(0, count, at_once):
        # Synapse drops what has waited longest when more than 100 wait, and asks for it later.
        if first >= WINDOW and first % (WINDOW // 2) == 0:
            await _visible(world, events[first - WINDOW])
        taken.append((await member.send(events[first : first + at_once])).seconds)
    await _visible(world, events[-1])
    elapsed, used = time.perf_counter() - started, world.peer.cpu_seconds() - cpu
    assert not world.simulated.asked["get_missing_events"], "all events were there"
    return Result(count, used / count * 1000, count / elapsed, **latencies(taken), unit="event")


async def _visible(world: World, event: Event) -> None:
    """Wait until a local client can see an event; asking costs the server next to nothing."""
    path = f"{C}/rooms/{quote(event.room_id)}/event/{quote(event.event_id)}"
    began = time.perf_counter()
    while (await world.alice.request("GET", path)).status != 200:
        waited = time.perf_counter() - began
        if waited > 60:
            raise TimeoutError(f"{event.event_id} does not appear")
        await asyncio.sleep(max(0.004, waited / 8))


async def receive_1(world: World) -> Result:
    """Receive events of another server, one in each transaction."""
    return await _receive(world, "one", world.scale.single, 1)


async def receive_50(world: World) -> Result:
    """Receive events of another server, 50 in each transaction."""
    return await _receive(world, "many", world.scale.together, 50)


async def send_to_many(world: World) -> Result:
    """Send messages into a room with a member on each of 200 servers, 20 of which are dead: half of these refuse, half never answer.

    `value` is the seconds until all living ones have everything; CPU time is for one destination and message.
    """
    simulated, count = world.simulated, world.scale.sends
    room = Room.spread(simulated.names[0], simulated.names[1:])
    simulated.rooms[room.room_id] = RoomAnswers(room, omits=False)
    await world.alice.post(f"{C}/join/{quote(room.room_id)}?via={room.name}&server_name={room.name}", {})
    path = f"{C}/rooms/{quote(room.room_id)}/send/m.room.message"
    simulated.kill(simulated.names[-DEAD:])
    living = simulated.names[:-DEAD]

    async def all_have(number: int) -> None:
        async with asyncio.timeout(120):
            while any(simulated.received[name] < number for name in living):
                simulated.got.clear()
                await simulated.got.wait()

    # The first finds the servers and connects.
    simulated.received.clear()
    began = time.perf_counter()
    await world.alice.put(f"{path}/first", {"msgtype": "m.text", "body": "hello"})
    await all_have(1)
    first = time.perf_counter() - began
    await asyncio.sleep(2)
    base = min(simulated.received[name] for name in living)
    cpu, started = world.peer.cpu_seconds(), time.perf_counter()
    taken: list[float] = []
    for number in range(count):
        answer = await world.alice.request(
            "PUT", f"{path}/{number}", {"msgtype": "m.text", "body": f"message {number}"}
        )
        answer.json()
        taken.append(answer.seconds)
    await all_have(base + count)
    elapsed = time.perf_counter() - started
    await asyncio.sleep(1)
    used = world.peer.cpu_seconds() - cpu
    times = latencies(taken)
    print(
        f"{world.peer.name:16} send_to_many: the first message took {first:.2f} s, {count} more {elapsed:.2f} s",
        flush=True,
    )
    return Result(count, used / DESTINATIONS * 1000, len(living) * count / elapsed, **times, unit="destination")


def _peak_mb(peer: Peer) -> float:
    peak = 0
    for process in peer._processes():
        with suppress(OSError, psutil.NoSuchProcess):
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak += int(status.partition("VmHWM:")[2].split()[0])
    return peak / 1024


async def join_large(world: World) -> dict[str, Result]:
    """Join a room of 10,000 members and 50,000 events that another server holds: until usable, until complete; the peak of memory."""
    peer, simulated, scale = world.peer, world.simulated, world.scale
    name = simulated.names[0]
    room_id = f"!large:{name}"
    if room_id not in simulated.rooms:
        simulated.rooms[room_id] = RoomAnswers(Room.large(name, scale.members, scale.events), omits=True)
    expected = simulated.rooms[room_id].room.joined + 1
    gc.collect()
    # A process of its own, whose memory holds nothing of the workloads before.
    await peer.stop()
    await peer.start(world.core)
    alice = Connection(peer.url, world.alice.token)
    await alice.get(f"{C}/account/whoami")
    cpu, started = peer.cpu_seconds(), time.perf_counter()
    await alice.post(f"{C}/join/{quote(room_id)}?via={name}&server_name={name}", {})
    path = f"{C}/rooms/{quote(room_id)}/send/m.room.message/large"
    sent = await alice.put(path, {"msgtype": "m.text", "body": "hello"})
    lazy = quote('{"room":{"state":{"lazy_load_members":true}}}')
    sync = await alice.get(f"{C}/sync?filter={lazy}")
    seen = [event["event_id"] for event in sync["rooms"]["join"][room_id]["timeline"]["events"]]
    assert sent["event_id"] in seen, "the message is not to be seen"
    usable = time.perf_counter() - started
    figures = {"join_large_usable": Result(1, value=usable, unit="s")}
    complete: float | None = None
    try:
        async with asyncio.timeout(scale.complete_seconds):
            # Answered when all members are known, or after a minute with those that are.
            members = {"joined": []}
            while len(members["joined"]) < expected:
                members = await alice.get(f"{C}/rooms/{quote(room_id)}/joined_members")
        complete = time.perf_counter() - started
        assert len(members["joined"]) == expected, f"{len(members['joined'])} members of {expected}"
    except TimeoutError:
        print(f"{peer.name:16} join_large: not complete after {scale.complete_seconds:.0f} s", flush=True)
    if complete is not None:
        figures["join_large_complete"] = Result(1, value=complete, unit="s")
    figures["join_large_cpu"] = Result(1, value=peer.cpu_seconds() - cpu, unit="CPU s")
    figures["join_large_memory"] = Result(1, value=_peak_mb(peer), unit="MB")
    return figures


Workload = Callable[[World], Awaitable[Result | dict[str, Result]]]
WORKLOADS: tuple[Workload, ...] = (receive_1, receive_50, send_to_many, join_large)
NAMES = frozenset(workload.__name__ for workload in WORKLOADS)


async def measure(
    peer: FederatedConduit | FederatedSynapse, authority: Authority, scale: Scale, only: set[str], core: int | None
) -> dict[str, Any]:
    """Run all of these workloads on one server and return workload -> figures."""
    figures: dict[str, Any] = {}
    wanted = [workload for workload in WORKLOADS if not only or workload.__name__ in only]
    if not wanted:
        return figures
    simulated = Simulated(authority, DESTINATIONS)
    await simulated.start()
    await peer.start(core)
    try:
        alice = Connection(peer.url)
        request = {"username": "alice", "password": "a long password", "auth": {"type": "m.login.dummy"}}
        alice.token = (await alice.post(f"{C}/register", request))["access_token"]
        world = World(peer, scale, simulated, alice, core)
        for workload in wanted:
            found = await workload(world)
            for name, result in ({workload.__name__: found} if isinstance(found, Result) else found).items():
                figures[name] = result.json()
                print(f"{peer.name:16} {name:20} {json.dumps(figures[name])}", flush=True)
    finally:
        await peer.stop()
        await simulated.stop()
    return figures


def makers(directory: Path, engines: list[str], *, synapse: bool) -> list[tuple[Authority, Callable[[], Any]]]:
    """Return what makes each of the servers to be measured, with the authority that it trusts."""
    authority = authority_in(directory / "authority")
    found: list[tuple[Authority, Callable[[], Any]]] = [
        (authority, lambda engine=engine: FederatedConduit(directory / f"federated-{engine}", engine, authority))
        for engine in engines
    ]
    if synapse:
        found.append((authority, lambda: FederatedSynapse(directory / "federated-synapse", authority)))
    return found


def main() -> None:
    """Measure these workloads alone."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", action="append", choices=("rocksdb", "lmdb"), help="which engines [rocksdb]")
    parser.add_argument("--no-synapse", action="store_true", help="measure only this server")
    parser.add_argument("--no-conduit", action="store_true", help="measure only Synapse")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--only", default="", help="workloads, comma-separated")
    parser.add_argument("--keep-directory", action="store_true", help="for reading logs")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    core = cores[0] if len(cores) > 1 else None
    if len(cores) > 1:
        os.sched_setaffinity(0, set(cores[1:]))
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        for authority, make in makers(
            directory, [] if options.no_conduit else options.engine or ["rocksdb"], synapse=not options.no_synapse
        ):
            scale = Scale.quick() if options.quick else Scale()
            uvloop.run(measure(make(), authority, scale, set(filter(None, options.only.split(","))), core))
    finally:
        if options.keep_directory:
            print(directory)
        else:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
