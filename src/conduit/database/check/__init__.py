"""Whether the trees agree with each other. Reads everything, changes nothing; for a server that does not run."""

from __future__ import annotations

from collections.abc import Callable

from conduit.database.check import counters, events, rows, states, users
from conduit.database.check.finding import Finding, Reading
from conduit.database.database import Database

__all__ = ["Finding", "check"]


def check(db: Database, *, progress: Callable[[str, int], None] = lambda tree, rows: None) -> list[Finding]:
    """Return what does not agree, empty for a sound database. `progress` is told now and then which tree is being read, and how many rows were."""
    reading = Reading(db, progress)
    return [
        found
        for part in (rows.check, events.check, states.check, users.check, counters.check)
        for found in part(reading)
    ]
