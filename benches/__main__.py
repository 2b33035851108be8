"""`make bench`: measure this server and Synapse, print a table, keep the figures.

make bench                        everything, about 25 minutes
make bench ARGS="--quick"         a tenth of it
make bench ARGS="--engine lmdb --no-synapse --only send_many"
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from benches import federation, report, state_res, workloads
from benches.measure import Result
from benches.peers import Conduit, Peer, Synapse

HERE = Path(__file__).resolve().parent
STATES = "resolve_states"
OTHERS = federation.NAMES | {STATES}
"""What is not measured on the server that the other workloads run on."""


async def measure(peer: Peer, scale: workloads.Scale, only: set[str], core: int | None) -> dict[str, Any]:
    """Run all workloads on one peer and return workload -> figures."""
    figures: dict[str, Any] = {}

    async def go(world: workloads.World, some: tuple[workloads.Workload, ...]) -> None:
        for workload in some:
            name = workload.__name__
            if only and name not in only and not name.startswith("make_") and name != "joins":
                continue
            result = await workload(world)
            if result is not None:
                figures[name] = result.json()
                print(f"{peer.name:16} {name:20} {json.dumps(figures[name])}", flush=True)

    figures["start_fresh"] = Result(1, value=await peer.start(core), unit="s").json()
    figures["memory_start"] = Result(1, value=peer.memory_mb(), unit="MB").json()
    await go(workloads.World(peer, scale), workloads.FRESH)
    await peer.stop()
    if isinstance(peer, Synapse):
        peer.configure(bcrypt_rounds=4)
    await peer.start(core)
    await go(workloads.World(peer, scale), workloads.MAIN)
    figures["memory_end"] = Result(1, value=peer.memory_mb(), unit="MB").json()
    await peer.stop()
    starts = []
    for _ in range(3):
        starts.append(await peer.start(core))
        await peer.stop()
    figures["start_with_data"] = Result(3, value=sorted(starts)[1], unit="s").json()
    return figures


def main() -> None:
    """Parse the arguments, run, report."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--engine", action="append", choices=("rocksdb", "lmdb"), help="which engines [rocksdb]")
    parser.add_argument("--no-synapse", action="store_true", help="measure only this server")
    parser.add_argument("--only", default="", help="workloads, comma-separated; `federation` is all with other servers")
    parser.add_argument("--keep", action="store_true", help="keep the figures and draw the chart")
    options = parser.parse_args()
    scale = workloads.Scale.quick() if options.quick else workloads.Scale()
    cores = sorted(os.sched_getaffinity(0))
    core = cores[0] if len(cores) > 1 else None
    if len(cores) > 1:
        os.sched_setaffinity(0, set(cores[1:]))
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    results: dict[str, Any] = {}
    try:
        engines = options.engine or ["rocksdb"]
        only = set(filter(None, options.only.split(",")))
        if "federation" in only:
            only = (only - {"federation"}) | OTHERS
        makers: list[Callable[[], Peer]] = [
            lambda engine=engine: Conduit(directory / engine, engine)  # type: ignore[misc]
            for engine in engines
        ]
        if not options.no_synapse:
            makers.append(lambda: Synapse(directory / "synapse"))
        federated = federation.makers(directory, engines, synapse=not options.no_synapse)
        names = [*(f"conduit-{engine}" for engine in engines), "synapse"]
        for name, make, (authority, make_federated) in zip(names, makers, federated, strict=False):
            figures = results[name] = {}
            if not only or only - OTHERS:
                figures |= uvloop.run(measure(make(), scale, only, core))
            if not only or only & federation.NAMES:
                wider = federation.Scale.quick() if options.quick else federation.Scale()
                figures |= uvloop.run(federation.measure(make_federated(), authority, wider, only, core))
        if not only or STATES in only:
            sizes = [size for size in state_res.SIZES if not options.quick or size <= 10_000]
            own, other = state_res.figures(sizes, synapse=not options.no_synapse)
            results[names[0]] |= own
            if not options.no_synapse:
                results["synapse"] |= other
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    peers = list(results)
    print()
    print(report.table(results, peers))
    if options.keep:
        stamp = datetime.now(UTC)
        machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
        kept = {"at": stamp.isoformat(timespec="seconds"), "machine": machine, "results": results}
        folder = HERE / "results"
        folder.mkdir(exist_ok=True)
        alone = bool(only) and only <= OTHERS
        name = f"{stamp:%Y-%m-%d}-federation.json" if alone else f"{stamp:%Y-%m-%d}.json"
        (folder / name).write_text(json.dumps(kept, indent=1) + "\n")
        if not alone:
            (HERE / "chart.svg").write_text(report.chart(results, peers))


if __name__ == "__main__":
    main()
