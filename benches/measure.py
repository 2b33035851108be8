"""Measuring: many operations of one kind, what they cost the server and how long each took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benches.http import Answer
from benches.peers import Peer


@dataclass(frozen=True)
class Result:
    """What one workload gave. Times in milliseconds, `cpu_ms` for each operation."""

    operations: int
    cpu_ms: float | None = None
    per_second: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    value: float | None = None
    """For workloads that measure one figure: seconds or MB."""
    unit: str = "op"

    def json(self) -> dict[str, Any]:
        """Return the figures that there are."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value below which `part` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def latencies(seconds: Sequence[float]) -> dict[str, float]:
    """Return the quantiles in milliseconds."""
    return {name: quantile(seconds, part) * 1000 for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}


async def run(peer: Peer, lanes: Sequence[Sequence[Callable[[], Awaitable[Answer]]]]) -> Result:
    """Run lanes of operations side by side, each lane in its order; every answer must be 200."""
    taken: list[float] = []

    async def drive(lane: Sequence[Callable[[], Awaitable[Answer]]]) -> None:
        for operation in lane:
            answer = await operation()
            if answer.status != 200:
                raise RuntimeError(f"{peer.name}: status {answer.status}: {answer.body[:300]!r}")
            taken.append(answer.seconds)

    cpu, started = peer.cpu_seconds(), time.perf_counter()
    await asyncio.gather(*map(drive, lanes))
    elapsed, used = time.perf_counter() - started, peer.cpu_seconds() - cpu
    return Result(len(taken), used / len(taken) * 1000, len(taken) / elapsed, **latencies(taken))
