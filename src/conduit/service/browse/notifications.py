"""What a user was notified of, newest first.

Nothing is kept for this: the rooms that the user is in are looked through as far back as the joins, and the user's push rules are asked anew.

Source: client-server API, "Listing Notifications".
"""

from __future__ import annotations

import asyncio
import heapq
import re
from collections import deque
from itertools import islice
from typing import Any, Final

from conduit.database.layouts import PduId
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import RoomId
from conduit.protocol.pdu import Event
from conduit.protocol.push.ruleset import tweaks
from conduit.service.browse import history
from conduit.service.context import Context
from conduit.service.push import counting
from conduit.service.rooms import client_events, members, receipts, short_ids, threads, timeline
from conduit.service.rooms.client_events import Recipient
from conduit.service.rooms.reading import Reader

Json = dict[str, Any]

MAX_LOOKED_AT: Final = 2000
"""How many events one request looks at, however few of them notify; then the page ends early, with a token to go on from."""
STEP: Final = 50
"""How many events of a room are read at a time, and looked at between two chances for others to run."""

_TOKEN = re.compile(r"n([0-9]{1,18})", re.ASCII)
_NOW: Final = 10**18


def parse_token(token: str | None) -> int:
    """Return the count before which a page begins: that of a `next_token`, or one after everything. Raises `InvalidParam`."""
    if token is None:
        return _NOW
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise InvalidParam("Unknown pagination token")
    return int(match[1])


async def notifications(ctx: Context, to: Recipient, before: int, limit: int, *, only_highlights: bool) -> Json:
    """Return a page of at most `limit` notifications of events before the count `before`, and the token of the next one."""
    rooms = [_Room(ctx, to, room_id, before) for room_id in members.rooms(ctx.db, to.user_id)]
    heap = [(-room.head, room.room_id, room) for room in rooms if room.head]
    heapq.heapify(heap)
    found: list[Json] = []
    looked_at = 0
    while heap:
        head, _, room = heap[0]
        if len(found) == limit or looked_at == MAX_LOOKED_AT:
            return {"notifications": found, "next_token": f"n{1 - head}"}
        taken = room.take(-head)
        if taken is not None:
            notification = room.notification(*taken, only_highlights=only_highlights)
            if notification is not None:
                found.append(notification)
            looked_at += 1
            if not looked_at % STEP:
                await asyncio.sleep(0)
        if room.head:
            heapq.heapreplace(heap, (-room.head, room.room_id, room))
        else:
            heapq.heappop(heap)
    return {"notifications": found}


class _Room:
    """The events of one room before a count, newest first, back to the user's join.

    `head` is the count of the next one, or an upper bound while none has been read; 0 when there are no more.
    """

    def __init__(self, ctx: Context, to: Recipient, room_id: RoomId, before: int) -> None:
        self.room_id = room_id
        self._ctx = ctx
        self._to = to
        self._opened: Reader | None = None
        self._read: deque[tuple[PduId, Event]] = deque()
        entry = members.entry(ctx.db, room_id, to.user_id)
        newest = timeline.last_position(ctx.db, room_id)
        self._since = 0 if entry is None else entry.since
        self._before = PduId(short_ids.short_room(ctx.db, room_id) or 0, before)
        self.head = 0 if newest is None else self._bounded(min(newest.live, before - 1))

    def _bounded(self, count: int) -> int:
        return count if count > self._since else 0

    def take(self, head: int) -> tuple[PduId, Event] | None:
        """Return the event at the count `head` and go on to the one before it; `None` if `head` was but an upper bound."""
        if not self._read:
            self._fill()
        taken = self._read.popleft() if self._read and self._read[0][0].live == head else None
        if not self._read:
            self._fill()
        self.head = self._bounded(self._read[0][0].live) if self._read else 0
        return taken

    def _fill(self) -> None:
        rows = islice(timeline.scan(self._ctx.db, self.room_id, before=self._before, reverse=True), STEP)
        for place, event in rows:
            self._before = place
            # History that was filled in later has notified nobody.
            if not place.back:
                self._read.append((place, event))

    def notification(self, place: PduId, event: Event, *, only_highlights: bool) -> Json | None:
        """Return what the user was told of an event, or `None` if it was not told or is not to be seen."""
        db, user_id = self._ctx.db, self._to.user_id
        if event.sender == user_id or timeline.is_redacted(db, event.event_id):
            return None
        actions = counting.actions_for(db, event, user_id)
        notify, highlight, _ = tweaks(actions)
        shown = client_events.at(db, place, event.event_id)
        if not notify or (only_highlights and not highlight) or shown is None:
            return None
        if self._opened is None:
            self._opened = history.view_room(self._ctx, self._to, self.room_id)
        if not self._opened.shows(shown):
            return None
        return {
            "actions": actions,
            "event": self._opened.render_one(shown),
            # All rules are global ones. Optional, but there are clients that take it as given.
            "profile_tag": "",
            "read": self._is_read(place, event),
            "room_id": self.room_id,
            "ts": event.origin_server_ts,
        }

    def _is_read(self, place: PduId, event: Event) -> bool:
        whole, by_thread = receipts.read_up_to(self._ctx.db, self.room_id, self._to.user_id)
        thread = threads.root_of(self._ctx.db, event) or receipts.MAIN
        return place.live <= max(whole, by_thread.get(thread, 0))
