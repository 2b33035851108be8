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
"""How many events of a room are read at a time, between two chances for others to run."""

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
    heap: list[tuple[int, RoomId, _Room]] = []
    for number, room_id in enumerate(members.rooms(ctx.db, to.user_id), 1):
        room = _Room(ctx, to, room_id, before)
        if room.head:
            heap.append((-room.head, room_id, room))
        if not number % STEP:
            await asyncio.sleep(0)
    heapq.heapify(heap)
    found: list[Json] = []
    looked_at = 0
    while heap:
        head, _, room = heap[0]
        if len(found) == limit or looked_at == MAX_LOOKED_AT:
            return {"notifications": found, "next_token": f"n{1 - head}"}
        if room.has_read:
            notification = room.notification(*room.take(), only_highlights=only_highlights)
            if notification is not None:
                found.append(notification)
            looked_at += 1
        else:
            room.read()
            await asyncio.sleep(0)
        if room.head:
            heapq.heapreplace(heap, (-room.head, room.room_id, room))
        else:
            heapq.heappop(heap)
    return {"notifications": found}


class _Room:
    """The events of one room before a count, newest first, back to the user's join."""

    def __init__(self, ctx: Context, to: Recipient, room_id: RoomId, before: int) -> None:
        self.room_id = room_id
        self._ctx = ctx
        self._to = to
        self._opened: Reader | None = None
        self._read: deque[tuple[PduId, Event]] = deque()
        self._before = PduId(short_ids.short_room(ctx.db, room_id) or 0, before)
        entry = members.entry(ctx.db, room_id, to.user_id)
        newest = timeline.last_position(ctx.db, room_id)
        self._since = 0 if entry is None else entry.since
        self._most = 0 if newest is None else min(newest.live, before - 1)

    @property
    def head(self) -> int:
        """Return the count of the next event, or an upper bound while it has not been read; 0 if there are no more."""
        count = self._read[0][0].live if self._read else self._most
        return count if count > self._since else 0

    @property
    def has_read(self) -> bool:
        """Tell whether the next event is at hand."""
        return bool(self._read)

    def take(self) -> tuple[PduId, Event]:
        """Return the next event, which is at hand, and go on to the one before it."""
        return self._read.popleft()

    def read(self) -> None:
        """Read some more events: perhaps none of the live ones, as history that was filled in later has notified nobody."""
        rows = list(islice(timeline.scan(self._ctx.db, self.room_id, before=self._before, reverse=True), STEP))
        self._read.extend(row for row in rows if not row[0].back)
        if len(rows) < STEP:
            self._most = 0
        else:
            self._before = rows[-1][0]
            # What was filled in lies right behind the live event of the same count.
            self._most = self._before.live if self._before.back else self._before.live - 1

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
