"""Synapse's part of `benches.state_res`, run by a Python that has Synapse: resolves the graphs of a file, events in memory, and tells how long that takes."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import synapse.event_auth  # noqa: F401  (first: synapse.state and it import each other)
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS
from synapse.events import make_event_from_dict
from synapse.state.v2 import resolve_events_with_store
from synapse.storage.databases.main.event_federation import StateDifference


class Store:
    """What Synapse's database answers, out of memory; the time for auth chains is counted apart."""

    def __init__(self, events: dict[str, Any]) -> None:
        self._events = events
        self.seconds = 0.0

    async def get_events(self, event_ids: Any, allow_rejected: bool = False) -> dict[str, Any]:
        """Return events."""
        return {event_id: self._events[event_id] for event_id in event_ids}

    async def get_auth_chain_difference(
        self, room_id: str, state_sets: list[set[str]], conflicted: Any, additional: Any
    ) -> StateDifference:
        """Return what is in some auth chains, but not in all."""
        began = time.process_time()
        chains = []
        for one in state_sets:
            chain: set[str] = set()
            waiting = list(one)
            while waiting:
                event_id = waiting.pop()
                if event_id not in chain:
                    chain.add(event_id)
                    waiting += self._events[event_id].auth_event_ids()
            chains.append(chain)
        found = set.union(*chains) - set.intersection(*chains)
        self.seconds += time.process_time() - began
        return StateDifference(auth_difference=found, conflicted_subgraph=None)


class _Clock:
    async def sleep(self, duration: Any) -> None:
        """Go on at once."""


def main() -> None:
    """Resolve each graph of the file so often, and print the best times."""
    for graph in json.loads(Path(sys.argv[1]).read_text()):
        version = KNOWN_ROOM_VERSIONS[graph["version"]]
        events = {event.event_id: event for event in (make_event_from_dict(pdu, version) for pdu in graph["events"])}
        states = [{(kind, key): event_id for kind, key, event_id in state} for state in graph["states"]]
        room_id = next(iter(events.values())).room_id
        taken, chains = [], []
        for _ in range(graph["repeat"]):
            gc.collect()
            store = Store(events)
            began = time.process_time()
            resolved = dict(asyncio.run(resolve_events_with_store(_Clock(), room_id, version, states, None, store)))
            taken.append(time.process_time() - began - store.seconds)
            chains.append(store.seconds)
        rows = sorted([*key, event_id] for key, event_id in resolved.items())
        digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
        print(json.dumps({"seconds": min(taken), "chains": min(chains), "digest": digest}), flush=True)


if __name__ == "__main__":
    main()
