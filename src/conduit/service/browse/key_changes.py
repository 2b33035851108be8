"""Whose device keys changed between two positions of /sync.

Source: client-server API, GET /keys/changes.
"""

from __future__ import annotations

from typing import Any

from conduit.protocol.ids import UserId
from conduit.service.context import Context
from conduit.service.keys import device_lists, sight
from conduit.service.rooms import cuts


async def key_changes(ctx: Context, user_id: UserId, start: str, end: str) -> dict[str, Any]:
    """Return `{"changed": [...], "left": [...]}` between two /sync tokens; raises `InvalidParam` for what is none."""
    since, upto = cuts.parse_sync(start).at, min(cuts.parse_sync(end).at, ctx.db.current_count())
    moved = await sight.changes(ctx.db, user_id, since, upto)
    changed = device_lists.changed(ctx.db, user_id, since, upto) | moved.came | moved.invited
    return {"changed": sorted(changed), "left": sorted(moved.went)}
