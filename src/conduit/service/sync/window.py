"""What one computation of /sync is about: for whom, which interval, and what of it is wanted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from conduit.database.database import Database
from conduit.protocol.filters import Filter, RoomEventFilter, RoomFilter
from conduit.protocol.ids import DeviceId, RoomId, UserId
from conduit.service import account_data
from conduit.service.context import Context
from conduit.service.rooms import members
from conduit.service.rooms.client_events import Recipient
from conduit.service.rooms.cuts import SyncToken
from conduit.service.rooms.reading import PLAIN, Format, Reader
from conduit.service.users import accounts

Json = dict[str, Any]
StateName = Literal["state", "state_after", "org.matrix.msc4222.state_after"]


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """A /sync request, parsed. `since` is `None` for an initial one."""

    user_id: UserId
    device_id: DeviceId
    since: SyncToken | None
    filter: Filter
    full_state: bool = False
    state_name: StateName = "state"
    """Under which name the state of each room is wanted: any but "state" is that at the end of the timelines, and not at their start."""
    timeout_ms: int = 0
    set_presence: str = "online"


class Window:
    """The interval (since, upto] of the counter for one request; `since` is 0 for an initial one. All streams are read in it."""

    __slots__ = (
        "_form",
        "_sight_news",
        "_to",
        "ctx",
        "db",
        "device_id",
        "erased",
        "filter",
        "full_state",
        "ignored",
        "initial",
        "own_news",
        "room_filter",
        "since",
        "since_devices",
        "state_after",
        "state_name",
        "upto",
        "user_id",
        "was_restarted",
    )

    def __init__(self, ctx: Context, request: SyncRequest) -> None:
        since = request.since
        self.ctx = ctx
        self.db: Database = ctx.db
        self.user_id = request.user_id
        self.device_id = request.device_id
        self.filter = request.filter
        self.room_filter: RoomFilter = request.filter.room
        self.full_state = request.full_state
        self.state_name = request.state_name
        self.state_after = request.state_name != "state"
        self.initial = since is None
        self.since = 0 if since is None else since.at
        self.since_devices = 0 if since is None else since.devices
        self.upto = ctx.db.current_count()
        self.own_news = since is None or ctx.db.watch.last(("user", request.user_id)) > since.at
        """Whether anything has happened in the interval that concerns the user beside what happens in rooms: else nothing of it need be looked for."""
        self._sight_news: bool | None = None
        self.was_restarted = since is not None and since.start != ctx.db.start_count
        """Whether what is kept in memory only was lost since: nobody has told the client that those who typed do not type any more."""
        self.ignored: Collection[str] = account_data.ignored_users(ctx.db, request.user_id)
        self.erased: Collection[str] = accounts.erased(ctx.db)
        self._to = Recipient(request.user_id, request.device_id, ctx.clock.now_ms(), with_room=False)
        wanted = request.filter
        plain = wanted.event_fields is None and not wanted.federation_format
        self._form = PLAIN if plain else Format(wanted.event_fields, wanted.federation_format)

    @property
    def sight_news(self) -> bool:
        """Whether presence or devices of anybody in sight, or of the user, may have changed in the interval."""
        if self._sight_news is None:
            keys = members.sight_keys(self.db, self.user_id)
            self._sight_news = self.own_news or self.db.watch.latest(keys) > self.since
        return self._sight_news

    def rooms_moved_in(self) -> list[RoomId]:
        """Return the rooms in which the user's own membership changed in the interval."""
        if not self.own_news:
            return []
        return [change.room_id for change in members.changes(self.db, self.user_id, self.since, self.upto)]

    def reader(self, room_id: RoomId) -> Reader:
        """Return the user's view of a room."""
        return Reader(self.db, room_id, self._to, ignored=self.ignored, erased=self.erased, form=self._form)

    def wants(self, part: RoomEventFilter, room_id: RoomId) -> bool:
        """Tell whether anything of a room can pass a part of the filter."""
        return not part.passes_nothing and part.passes_room(room_id)


def event_list(events: list[Json]) -> orjson.Fragment:
    """Return small events, such as account data, as a JSON array."""
    return orjson.Fragment(orjson.dumps(events))
