"""A joined room in /sync."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit.protocol.ids import RoomId
from conduit.service.rooms import cuts, short_ids, state
from conduit.service.sync import state as states
from conduit.service.sync import timeline
from conduit.service.sync.streams import account_data, receipts, typing, unread
from conduit.service.sync.summary import heroes, summary
from conduit.service.sync.timeline import Slice
from conduit.service.sync.window import Json, Window, event_list


async def section(window: Window, room_id: RoomId, items: Mapping[str, Any], *, is_new: bool) -> Json | None:
    """Return what there is to say of a room that the user is in, or `None` for nothing.

    `is_new` says that the client knows nothing of the room: the sync is an initial one, or the user joined since. `items` is the account data
    of the room that changed.
    """
    reader = window.reader(room_id)
    end = state.at_count(window.db, room_id, window.upto) or 0
    known = 0 if is_new else state.at_count(window.db, room_id, window.since) or 0
    start = cuts.START if is_new else cuts.at_count(window.since)
    shown = timeline.read(window, reader, start, cuts.at_count(window.upto), is_joined=True)
    if is_new and not window.initial and not _is_whole(shown):
        # What the client may know of the room from before does not join up with this.
        shown = shown._replace(limited=True)
    over = states.span(window, reader, shown, known=0 if window.full_state else known, end=end)
    named_by = None
    has_summary = not over.known or _summary_changed(window, over.known, end)
    if has_summary:
        named_by = await heroes(window.db, end, window.user_id)
    changed = await states.section(window, reader, shown, over, named_by or ())
    found = timeline.section(reader, shown)
    news = bool(shown.events or shown.limited or not changed.is_empty or is_new or window.full_state or has_summary)
    if not changed.is_empty or not over.known or window.state_after:
        found[window.state_name] = {"events": changed.events}
    ephemeral = _ephemeral(window, room_id, is_new=is_new)
    if ephemeral or is_new:
        found["ephemeral"] = {"events": event_list(ephemeral)}
    own = account_data.events(window, items, window.room_filter.account_data)
    if own and window.wants(window.room_filter.account_data, room_id):
        found["account_data"] = {"events": event_list(own)}
    if not (news or "ephemeral" in found or "account_data" in found):
        return None
    if has_summary:
        found["summary"] = summary(window.db, room_id, named_by)
    found.update(unread.everything(window, room_id))
    return found


def _is_whole(shown: Slice) -> bool:
    return bool(shown.events) and shown.events[0].type == "m.room.create"


def _summary_changed(window: Window, known: int, end: int) -> bool:
    if known == end:
        return False
    changed = {key for part in state.diff(window.db, known, end) for key in part}
    for event_type, key in short_ids.statekeys_of(window.db, list(changed)):
        if event_type in _NAMING:
            return True
        # A new name or picture of a member changes neither the counts nor the heroes.
        if event_type == MEMBER and _membership(window, known, key) != _membership(window, end, key):
            return True
    return False


def _membership(window: Window, number: int, user_id: str) -> str | None:
    event = state.get(window.db, number, MEMBER, user_id)
    return None if event is None else event.membership


MEMBER = "m.room.member"
_NAMING = frozenset({"m.room.name", "m.room.canonical_alias"})


def _ephemeral(window: Window, room_id: RoomId, *, is_new: bool) -> list[Json]:
    wanted = window.room_filter.ephemeral
    if not window.wants(wanted, room_id):
        return []
    found: list[Json] = []
    for stream in (typing, receipts):
        # These events have no sender, so only their type is asked about.
        if (wanted.types is None or stream.TYPE in wanted.types) and not (
            wanted.not_types is not None and stream.TYPE in wanted.not_types
        ):
            found += stream.everything(window, room_id) if is_new else stream.changes(window, room_id)
    return found
