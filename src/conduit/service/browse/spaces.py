"""The tree of rooms below a space, as far as the user may know of them.

The tree is walked depth first, each room once, so that circles end. A page's token holds how far the walk had come and what it was asked for; the
walk is taken anew for every page. Of rooms in which nobody of this server is, other servers are asked; what they say is remembered for a while.

Source: client-server API, "Discovering rooms within spaces", "Ordering of children within a space"; server-server API, "Spaces".
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final, NamedTuple

from conduit.database.cache import CacheSource
from conduit.protocol.errors import Forbidden, InvalidParam, NotFound
from conduit.protocol.ids import RoomId, ServerName, UserId, is_room_id
from conduit.protocol.pdu import Event
from conduit.service.browse import remote_rooms, summaries
from conduit.service.browse.summaries import may_know, summary
from conduit.service.context import Context
from conduit.service.rooms import members, state
from conduit.service.rooms.stripped_state import strip

Json = dict[str, Any]

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
MAX_ROOMS: Final = 5000
"""How many rooms a walk visits, all pages together."""
MAX_CHILDREN: Final = 1000
MAX_ASKED: Final = 50
"""Of how many rooms other servers are asked for one page."""
MAX_SECONDS: Final = 30.0
"""How long other servers are asked for one page."""
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


class _Node(NamedTuple):
    """A room in the tree."""

    summary: Json
    children: list[Json]
    """The events by which a space names its rooms, stripped, in the order in which these are to be shown."""
    told: dict[RoomId, Json]
    """What is known already of some of these rooms, from another server."""
    closed: frozenset[str] = frozenset()
    """Those of these rooms which that server says this one cannot enter; nobody need be asked about them."""


async def hierarchy(ctx: Context, user_id: UserId, root: RoomId, walk: Walk, batch: str | None) -> Json:
    """Return a page of the tree. Raises `Forbidden` if the user may not know of the root, `InvalidParam` for a token of another walk."""
    offset = _parse(walk, batch)
    if "ban" in (members.membership(ctx.db, root, user_id), state.membership(ctx.db, root, user_id)):
        raise Forbidden("You are banned from this room")
    rooms: list[Json] = []
    answer: Json = {"rooms": rooms}
    look = _Look(ctx, user_id, walk.suggested_only)
    stack: list[tuple[RoomId, int, list[str], Json | None]] = [
        (root, 0, summaries.servers_near(ctx, root, user_id), None)
    ]
    visited: set[RoomId] = set()
    shown = 0
    while stack and len(visited) < MAX_ROOMS:
        room_id, depth, servers, told = stack.pop()
        if room_id in visited:
            continue
        visited.add(room_id)
        if len(visited) % STEP == 0:
            await asyncio.sleep(0)
        node = await look.at(room_id, servers, told)
        if node is None:
            if room_id == root:
                raise Forbidden("You are not allowed to view this room")
            continue
        if len(rooms) == walk.limit:
            answer["next_batch"] = walk.token(shown)
            break
        if walk.max_depth is None or depth < walk.max_depth:
            for child in reversed(node.children):
                child_id = RoomId(child["state_key"])
                if child_id in node.closed and not summaries.is_here(ctx, child_id):
                    continue
                stack.append((child_id, depth + 1, child["content"]["via"], node.told.get(child_id)))
        if shown >= offset:
            rooms.append({**node.summary, "children_state": node.children})
        shown += 1
    return answer


class _Look:
    """Looks at rooms for one page of one user."""

    def __init__(self, ctx: Context, user_id: UserId, suggested_only: bool) -> None:
        self._ctx = ctx
        self._user_id = user_id
        self._suggested_only = suggested_only
        self._asked = 0
        self._until = asyncio.get_running_loop().time() + MAX_SECONDS

    async def at(self, room_id: RoomId, servers: list[str], told: Json | None) -> _Node | None:
        """Return the room if the user may know of it; `told` is what another server has said of it beside its space."""
        ctx = self._ctx
        if not summaries.is_here(ctx, room_id):
            if told is not None and told.get("room_type") != "m.space":
                return _Node(told, [], {}) if self._may_know(told) else None
            found = await self._ask(room_id, servers)
            if found is not None:
                if not self._may_know(found.room):
                    return None
                return _Node(found.room, self._order(found.children_state), found.children, found.closed)
        if not may_know(ctx.db, room_id, self._user_id):
            return None
        children = [_stripped(event) for event in child_events(ctx.db, room_id)]
        return _Node(summary(ctx.db, room_id), self._order(children), {})

    async def _ask(self, room_id: RoomId, servers: list[str]) -> remote_rooms.Told | None:
        if not self._ctx.outbound.policy.enabled:
            return None
        if remote_rooms.held(self._ctx, room_id) is None:
            self._asked += 1
            if self._asked > MAX_ASKED or asyncio.get_running_loop().time() > self._until:
                return None
        return await remote_rooms.tell(self._ctx, room_id, [name for name in servers if isinstance(name, str)])

    def _may_know(self, told: Json) -> bool:
        return summaries.may_know_told(self._ctx.db, told, self._user_id)

    def _order(self, children: list[Json]) -> list[Json]:
        return ordered(children, suggested_only=self._suggested_only)


def for_server(ctx: Context, origin: ServerName, room_id: RoomId, *, suggested_only: bool) -> Json:
    """Return what another server may know of a room and of the rooms named in it. Raises `NotFound`."""
    if not summaries.is_here(ctx, room_id) or not summaries.server_may_know(ctx.db, room_id, origin):
        raise NotFound("There is no such room, or your server may not know of it")
    events = ordered([_stripped(event) for event in child_events(ctx.db, room_id)], suggested_only=suggested_only)
    children: list[Json] = []
    closed: list[str] = []
    for event in events[:MAX_LIMIT]:
        child = RoomId(event["state_key"])
        if not summaries.is_here(ctx, child):
            continue
        if summaries.server_may_know(ctx.db, child, origin):
            children.append(summary(ctx.db, child))
        else:
            closed.append(child)
    room = {**summary(ctx.db, room_id), "children_state": events}
    return {"room": room, "children": children, "inaccessible_children": closed}


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


def _stripped(event: Event) -> Json:
    return {**strip(event), "origin_server_ts": event.origin_server_ts}


def child_events(source: CacheSource, room_id: RoomId) -> list[Event]:
    """Return the events by which a space that is known here names its rooms; none if the room is no space."""
    create = state.current(source, room_id, "m.room.create")
    if create is None or create.content.get("type") != "m.space":
        return []
    return list(state.current_of_type(source, room_id, "m.space.child").values())


def ordered(children: list[Json], *, suggested_only: bool) -> list[Json]:
    """Return those of the events that name a room, in the order in which the rooms are to be shown."""
    found = [
        child
        for child in children
        if _is_child(child) and (not suggested_only or child["content"].get("suggested") is True)
    ]
    found.sort(key=_place)
    return found[:MAX_CHILDREN]


def _is_child(child: Json) -> bool:
    via = child["content"].get("via")
    return is_room_id(child["state_key"]) and isinstance(via, list) and any(isinstance(server, str) for server in via)


def _place(child: Json) -> tuple[bool, str, int, str]:
    order = child["content"].get("order")
    has_order = isinstance(order, str) and _ORDER.fullmatch(order) is not None
    return (not has_order, str(order) if has_order else "", child["origin_server_ts"], str(child["state_key"]))
