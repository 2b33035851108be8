"""What relates to an event, and the threads of a room.

Source: client-server API, "Relationships API", "Querying threads in a room".
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from conduit.protocol import relations as rules
from conduit.protocol.ids import EventId
from conduit.service.browse import history
from conduit.service.rooms import bundles, client_events, cuts, relations, short_ids, threads, timeline
from conduit.service.rooms.client_events import ClientEvent
from conduit.service.rooms.cuts import Cut
from conduit.service.rooms.reading import Reader
from conduit.service.rooms.relations import Related

Json = dict[str, Any]

MAX_DEPTH: Final = 3
"""How many steps `recurse` follows."""
MAX_FOUND: Final = 5000
"""How many related events one request gathers."""
MAX_THREADS_LOOKED_AT: Final = 1000


def children(
    reader: Reader,
    event_id: EventId,
    *,
    rel_type: str | None,
    event_type: str | None,
    start: str | None,
    stop: str | None,
    limit: int,
    backwards: bool,
    recurse: bool,
) -> Json:
    """Return a page of the events that relate to an event, newest first if `backwards`. Raises `NotFound` if the user may not see that event."""
    parent = history.find(reader, event_id)
    rows, depth = _gather(reader, parent, MAX_DEPTH if recurse else 1)
    first = cuts.parse(start) if start is not None else (cuts.END if backwards else cuts.START)
    last = cuts.parse(stop) if stop is not None else (cuts.START if backwards else cuts.END)
    chosen: list[ClientEvent] = []
    end: Cut | None = None
    for row in reversed(rows) if backwards else rows:
        order = row.position.order()
        if not (last < order <= first if backwards else first < order <= last):
            continue
        if (rel_type is not None and row.rel_type != rel_type) or (
            event_type is not None and row.event_type != event_type
        ):
            continue
        event = client_events.get(reader.source, short_ids.event_of(reader.source, row.short))
        if event is None or not reader.shows(event):
            continue
        if len(chosen) == limit:
            end = cuts.after(row.position) if backwards else cuts.before(row.position)
            break
        chosen.append(event)
    answer: Json = {"chunk": reader.render_all(chosen)}
    if end is not None:
        answer["next_batch"] = end.token()
    if start is not None:
        answer["prev_batch"] = start
    if recurse:
        answer["recursion_depth"] = depth
    return answer


def _gather(reader: Reader, parent: ClientEvent, depth: int) -> tuple[list[Related], int]:
    """Return everything related to an event within `depth` steps, in the order of the timeline, and how many steps were taken."""
    place = parent.place(reader.source)
    if place.position is None:
        return [], depth
    room = place.position.room
    found: dict[int, Related] = {}
    level = [place.short]
    for _ in range(depth):
        below: list[int] = []
        for short in level:
            for row in relations.in_room(reader.source, short, room):
                if row.short not in found and row.short != place.short and len(found) < MAX_FOUND:
                    found[row.short] = row
                    below.append(row.short)
        level = below
    return sorted(found.values(), key=lambda row: row.position.order()), depth


def room_threads(reader: Reader, start: str | None, limit: int, *, only_participated: bool) -> Json:
    """Return the roots of a room's threads, the most recently answered first."""
    source = reader.source
    before = None if start is None else cuts.upper_bound(source, reader.room_id, cuts.parse(start))
    chosen: list[bytes] = []
    answer: Json = {}
    for looked_at, (position, root_id) in enumerate(threads.of_room(source, reader.room_id, before=before)):
        if len(chosen) == limit or looked_at == MAX_THREADS_LOOKED_AT:
            answer["next_batch"] = cuts.after(position).token()
            break
        root = client_events.get(source, root_id)
        if root is None or root.room_id != reader.room_id or not reader.viewer.sees(root):
            continue
        if (
            only_participated
            and root.sender != reader.user_id
            and not threads.took_part(source, root_id, reader.user_id)
        ):
            continue
        rendered = _root(reader, root)
        if rendered is not None:
            chosen.append(rendered)
    answer["chunk"] = orjson.Fragment(b"[" + b",".join(chosen) + b"]")
    return answer


def _root(reader: Reader, root: ClientEvent) -> bytes | None:
    """Return a thread's root with its summary; pruned if the user ignores its sender. `None` if the user gets none of its replies."""
    bundled = bundles.bundle(reader, root)
    if bundled is None or rules.THREAD not in orjson.loads(bundled):
        return None
    if root.sender in reader.ignored and root.state_key is None:
        event = timeline.event(reader.source, root.event_id)
        if event is None:
            return None
        root = client_events.pruned(root, event)
    return reader.render(root, bundled)
