"""Shows in the admin room what users report: events, rooms and other users."""

from __future__ import annotations

from typing import Any

import structlog

from conduit.database import trees
from conduit.protocol.errors import MatrixError
from conduit.service.actions import report
from conduit.service.admin import room
from conduit.service.context import Context

log = structlog.get_logger(__name__)

_SHOWN_KEY = b"conduit_py.reports_shown"
"""Row in `global`: count of the last report that was shown."""

MAX_REASON = 1000
"""Characters of a reason that are shown; the row has more."""


async def run(ctx: Context) -> None:
    """Show reports until cancelled, those first that came while the server was not running."""
    # Registered before it reads: what is written in between wakes it.
    with ctx.db.watch.register([report.WAKE]) as waiter:
        while True:
            await show_all(ctx)
            await waiter.wait()


async def show_all(ctx: Context) -> None:
    """Show every report since the last call. After a crash one may be shown twice, none is missed."""
    stored = trees.global_.get(ctx.db, _SHOWN_KEY)
    shown = 0 if stored is None else int.from_bytes(stored, "big")
    for count, row in list(trees.report.scan(ctx.db, after=shown)):
        try:
            await room.say(ctx, describe(row))
        except MatrixError as error:
            log.warning("report_not_shown", error=error.error)
        with ctx.db.batch() as batch:
            trees.global_.put(batch, _SHOWN_KEY, count.to_bytes(8, "big"))


def describe(row: dict[str, Any]) -> str:
    """Return a report in words."""
    if "event_id" in row:
        about = f"the event `{row['event_id']}` by `{row['user_id']}` in `{row['room_id']}`"
    elif "room_id" in row:
        about = f"the room `{row['room_id']}`"
    else:
        about = f"the user `{row['user_id']}`"
    reason = str(row["reason"]).strip()[:MAX_REASON]
    return f"`{row['reporter']}` reports {about}" + (f":\n```\n{reason}\n```" if reason else ".")
