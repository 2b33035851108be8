"""A server that is killed at any instant has all that it acknowledged, and nothing by halves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from tests.durability.audit import audit
from tests.durability.world import SETTINGS, World
from tests.support.process import ENGINES, ROOT, ServerProcess

KILLS = 34 if os.environ.get("TEST_DEPTH") == "full" else 4
SEED = int(os.environ.get("KILL_SEED", "1"))
"""Set it to see other instants."""


def check(server: ServerProcess) -> str:
    """Return what `conduit db check` says about the database of a server that does not run, empty if all is well."""
    done = subprocess.run(
        [sys.executable, "-m", "conduit", "db", "check", "--config", str(server.config)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def kill_while_starting(server: ServerProcess, seconds: float) -> None:
    """Start the server and kill it `seconds` later, whether it listens by then or not."""

    def kill() -> None:
        # No process yet means that it starts after all.
        with suppress(AssertionError, ProcessLookupError):
            os.kill(server.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, kill)
    timer.start()
    with suppress(AssertionError):
        server.start()
    timer.join()
    server.kill()


@pytest.mark.parametrize("engine", ENGINES)
async def test_everything_acknowledged_survives_kills(
    engine: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Events, state, memberships, rooms, account data, receipts, messages to devices, keys, sessions and files; each once."""
    random = Random(SEED)
    server = ServerProcess(tmp_path, engine, SETTINGS)
    server.start()
    world = World(SEED)
    try:
        await world.people(server.url)
        for kill in range(1, KILLS + 1):
            await world.until_killed(server, random.uniform(0.02, 0.8))
            if kill % 4 == 0:
                kill_while_starting(server, random.uniform(0.1, 1.5))
            assert check(server) == "", f"after kill {kill}"
            server.start()
            await world.connect(server.url)
            await audit(world, full=kill == KILLS)
            assert world.ledger.lost == [], f"after kill {kill}"
    finally:
        server.kill()
        await world.close()
    assert server.errors == []
    figures = {"kills": KILLS, "acknowledged": world.ledger.counts.total(), "events": len(world.ledger.events)}
    figures |= dict(world.ledger.counts)
    record_property(f"kills of {engine}", figures)
    print(engine, figures)
    assert check(server) == ""
    assert world.ledger.counts.total() > KILLS * 10
