"""Bundled aggregations: what the children of an event come to, for `m.relations` beside the event itself.

Edits give the one that stands, threads their length and last reply, references the list of them. Children that the reader may not see, or by senders
whom the reader ignores, count for nothing.

Source: client-server API, "Aggregations of child events", "Server-side aggregation of `m.thread`, `m.replace`, `m.reference`".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from conduit.protocol import relations as rules
from conduit.service.rooms import client_events, relations, short_ids, timeline
from conduit.service.rooms.client_events import ClientEvent
from conduit.service.rooms.relations import Related

if TYPE_CHECKING:
    from conduit.service.rooms.reading import Reader


def bundle(reader: Reader, event: ClientEvent, *, inside_thread: bool = False) -> bytes | None:
    """Return the JSON of an event's `m.relations` for a reader, or `None` if there is nothing to bundle. State events have none.

    With `inside_thread` the event is itself the last reply of a thread that is being bundled, so that no further thread is looked for.
    """
    place = event.place(reader.source)
    if event.state_key is not None or place.position is None:
        return None
    rows = relations.in_room(reader.source, place.short, place.position.room)
    if not rows:
        return None
    ignored = reader.ignored
    if ignored:
        rows = tuple([row for row in rows if row.sender not in ignored])
    bundled: dict[str, Any] = {}
    edit = _edit(reader, event, rows)
    if edit is not None:
        bundled[rules.REPLACE] = orjson.Fragment(edit)
    references = _references(reader, rows)
    if references:
        bundled[rules.REFERENCE] = {"chunk": references}
    thread = None if inside_thread else _thread(reader, event, rows)
    if thread is not None:
        bundled[rules.THREAD] = thread
    return orjson.dumps(bundled) if bundled else None


def _edit(reader: Reader, event: ClientEvent, rows: tuple[Related, ...]) -> bytes | None:
    """Return the edit that stands: of the valid ones the latest by time, then by id. A redacted event has none."""
    candidates = [row.short for row in rows if row.rel_type == rules.REPLACE and row.sender == event.sender]
    if not candidates or event.because is not None:
        return None
    original = timeline.event(reader.source, event.event_id)
    edits = timeline.events(reader.source, short_ids.events_of(reader.source, candidates))
    valid = [edit for edit in edits if original is not None and rules.is_valid_edit(original, edit)]
    for edit in sorted(valid, key=lambda edit: (edit.origin_server_ts, edit.event_id), reverse=True):
        form = client_events.get(reader.source, edit.event_id)
        if form is not None and reader.shows(form):
            return reader.render(form)
    return None


def _references(reader: Reader, rows: tuple[Related, ...]) -> list[dict[str, str]]:
    shorts = [row.short for row in rows if row.rel_type == rules.REFERENCE]
    forms = client_events.get_many(reader.source, short_ids.events_of(reader.source, shorts)) if shorts else []
    return [{"event_id": form.event_id} for form in forms if reader.shows(form)]


def _thread(reader: Reader, root: ClientEvent, rows: tuple[Related, ...]) -> dict[str, Any] | None:
    replies = [row for row in rows if row.rel_type == rules.THREAD]
    for row in reversed(replies):
        latest = client_events.get(reader.source, short_ids.event_of(reader.source, row.short))
        if latest is not None and reader.shows(latest):
            break
    else:
        return None
    took_part = root.sender == reader.user_id or any(row.sender == reader.user_id for row in replies)
    return {
        "latest_event": orjson.Fragment(reader.render(latest, bundle(reader, latest, inside_thread=True))),
        "count": len(replies),
        "current_user_participated": took_part,
    }
