"""A room in /sync that the user is out of: left, kicked, banned, or an invite or knock that came to nothing.

Somebody who was in the room gets it up to the leave, and then the own membership event of now if that is a later one, such as a ban. Somebody who was not, or whose client knows of the leave, gets
the own membership event and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit.database.layouts import PduId
from conduit.protocol.ids import RoomId
from conduit.service.rooms import client_events, cuts, members, state, visibility
from conduit.service.rooms import timeline as positions
from conduit.service.rooms.client_events import ClientEvent
from conduit.service.sync import state as states
from conduit.service.sync import timeline
from conduit.service.sync.streams import account_data
from conduit.service.sync.timeline import Slice
from conduit.service.sync.window import Json, Window, event_list


async def section(window: Window, room_id: RoomId, items: Mapping[str, Any], *, was_in: bool) -> Json | None:
    """Return what there is to say of a room that the user is out of. `was_in` says that the client knows the room as joined."""
    reader = window.reader(room_id)
    own = _own_membership(window, room_id)
    position = None if own is None else own.place(window.db).position
    known_by = members.entry(window.db, room_id, window.user_id)
    is_told = known_by is not None and not known_by.event
    if is_told or own is None or position is None or position.live > window.upto:
        # An invite from elsewhere that came to nothing: nothing is known of the room but the leave.
        section = timeline.section(reader, Slice([], False, cuts.at_count(window.since)))
        told = members.leave_events(window.db, room_id, window.user_id) if is_told else []
        if told:
            section["timeline"]["events"] = told
        return {**section, window.state_name: {"events": []}}
    went = _last_leave(window, room_id)
    if went is not None and (was_in or went == position or went.live > window.since):
        start = cuts.at_count(window.since) if was_in else cuts.START
        shown = timeline.read(window, reader, start, cuts.after(went), is_joined=False)
        known = state.at_count(window.db, room_id, window.since) if was_in and not window.full_state else 0
        end = state.at_count(window.db, room_id, went.live) or 0
        over = states.span(window, reader, shown, known=known or 0, end=end)
        known_state = await states.section(window, reader, shown, over)
    else:
        shown, known_state = Slice([], False, cuts.before(position)), states.NOTHING
    if went != position and reader.passes(own, window.room_filter.timeline):
        # Whatever happened beside it while the user was out is not for them to see.
        shown = shown._replace(events=[*shown.events, own])
    found = timeline.section(reader, shown)
    found[window.state_name] = {"events": known_state.events}
    data = account_data.events(window, items, window.room_filter.account_data)
    if data and window.wants(window.room_filter.account_data, room_id):
        found["account_data"] = {"events": event_list(data)}
    return found


def _last_leave(window: Window, room_id: RoomId) -> PduId | None:
    event = visibility.last_leave(window.db, room_id, window.user_id)
    return None if event is None else positions.position(window.db, event.event_id)


def _own_membership(window: Window, room_id: RoomId) -> ClientEvent | None:
    event_id = state.current_id(window.db, room_id, "m.room.member", window.user_id)
    return None if event_id is None else client_events.get(window.db, event_id)
