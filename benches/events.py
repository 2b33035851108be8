"""Micro-bench: what building and accepting events costs, step by step, without HTTP.

    python -m benches.events [--engine memory|rocksdb|lmdb] [--rounds 2000]

Times are microseconds of wall clock on one core; the first line, one Ed25519 signature, tells how fast the machine was at that moment.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.rooms import ALICE, World, context, users

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.open import open_database
from conduit.protocol.ids import RoomId, UserId
from conduit.protocol.power_levels import initial_content
from conduit.protocol.room_versions import room_version
from conduit.service.events import RoomView
from conduit.service.events.accept import accept
from conduit.service.events.authorise import authorise, check_content
from conduit.service.events.build import build
from conduit.service.rooms import state, timeline

Times = dict[str, list[float]]


class Stopwatch:
    """Laps by name."""

    def __init__(self) -> None:
        self.times: Times = {}
        self._last = time.perf_counter_ns()

    def start(self) -> None:
        """Begin a lap."""
        self._last = time.perf_counter_ns()

    def lap(self, name: str) -> None:
        """End a lap and begin the next."""
        now = time.perf_counter_ns()
        self.times.setdefault(name, []).append((now - self._last) / 1000)
        self._last = time.perf_counter_ns()

    def report(self, title: str) -> None:
        """Print the median and the 95th percentile of each lap, and of their sums."""
        totals = [sum(laps) for laps in zip(*self.times.values(), strict=True)]
        print(f"\n{title}")
        for name, laps in [*self.times.items(), ("all", totals)]:
            ordered = sorted(laps)
            print(f"  {name:<12} p50 {ordered[len(ordered) // 2]:8.1f}   p95 {ordered[len(ordered) * 19 // 20]:8.1f}")


def database_of(name: str, directory: Path) -> Database:
    """Return an empty database."""
    return Database(MemoryEngine(trees.TREE_NAMES)) if name == "memory" else open_database(directory, name)


def steps(world: World, watch: Stopwatch, room_id: RoomId, sender: UserId, kind: str, content: Any, key: Any) -> None:
    """Send one event, with a lap for each step."""
    version = state.version_of(world.db, room_id)
    watch.start()
    with world.db.batch() as batch:
        check_content(world.ctx, kind, key, content)
        event = build(world.ctx, batch, room_id, version, sender, kind, content, state_key=key)
        watch.lap("build")
        authorise(batch, event)
        watch.lap("authorise")
        head = state.head(batch, room_id)
        accept(world.ctx, batch, event, state_before=head.state if head else 0, transaction=("DEVICE", event.event_id))
        watch.lap("accept")
    watch.lap("commit")


def room_of(world: World, size: int) -> RoomId:
    """Return a public room of that many members."""
    room_id = world.create()
    for user_id in users(size - 1):
        world.join(room_id, user_id)
    return room_id


def messages(world: World, rounds: int) -> None:
    """A message into rooms of several sizes."""
    for size in (2, 50, 500):
        room_id, watch = room_of(world, size), Stopwatch()
        for number in range(rounds):
            body = {"msgtype": "m.text", "body": f"hello everybody, this is message {number} of quite a few"}
            steps(world, watch, room_id, ALICE, "m.room.message", body, None)
        watch.report(f"message into a room of {size}")


def joins(world: World, rounds: int) -> None:
    """A join into a room of 500."""
    room_id, watch = room_of(world, 500), Stopwatch()
    for user_id in users(500 + min(rounds, 500))[500:]:
        content = {"membership": "join", "displayname": user_id[1:8]}
        steps(world, watch, room_id, user_id, "m.room.member", content, user_id)
    watch.report("join into a room of 500")


def creations(world: World, rounds: int) -> None:
    """A private room with eight events."""
    watch, version = Stopwatch(), room_version("12")
    for _ in range(min(rounds, 500)):
        watch.start()
        with world.db.batch() as batch:
            view = RoomView.create(world.ctx, batch, ALICE, {}, version)
            view.add(ALICE, "m.room.member", {"membership": "join"}, state_key=ALICE)
            view.add(ALICE, "m.room.power_levels", initial_content(ALICE, version), state_key="")
            view.add(ALICE, "m.room.join_rules", {"join_rule": "invite"}, state_key="")
            view.add(ALICE, "m.room.history_visibility", {"history_visibility": "shared"}, state_key="")
            view.add(ALICE, "m.room.guest_access", {"guest_access": "can_join"}, state_key="")
            view.add(ALICE, "m.room.name", {"name": "A room"}, state_key="")
            view.add(ALICE, "m.room.member", {"membership": "invite"}, state_key=users(1)[0])
            watch.lap("events")
        watch.lap("commit")
    watch.report("room of eight events created")


def reads(world: World, rounds: int) -> None:
    """A hundred events of a timeline, and the state of a room of 500."""
    room_id = room_of(world, 500)
    for name, look in (
        (
            "timeline, 100 events",
            lambda: [
                event for event, _ in zip(timeline.scan(world.db, room_id, reverse=True), range(100), strict=False)
            ],
        ),
        ("current state, 500", lambda: state.current_all(world.db, room_id)),
    ):
        _read(world, name, look, rounds // 10)


def _read(world: World, name: str, look: Callable[[], Any], rounds: int) -> None:
    watch = Stopwatch()
    for _ in range(rounds):
        world.db.cache_pool.clear()
        watch.start()
        look()
        watch.lap("cold")
        look()
        watch.lap("warm")
    watch.report(name)


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="memory", choices=["memory", "rocksdb", "lmdb"])
    parser.add_argument("--rounds", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        world = World()
        world.ctx = context(database_of(arguments.engine, Path(directory) / "db"))
        world.db = world.ctx.db
        watch = Stopwatch()
        for number in range(1000):
            message = number.to_bytes(700, "big")
            watch.start()
            world.ctx.signing_key.sign(message)
            watch.lap("sign")
        watch.report(f"yardstick; engine {arguments.engine}")
        for bench in (messages, joins, creations, reads):
            bench(world, arguments.rounds)
        world.db.close_now()


if __name__ == "__main__":
    main()
