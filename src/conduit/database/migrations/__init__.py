"""From what a directory holds to the schema of this server: one file a step.

Conduit's own version of its trees stays 18. Ours is stored beside it, written last of all: a directory without it is brought up to date from the
beginning, so every step can be repeated on what an interrupted run has left.
"""

from __future__ import annotations

import structlog

from conduit.database.batch import COUNTER_KEY, COUNTER_MIRROR_KEY
from conduit.database.database import Database

log = structlog.get_logger(__name__)

SCHEMA = 1
"""The schema of the trees that are ours, and of what we require of Conduit's."""
SCHEMA_KEY = b"conduit_py.schema"
VERSION_KEY = b"version"


def bring_up_to_date(db: Database) -> None:
    """Run the steps that the directory still needs, blocking, with progress in the log."""
    schema = int.from_bytes(db.get("global", SCHEMA_KEY) or b"", "big")
    disturbed = db.get("global", COUNTER_KEY) != db.get("global", COUNTER_MIRROR_KEY)
    if schema == SCHEMA and not disturbed:
        return
