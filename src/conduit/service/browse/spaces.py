"""The tree of rooms below a space, as far as the user may know of them.

The tree is walked depth first, each room once, so that circles end. A page's token holds how far the walk had come and what it was asked for; the
walk is taken anew for every page.

Source: client-server API, "Discovering rooms within spaces", "Ordering of children within a space".
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final, NamedTuple

from conduit.database.cache import CacheSource
from conduit.protocol.errors import Forbidden, InvalidParam
from conduit.protocol.ids import RoomId, UserId, is_room_id
from conduit.protocol.pdu import Event
from conduit.service.browse.summaries import may_know, summary
from conduit.service.context import Context
from conduit.service.rooms import state
from conduit.service.rooms.stripped_state import strip

Json = dict[str, Any]

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
MAX_ROOMS: Final = 5000
"""How many rooms a walk visits, all pages together."""
MAX_CHILDREN: Final = 1000
STEP: Final = 50

_ORDER = re.compile(r"[\x20-\x7e]{1,50}", re.ASCII)
_TOKEN = re.compile(r"h([0-9]{1,9})_([0-9]{1,9}|-)_([01])", re.ASCII)


class Walk(NamedTuple):
    """What is asked for. `max_depth` is `None` for the whole tree."""

    suggested_only: bool
    max_depth: int | None
    limit: int

    def token(self, offset: int) -> str:
        """Return the token of the page that begins after `offset` rooms."""
        depth = "-" if self.max_depth is None else str(self.max_depth)
        return f"h{offset}_{depth}_{int(self.suggested_only)}"


async def hierarchy(ctx: Context, user_id: UserId, root: RoomId, walk: Walk, batch: str | None) -> Json:
    """Return a page of the tree. Raises `Forbidden` if the user may not know of the root, `InvalidParam` for a token of another walk."""
    offset = _parse(walk, batch)
    if not may_know(ctx.db, root, user_id):
        raise Forbidden("You are not allowed to view this room")
    rooms: list[Json] = []
    answer: Json = {"rooms": rooms}
    stack = [(root, 0)]
    visited: set[RoomId] = set()
    shown = 0
    while stack and len(visited) < MAX_ROOMS:
        room_id, depth = stack.pop()
        if room_id in visited:
            continue
        visited.add(room_id)
        if len(visited) % STEP == 0:
            await asyncio.sleep(0)
        if not may_know(ctx.db, room_id, user_id):
            continue
        if len(rooms) == walk.limit:
            answer["next_batch"] = walk.token(shown)
            break
        children = _children(ctx.db, room_id, walk)
        if walk.max_depth is None or depth < walk.max_depth:
            stack += [(RoomId(str(child.state_key)), depth + 1) for child in reversed(children)]
        if shown >= offset:
            rooms.append(_entry(ctx.db, room_id, children))
        shown += 1
    return answer


def _parse(walk: Walk, batch: str | None) -> int:
    if batch is None:
        return 0
    match = _TOKEN.fullmatch(batch)
    if match is None:
        raise InvalidParam("Unknown pagination token")
    offset = int(match[1])
    if walk.token(offset) != batch:
        raise InvalidParam("'suggested_only' and 'max_depth' cannot change on paginated requests")
    return offset


def _entry(source: CacheSource, room_id: RoomId, children: list[Event]) -> Json:
    stripped = [{**strip(child), "origin_server_ts": child.origin_server_ts} for child in children]
    return {**summary(source, room_id), "children_state": stripped}


def _children(source: CacheSource, room_id: RoomId, walk: Walk) -> list[Event]:
    """Return the events by which a space names its rooms, in the order in which these are to be shown."""
    create = state.current(source, room_id, "m.room.create")
    if create is None or create.content.get("type") != "m.space":
        return []
    found = [
        child
        for child in state.current_of_type(source, room_id, "m.space.child").values()
        if _is_child(child) and (not walk.suggested_only or child.content.get("suggested") is True)
    ]
    found.sort(key=_place)
    return found[:MAX_CHILDREN]


def _is_child(event: Event) -> bool:
    via = event.content.get("via")
    return is_room_id(event.state_key) and isinstance(via, list) and any(isinstance(server, str) for server in via)


def _place(child: Event) -> tuple[bool, str, int, str]:
    order = child.content.get("order")
    ordered = isinstance(order, str) and _ORDER.fullmatch(order) is not None
    return (not ordered, str(order) if ordered else "", child.origin_server_ts, str(child.state_key))
