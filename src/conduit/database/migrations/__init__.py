"""From what a directory holds to the schema of this server: one file a step.

Conduit's own version of its trees stays 18. Ours is stored beside it, written last of all: a directory without it is brought up to date from the
beginning, so every step can be repeated on what an interrupted run has left. If Conduit has written to a directory of ours, its counter tells:
then the same steps run again, since everything derived may be out of date.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from conduit.database.batch import COUNTER_KEY, COUNTER_MIRROR_KEY
from conduit.database.database import Database
from conduit.database.migrations import accounts, keys, queues, receipts, rooms, timelines, unread
from conduit.database.migrations.bulk import Bulk

log = structlog.get_logger(__name__)

SCHEMA = 1
"""The schema of the trees that are ours, and of what we require of Conduit's."""
SCHEMA_KEY = b"conduit_py.schema"
VERSION_KEY = b"version"

_STEPS: tuple[tuple[str, Callable[[Bulk], None]], ...] = (
    ("rooms", rooms.run),
    ("timelines", timelines.run),
    ("receipts", receipts.run),
    ("unread", unread.run),
    ("accounts", accounts.run),
    ("keys", keys.run),
    ("queues", queues.run),
)


def bring_up_to_date(db: Database) -> None:
    """Run the steps that the directory still needs, blocking, with progress in the log."""
    schema = int.from_bytes(db.get("global", SCHEMA_KEY) or b"", "big")
    is_disturbed = db.get("global", COUNTER_KEY) != db.get("global", COUNTER_MIRROR_KEY)
    if schema == SCHEMA and not is_disturbed:
        return
    why = "Conduit has written in between" if schema else "this is a database of Conduit"
    log.warning("database_migration", why=why, note="from now on Conduit cannot be used on this directory any more")
    began = time.monotonic()
    with db.batch() as batch:
        batch.delete("global", SCHEMA_KEY)
    db.sync_now()
    for name, step in _STEPS:
        with Bulk(db, name) as bulk:
            step(bulk)
    with db.batch() as batch:
        # A reservation of its own: from now on both rows tell the same.
        batch.next_count()
        reserved = batch.get("global", COUNTER_KEY)
        assert reserved is not None
        batch.put("global", COUNTER_MIRROR_KEY, reserved)
        batch.put("global", SCHEMA_KEY, SCHEMA.to_bytes(8, "big"))
    db.sync_now()
    log.info("database_migration_done", seconds=round(time.monotonic() - began, 1))
