"""State resolution of two large states of a room, against Synapse's `synapse.state.v2` on the same graphs.

    python -m benches.state_res [--no-synapse] [--sizes 10,1000,10000,100000] [--conflicts 100]

Both have all events in memory. Of Synapse the time for the auth chains, which its database answers, is not counted; of this server it is. CPU time, the best of several.
What is in conflict: the power levels, a ban in every twenty, else profiles and state of other kinds.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benches.peers import synapse_python
from conduit.protocol.event_auth import auth_types_for
from conduit.protocol.pdu import Event, seal
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.protocol.signing import SigningKey
from conduit.protocol.state_res import resolve

VERSION = ROOM_VERSIONS["10"]
SERVER = "bench.test"
SIZES = (10, 1000, 10_000, 100_000)
CONFLICTS = 100
_KEY = SigningKey(b"k" * 32, "bench")
_BEGAN_MS = 1_700_000_000_000
State = dict[tuple[str, str], Event]


class Graph:
    """A room with two branches that differ in so many state keys."""

    def __init__(self, size: int, conflicts: int) -> None:
        self.events: list[Event] = []
        self._last: Event | None = None
        self._tick = 0
        creator = self._user("creator")
        base: State = {}
        self._add(base, "m.room.create", "", {"creator": creator, "room_version": VERSION.id}, creator)
        self._add(base, "m.room.member", creator, {"membership": "join"}, creator)
        self._levels: dict[str, Any] = {"users": {creator: 100}, "state_default": 50, "users_default": 0}
        self._add(base, "m.room.power_levels", "", self._levels, creator)
        self._add(base, "m.room.join_rules", "", {"join_rule": "public"}, creator)
        members = [self._user(f"user{number}") for number in range(size - len(base))]
        for user in members:
            self._add(base, "m.room.member", user, {"membership": "join"}, user)
        self.states = [dict(base), dict(base)]
        fork = self._last
        for branch, state in enumerate(self.states):
            self._last = fork
            for number in range(conflicts):
                self._quarrel(state, branch, number, members, creator)

    @staticmethod
    def _user(name: str) -> str:
        return f"@{name}:{SERVER}"

    def _quarrel(self, state: State, branch: int, number: int, members: list[str], creator: str) -> None:
        user = members[number % len(members)]
        kind = number % 20
        if number == 0:
            moderators = {self._user("creator"): 100, members[-1 - branch]: 50}
            self._add(state, "m.room.power_levels", "", {**self._levels, "users": moderators}, creator)
        elif kind == 1 and branch == 0:
            self._add(state, "m.room.member", user, {"membership": "ban"}, creator)
        elif kind < 12:
            content = {"membership": "join", "displayname": f"Name {number} of {branch}"}
            self._add(state, "m.room.member", user, content, user)
        else:
            self._add(state, "bench.state", f"{number}", {"value": f"{branch}"}, creator)

    def _add(self, state: State, kind: str, key: str, content: dict[str, Any], sender: str) -> None:
        last = self._last
        pairs = [] if last is None else auth_types_for(kind, sender, key, content, VERSION)
        self._tick += 1
        pdu = {
            "type": kind,
            "state_key": key,
            "sender": sender,
            "room_id": f"!room:{SERVER}",
            "content": content,
            "prev_events": [] if last is None else [last.event_id],
            "auth_events": [state[pair].event_id for pair in pairs if pair in state],
            "depth": 1 if last is None else last.depth + 1,
            "origin_server_ts": _BEGAN_MS + self._tick,
        }
        self._last = state[kind, key] = seal(pdu, VERSION, SERVER, _KEY)
        self.events.append(self._last)

    def json(self, repeat: int) -> dict[str, Any]:
        """Return what the other process needs."""
        states = [[[*key, event.event_id] for key, event in state.items()] for state in self.states]
        events = [event.pdu for event in self.events]
        return {"version": VERSION.id, "events": events, "states": states, "repeat": repeat}


def ours(graph: Graph, repeat: int) -> dict[str, Any]:
    """Resolve on integers, as the server does."""
    short = {event.event_id: number for number, event in enumerate(graph.events)}
    keys: dict[tuple[str, str], int] = {}
    states = [
        {keys.setdefault(key, len(keys) + 1): short[event.event_id] for key, event in state.items()}
        for state in graph.states
    ]
    edges = [tuple(short[cited] for cited in event.auth_events) for event in graph.events]
    taken = []
    resolved: dict[int, int] = {}
    for _ in range(repeat):
        gc.collect()
        began = time.process_time()
        resolved = resolve(
            VERSION,
            states,
            graph.events.__getitem__,
            auth_of=edges.__getitem__,
            key_of=lambda kind, key: keys.get((kind, key), 0),
        )
        taken.append(time.process_time() - began)
    names = {number: key for key, number in keys.items()}
    rows = sorted([*names[key], graph.events[event].event_id] for key, event in resolved.items())
    return {"seconds": min(taken), "digest": hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]}


def measure(sizes: list[int], conflicts: int, *, synapse: bool) -> list[dict[str, Any]]:
    """Return the milliseconds of both for each size. Raises if the results are not the same."""
    repeats = [3 if size > 10_000 else 7 for size in sizes]
    graphs = [Graph(size, min(conflicts, size // 3)) for size in sizes]
    found = []
    for size, graph, repeat in zip(sizes, graphs, repeats, strict=True):
        result = ours(graph, repeat)
        found.append({"events": size, "conflicts": min(conflicts, size // 3), "ours": result})
    if synapse:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            file = Path(directory) / "graphs.json"
            file.write_text(json.dumps([graph.json(repeat) for graph, repeat in zip(graphs, repeats, strict=True)]))
            script = Path(__file__).with_name("state_res_synapse.py")
            output = subprocess.run([synapse_python(), "-P", script, file], check=True, stdout=subprocess.PIPE).stdout
        for row, line in zip(found, output.splitlines(), strict=True):
            row["synapse"] = json.loads(line)
            if row["synapse"]["digest"] != row["ours"]["digest"]:
                raise AssertionError(f"the results differ: {row}")
    return found


def figures(sizes: list[int], *, synapse: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return for this server and for Synapse: workload -> figures, as `make bench` keeps them."""
    mine, theirs = {}, {}
    for row in measure(sizes, CONFLICTS, synapse=synapse):
        name = f"resolve_{row['events']}"
        mine[name] = {"operations": 1, "value": row["ours"]["seconds"] * 1000, "unit": "CPU ms"}
        if synapse:
            theirs[name] = {"operations": 1, "value": row["synapse"]["seconds"] * 1000, "unit": "CPU ms"}
    return mine, theirs


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--no-synapse", action="store_true")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--conflicts", type=int, default=CONFLICTS)
    options = parser.parse_args()
    print(
        "| events in each state | in conflict | this server, ms | Synapse, ms | its auth chains in memory, ms | ratio |"
    )
    print("|---|---|---|---|---|---|")
    for row in measure(
        [int(size) for size in options.sizes.split(",")], options.conflicts, synapse=not options.no_synapse
    ):
        own, other = row["ours"]["seconds"] * 1000, row.get("synapse")
        line = f"| {row['events']} | {row['conflicts']} | {own:.2f} |"
        if other is not None:
            line += (
                f" {other['seconds'] * 1000:.2f} | {other['chains'] * 1000:.2f} | {other['seconds'] * 1000 / own:.1f} |"
            )
        print(line)


if __name__ == "__main__":
    main()
