"""The answer of /sync: which rooms have news in the interval, and every stream beside them.

All lists are taken at once, at the end of the interval; rooms are then worked through one by one with pauses for others. What happens
meanwhile has a higher count and comes next time.

Source: client-server API, "Syncing", GET /sync.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from conduit.protocol.ids import RoomId
from conduit.service.keys import sight
from conduit.service.rooms import members, state
from conduit.service.rooms.cuts import SyncToken
from conduit.service.rooms.moves import Moves
from conduit.service.sync import joined, left
from conduit.service.sync.streams import account_data, device_lists, invites, one_time_keys, presence, to_device
from conduit.service.sync.window import Json, Window, event_list

PAUSE_AFTER_S: Final = 0.01
"""How long the loop is held before others get a chance."""

_LEFT = ("leave", "ban")


class Rooms(NamedTuple):
    """The rooms to look at. Of a joined room the flag says that the client knows nothing of it; of a left one, that it knows it as joined."""

    join: dict[RoomId, bool]
    invite: list[RoomId]
    knock: list[RoomId]
    leave: dict[RoomId, bool]


async def respond(window: Window) -> Json | None:
    """Return the answer for an interval, or `None` if an incremental one has nothing to tell."""
    items = account_data.changes(window)
    rooms = _at_first(window) if window.initial else _since(window, items)
    messages, given_upto = to_device.changes(window)
    moved = await _moved(window, rooms)
    found: Json = {}
    sections = await _sections(window, rooms, items)
    if sections:
        found["rooms"] = sections
    own = account_data.events(window, items.get("", {}), window.filter.account_data)
    if own:
        found["account_data"] = {"events": event_list(own)}
    seen = presence.changes(window, moved.came)
    if seen:
        found["presence"] = {"events": event_list(seen)}
    if messages:
        found["to_device"] = {"events": event_list(messages)}
    lists = {} if window.initial else device_lists.changes(window, moved)
    if lists:
        found["device_lists"] = lists
    if not found and not window.initial and not window.full_state:
        return None
    found["next_batch"] = SyncToken(window.upto, window.db.start_count, min(given_upto, window.upto)).token()
    found.update(one_time_keys.everything(window.db, window.user_id, window.device_id))
    return found


# --- which rooms ---------------------------------------------------------------------------------------------------


def _at_first(window: Window) -> Rooms:
    """Return all rooms of the user."""
    passes = window.room_filter.passes_room

    def having(membership: str) -> list[RoomId]:
        return [room_id for room_id in members.rooms(window.db, window.user_id, membership) if passes(room_id)]

    gone = [room_id for name in _LEFT for room_id in having(name)] if window.room_filter.include_leave else []
    return Rooms(dict.fromkeys(having("join"), True), having("invite"), having("knock"), dict.fromkeys(gone, False))


def _since(window: Window, items: Mapping[str, Any]) -> Rooms:
    """Return the rooms in which something happened in the interval, by the user's membership now."""
    passes = window.room_filter.passes_room
    rooms = Rooms({}, [], [], {})
    moved: set[RoomId] = set()
    for room_id in window.rooms_moved_in():
        moved.add(room_id)
        if not passes(room_id):
            continue
        membership = members.membership(window.db, room_id, window.user_id)
        if membership == "join":
            rooms.join[room_id] = not _was_in(window, room_id)
        elif membership == "invite":
            rooms.invite.append(room_id)
        elif membership == "knock":
            rooms.knock.append(room_id)
        else:  # out, and perhaps forgotten already
            rooms.leave[room_id] = _was_in(window, room_id)
    all_of_them = window.full_state or window.was_restarted
    last = window.db.watch.last
    for room_id in members.rooms(window.db, window.user_id):
        has_news = all_of_them or last(("room", room_id)) > window.since or room_id in items
        if has_news and room_id not in moved and passes(room_id):
            rooms.join[room_id] = False
    return rooms


def _was_in(window: Window, room_id: RoomId) -> bool:
    number = state.at_count(window.db, room_id, window.since)
    event = state.get(window.db, number, "m.room.member", window.user_id) if number else None
    return event is not None and event.membership == "join"


async def _moved(window: Window, rooms: Rooms) -> Moves:
    """Return who came into sight and who went. An initial sync shows everybody anyway."""
    if window.initial or not (rooms.join or rooms.leave):
        return Moves(set(), set())
    moved_in = window.rooms_moved_in()
    return await sight.changes(window.db, window.user_id, window.since, window.upto, rooms.join, moved_in)


# --- their sections ------------------------------------------------------------------------------------------------


async def _sections(window: Window, rooms: Rooms, items: account_data.Items) -> Json:
    found: Json = {}
    pauses = _Pauses(window)
    shown: Json = {}
    for room_id, is_new in rooms.join.items():
        # A room that the user joined since has account data from before that.
        own = account_data.everything(window, room_id) if is_new and not window.initial else items.get(room_id, {})
        section = await joined.section(window, room_id, own, is_new=is_new)
        if section is not None:
            shown[room_id] = section
        await pauses.take()
    if shown:
        found["join"] = shown
    invited = {room_id: invites.invite(window, room_id) for room_id in rooms.invite}
    invited = {room_id: section for room_id, section in invited.items() if section is not None}
    if invited:
        found["invite"] = invited
    if rooms.knock:
        found["knock"] = {room_id: invites.knock(window, room_id) for room_id in rooms.knock}
    gone: Json = {}
    for room_id, was_in in rooms.leave.items():
        gone[room_id] = await left.section(window, room_id, items.get(room_id, {}), was_in=was_in)
        await pauses.take()
    if gone:
        found["leave"] = gone
    return found


class _Pauses:
    def __init__(self, window: Window) -> None:
        self._clock = window.ctx.clock
        self._since = self._clock.monotonic()

    async def take(self) -> None:
        if self._clock.monotonic() - self._since > PAUSE_AFTER_S:
            await asyncio.sleep(0)
            self._since = self._clock.monotonic()
