"""Who is in which room: memberships by user and by room, counts, servers, and the stream of their changes.

Everything here follows the room's current state and is kept up by `record`, which is called for each member event that becomes current. Conduit's trees
are written as Conduit has them; ours (`membership`, `membership_stream`) hold the membership itself and one stream row for each user and room.
An invite may also come from another server, for a room of which nothing else is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.database.layouts import Membership
from conduit.protocol.ids import RoomId, ServerName, UserId, server_name_of
from conduit.service.rooms import partial
from conduit.service.rooms.layered import LayeredMap, LayeredSet

LEFT = frozenset({"leave", "ban"})
"""Memberships of people who are out; they may forget the room."""
MAX_PAST = 10_000
"""Among how many who have left a room those of one server are looked for."""

WakeKey = tuple[str, str]


def _server_of(user_id: str) -> str:
    return user_id.partition(":")[2]


class _Joined:
    """The joined users of a room by server. Frozen: `having` and `lacking` return changed copies, cheap in rooms of any size."""

    __slots__ = ("_all", "_wakes", "_wakes_server", "count", "servers")

    def __init__(self, servers: dict[str, LayeredSet[UserId]], count: int) -> None:
        self.servers = servers
        self.count = count
        self._all: frozenset[UserId] | None = None
        self._wakes: LayeredSet[WakeKey] | None = None
        self._wakes_server = ""

    def all(self) -> frozenset[UserId]:
        if self._all is None:
            if len(self.servers) == 1:
                self._all = next(iter(self.servers.values())).frozen()
            else:
                self._all = frozenset().union(*[users.frozen() for users in self.servers.values()])
        return self._all

    def on(self, server_name: str) -> frozenset[UserId]:
        users = self.servers.get(server_name)
        return frozenset() if users is None else users.frozen()

    def wakes(self, server_name: str) -> tuple[frozenset[WakeKey], ...]:
        if self._wakes is None or self._wakes_server != server_name:
            self._wakes = LayeredSet([("user", user_id) for user_id in self.on(server_name)])
            self._wakes_server = server_name
        return self._wakes.parts()

    def having(self, user_id: UserId) -> _Joined:
        server = _server_of(user_id)
        users = self.servers.get(server)
        if users is not None and user_id in users:
            return self
        copy = _Joined(dict(self.servers), self.count + 1)
        copy.servers[server] = LayeredSet([user_id]) if users is None else users.having(user_id)
        if self._wakes is not None:
            copy._wakes_server = self._wakes_server
            copy._wakes = self._wakes.having(("user", user_id)) if server == self._wakes_server else self._wakes
        return copy

    def lacking(self, user_id: UserId) -> _Joined:
        server = _server_of(user_id)
        users = self.servers.get(server)
        if users is None or user_id not in users:
            return self
        copy = _Joined(dict(self.servers), self.count - 1)
        rest = users.lacking(user_id)
        if rest:
            copy.servers[server] = rest
        else:
            del copy.servers[server]
        if self._wakes is not None:
            copy._wakes_server = self._wakes_server
            copy._wakes = self._wakes.lacking(("user", user_id)) if server == self._wakes_server else self._wakes
        return copy


def _load_joined(source: CacheSource, room_id: RoomId) -> _Joined:
    servers: dict[str, list[UserId]] = {}
    count = 0
    for _, user_id in trees.roomuserid_joined.keys(source, (room_id,)):
        server = user_id.partition(":")[2]
        there = servers.get(server)
        if there is None:
            there = servers[server] = []
        there.append(UserId(user_id))
        count += 1
    return _Joined({server: LayeredSet(users) for server, users in servers.items()}, count)


_JOINED: Cached[RoomId, _Joined] = Cached(
    "room_joined", load=_load_joined, weigh=lambda joined: 500 + 300 * joined.count
)


_INVITED_COUNT: Cached[RoomId, int] = Cached(
    "invited_count",
    load=lambda source, room_id: trees.roomid_invitedcount.get(source, room_id) or 0,
    weigh=lambda count: 30,
)


class _Rooms:
    """The rooms of a user. Frozen, with a list for each membership that is made when first asked for."""

    __slots__ = ("_lists", "_news", "_sight", "entries")

    def __init__(self, entries: LayeredMap[RoomId, Membership]) -> None:
        self.entries = entries
        self._lists: dict[str, list[RoomId]] | None = None
        self._news: tuple[WakeKey, ...] | None = None
        self._sight: tuple[WakeKey, ...] | None = None

    def having(self, membership: str) -> list[RoomId]:
        if self._lists is None:
            self._lists = {}
            for room_id, entry in self.entries.whole().items():
                self._lists.setdefault(entry.membership, []).append(room_id)
        return self._lists.get(membership, [])

    def news_keys(self, user_id: UserId) -> tuple[WakeKey, ...]:
        if self._news is None:
            self._news = (
                ("user", user_id),
                *[("room", room_id) for room_id in self.having("join")],
                *self.sight_keys(),
            )
        return self._news

    def sight_keys(self) -> tuple[WakeKey, ...]:
        if self._sight is None:
            self._sight = tuple([("sight", room_id) for room_id in self.having("join")])
        return self._sight


def _load_rooms(source: CacheSource, user_id: UserId) -> _Rooms:
    entries = {RoomId(room_id): entry for (_, room_id), entry in trees.membership.scan(source, (user_id,))}
    left = [room_id for room_id, entry in entries.items() if entry.membership in LEFT]
    marks = trees.roomuserid_leftcount.get_many(source, [(room_id, user_id) for room_id in left])
    for room_id, mark in zip(left, marks, strict=True):
        if mark is None:
            del entries[room_id]  # forgotten
    return _Rooms(LayeredMap(entries))


_ROOMS: Cached[UserId, _Rooms] = Cached(
    "user_rooms", load=_load_rooms, weigh=lambda rooms: 400 + 450 * len(rooms.entries)
)


# --- by user -------------------------------------------------------------------------------------------------------


def membership(source: CacheSource, room_id: RoomId, user_id: UserId) -> str | None:
    """Return a user's membership of a room ("join", "invite", "knock", "leave", "ban"); `None` if there never was one, or the room is forgotten."""
    entry = _ROOMS.get(source, user_id).entries.get(room_id)
    return None if entry is None else entry.membership


def entry(source: CacheSource, room_id: RoomId, user_id: UserId) -> Membership | None:
    """Return a user's membership with the count since which it holds and the short event behind it (0: an invite from afar)."""
    found: Membership | None = _ROOMS.get(source, user_id).entries.get(room_id)
    return found


def is_joined(source: CacheSource, room_id: RoomId, user_id: UserId) -> bool:
    """Tell whether the user is in the room."""
    return membership(source, room_id, user_id) == "join"


def was_ever_joined(source: CacheSource, room_id: RoomId, user_id: UserId) -> bool:
    """Tell whether the user is or was in the room."""
    return trees.roomuseroncejoinedids.has(source, (user_id, room_id))


def rooms(source: CacheSource, user_id: UserId, membership: str = "join") -> list[RoomId]:
    """Return the rooms of which the user has that membership; forgotten ones are left out. Shared: do not change the list."""
    return _ROOMS.get(source, user_id).having(membership)


def share_room(source: CacheSource, one: UserId, other: UserId) -> bool:
    """Tell whether two users are joined to some room both."""
    return any(True for _ in _shared(source, one, other))


def shared_rooms(source: CacheSource, one: UserId, other: UserId) -> list[RoomId]:
    """Return the rooms that both users are joined to."""
    return list(_shared(source, one, other))


def _shared(source: CacheSource, one: UserId, other: UserId) -> Iterable[RoomId]:
    # Walk the shorter list: somebody may be in thousands of rooms.
    few, many = sorted(
        (_ROOMS.get(source, one), _ROOMS.get(source, other)), key=lambda rooms: len(rooms.having("join"))
    )
    for room_id in few.having("join"):
        found = many.entries.get(room_id)
        if found is not None and found.membership == "join":
            yield room_id


class Change(NamedTuple):
    """A change in the stream of a user's memberships."""

    since: int
    room_id: RoomId


def changes(source: CacheSource, user_id: UserId, since: int, upto: int) -> list[Change]:
    """Return the rooms in which the user's membership changed after the count `since` and up to `upto`, oldest first; each with its latest change only."""
    rows = trees.membership_stream.scan(source, (user_id,), after=since, before=upto + 1)
    return [Change(count, RoomId(room_id)) for (_, count), room_id in rows]


def invite_state(source: CacheSource, room_id: RoomId, user_id: UserId) -> list[dict[str, Any]]:
    """Return the stripped state that came with the user's invite; empty if there is none."""
    return _as_told(trees.userroomid_invitestate.get(source, (user_id, room_id)))


def knock_state(source: CacheSource, room_id: RoomId, user_id: UserId) -> list[dict[str, Any]]:
    """Return the stripped state of the room that the user knocks on; empty if there is none."""
    return _as_told(trees.userroomid_knockstate.get(source, (user_id, room_id)))


def _as_told(stored: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    return [{name: value for name, value in item.items() if name not in WaitsBy._fields} for item in stored or ()]


class WaitsBy(NamedTuple):
    """The place in its room of an invite or a knock."""

    event_id: str
    depth: int
    room_version: str | None = None
    """`None` for one that was kept when this was not yet."""


def waits_by(source: CacheSource, room_id: RoomId, user_id: UserId) -> WaitsBy | None:
    """Return the place of the invite or knock by which the user waits outside of a room that is not known here; `None` if nobody has kept it."""
    key = (user_id, room_id)
    stored = trees.userroomid_invitestate.get(source, key) or trees.userroomid_knockstate.get(source, key) or []
    own = (item for item in stored if item.get("type") == "m.room.member" and item.get("state_key") == user_id)
    placed = (item for item in own if "event_id" in item and "depth" in item)
    return next((WaitsBy(item["event_id"], item["depth"], item.get("room_version")) for item in placed), None)


def leave_events(source: CacheSource, room_id: RoomId, user_id: UserId) -> list[dict[str, Any]]:
    """Return the event by which the user is out of a room of which nothing else is known, as clients see it; empty if there is none."""
    return trees.userroomid_leftstate.get(source, (user_id, room_id)) or []


def is_forgotten(source: CacheSource, room_id: RoomId, user_id: UserId) -> bool:
    """Tell whether the user has left the room and forgotten it."""
    known = trees.membership.get(source, (user_id, room_id))
    return (
        known is not None
        and known.membership in LEFT
        and not trees.roomuserid_leftcount.has(source, (room_id, user_id))
    )


# --- by room -------------------------------------------------------------------------------------------------------


def joined(source: CacheSource, room_id: RoomId) -> frozenset[UserId]:
    """Return the users in the room, of all servers."""
    return _JOINED.get(source, room_id).all()


def joined_local(source: CacheSource, room_id: RoomId, server_name: ServerName) -> frozenset[UserId]:
    """Return the users of one server in the room: with this server's name, the local ones."""
    return _JOINED.get(source, room_id).on(server_name)


def has_invites(source: CacheSource, user_id: UserId, number: int) -> bool:
    """Tell whether a user is invited to so many rooms, or more."""
    invites = trees.userroomid_invitestate.keys(source, (user_id,))
    return sum(1 for _ in islice(invites, number)) == number


def joined_count(source: CacheSource, room_id: RoomId) -> int:
    """Return how many users are in the room."""
    known = _JOINED.peek(source, room_id)
    return (trees.roomid_joinedcount.get(source, room_id) or 0) if known is None else known.count


def invited(source: CacheSource, room_id: RoomId) -> list[UserId]:
    """Return the users invited to the room."""
    return [UserId(user_id) for _, user_id in trees.roomuserid_invitecount.keys(source, (room_id,))]


def invited_count(source: CacheSource, room_id: RoomId) -> int:
    """Return how many users are invited to the room."""
    return _INVITED_COUNT.get(source, room_id)


def knocking(source: CacheSource, room_id: RoomId) -> list[UserId]:
    """Return the users who knock on the room."""
    return [UserId(user_id) for _, user_id in trees.roomuserid_knockcount.keys(source, (room_id,))]


def servers(source: CacheSource, room_id: RoomId) -> list[ServerName]:
    """Return the servers with a user in the room; as long as its members are not all known, also those that were in it at the join."""
    known = [ServerName(server) for server in _JOINED.get(source, room_id).servers]
    joined_fast = partial.find(source, room_id)
    return known if joined_fast is None else list(joined_fast.servers.union(known))


def has_server(source: CacheSource, room_id: RoomId, server_name: str) -> bool:
    """Tell whether `servers` holds the server."""
    if server_name in _JOINED.get(source, room_id).servers:
        return True
    joined_fast = partial.find(source, room_id)
    return joined_fast is not None and server_name in joined_fast.servers


def past_and_invited(source: CacheSource, room_id: RoomId) -> Iterator[UserId]:
    """Yield those who were in the room or had to do with it otherwise and did not forget it, and those invited; not those who are in it."""
    for tree in (trees.roomuserid_invitecount, trees.roomuserid_leftcount):
        for _, user_id in tree.keys(source, (room_id,)):
            yield UserId(user_id)


def past_of(source: CacheSource, room_id: RoomId, server_name: ServerName) -> Iterator[UserId]:
    """Yield those of `past_and_invited` who are users of a server; they are looked for among the first `MAX_PAST`."""
    found = islice(past_and_invited(source, room_id), MAX_PAST)
    return (user_id for user_id in found if server_name_of(user_id) == server_name)


def rooms_of_server(source: CacheSource, server_name: ServerName) -> list[RoomId]:
    """Return the rooms with a user of the server."""
    return [RoomId(room_id) for _, room_id in trees.serverroomids.keys(source, (server_name,))]


def crowds(source: CacheSource, room_id: RoomId, server_name: ServerName) -> Sequence[frozenset[WakeKey]]:
    """Return sets that together hold the wake key of each local user in the room, and perhaps of some who left lately.

    They are shared and cost nothing to make, however large the room. Woken as crowds: what has happened is told by the keys of the room.
    """
    return _JOINED.get(source, room_id).wakes(server_name)


def wake(batch: Batch, room_id: RoomId, server_name: ServerName) -> None:
    """Wake every local user in the room for something that has happened there."""
    batch.wake(("room", room_id))
    for crowd in crowds(batch, room_id, server_name):
        batch.wake_crowd(crowd)


def wake_in_sight(batch: Batch, user_id: UserId, server_name: ServerName) -> None:
    """Wake every local user who shares a room with `user_id`, for something that concerns that user and no room."""
    for room_id in rooms(batch, user_id):
        batch.wake(("sight", room_id))
        for crowd in crowds(batch, room_id, server_name):
            batch.wake_crowd(crowd)


def news_keys(source: CacheSource, user_id: UserId) -> Sequence[WakeKey]:
    """Return the keys that tell of news for the user: the own one, and of each room one for what happens there and one for who is in it."""
    return _ROOMS.get(source, user_id).news_keys(user_id)


def sight_keys(source: CacheSource, user_id: UserId) -> Sequence[WakeKey]:
    """Return those of `news_keys` that tell of who is in the user's rooms: of their presence and their devices."""
    return _ROOMS.get(source, user_id).sight_keys()


# --- writing -------------------------------------------------------------------------------------------------------


def begin(batch: Batch, room_id: RoomId) -> None:
    """Let a room that is being created have no members, who need not be looked for."""
    _JOINED.set(batch, room_id, _Joined({}, 0))


def record(
    batch: Batch,
    room_id: RoomId,
    user_id: UserId,
    membership: str,
    *,
    count: int,
    event: int,
    stripped: list[dict[str, Any]] | None = None,
) -> str | None:
    """Write that the user now has `membership` by the short event `event`; return what it was before.

    `count` is the event's position, from which the change holds. `stripped` is the room's stripped state, for an invite or a knock, of which one
    item may have what `waits_by` returns; for the
    leave of a room of which nothing is known here, the member event as clients see it. A change
    within one membership (a new display name) renews the event and no count.
    """
    key = (user_id, room_id)
    known = trees.membership.get(batch, key)
    old = None if known is None else known.membership
    stays_forgotten = membership in LEFT and is_forgotten(batch, room_id, user_id)
    since = known.since if known is not None and (old == membership or stays_forgotten) else count
    row = Membership(membership, since, event)
    trees.membership.put(batch, key, row)
    if stays_forgotten:
        return old  # out as before, if perhaps banned or not any more: nothing that the user wants to hear of
    if old != membership:
        if known is not None:
            trees.membership_stream.delete(batch, (user_id, known.since))
        trees.membership_stream.put(batch, (user_id, since), room_id)
        _record_pairs(batch, room_id, user_id, old, membership, since)
    if membership == "invite":
        trees.userroomid_invitestate.put(batch, key, stripped or [])
    elif membership == "knock":
        trees.userroomid_knockstate.put(batch, key, stripped or [])
    elif stripped:
        trees.userroomid_leftstate.put(batch, key, stripped)
    _cache_rooms(batch, user_id, room_id, row)
    return old


def _record_pairs(batch: Batch, room_id: RoomId, user_id: UserId, old: str | None, new: str, count: int) -> None:
    """Write Conduit's pairs: of joined, invited, knocking and left exactly one holds."""
    by_user, by_room = (user_id, room_id), (room_id, user_id)
    if old == "join":
        trees.userroomid_joined.delete(batch, by_user)
        trees.roomuserid_joined.delete(batch, by_room)
        _leave_room(batch, room_id, user_id)
    elif old == "invite":
        trees.userroomid_invitestate.delete(batch, by_user)
        trees.roomuserid_invitecount.delete(batch, by_room)
        _set_invited_count(batch, room_id, invited_count(batch, room_id) - 1)
    elif old == "knock":
        trees.userroomid_knockstate.delete(batch, by_user)
        trees.roomuserid_knockcount.delete(batch, by_room)
    elif old in LEFT and new not in LEFT:
        trees.userroomid_leftstate.delete(batch, by_user)
        trees.roomuserid_leftcount.delete(batch, by_room)
    if new == "join":
        trees.userroomid_joined.put(batch, by_user, True)
        trees.roomuserid_joined.put(batch, by_room, True)
        trees.roomuseroncejoinedids.put(batch, by_user, True)
        _enter_room(batch, room_id, user_id)
    elif new == "invite":
        trees.roomuserid_invitecount.put(batch, by_room, count)
        _set_invited_count(batch, room_id, invited_count(batch, room_id) + 1)
    elif new == "knock":
        trees.roomuserid_knockcount.put(batch, by_room, count)
    elif new in LEFT:
        trees.userroomid_leftstate.put(batch, by_user, [])
        trees.roomuserid_leftcount.put(batch, by_room, count)


def _set_invited_count(batch: Batch, room_id: RoomId, count: int) -> None:
    trees.roomid_invitedcount.put(batch, room_id, count)
    _INVITED_COUNT.set(batch, room_id, count)


def _enter_room(batch: Batch, room_id: RoomId, user_id: UserId) -> None:
    before = _joined_before(batch, room_id, user_id, is_there=False)
    server = _server_of(user_id)
    if server not in before.servers:
        trees.roomserverids.put(batch, (room_id, server), True)
        trees.serverroomids.put(batch, (server, room_id), True)
    after = before.having(user_id)
    trees.roomid_joinedcount.put(batch, room_id, after.count)
    _JOINED.set(batch, room_id, after)
    batch.on_commit(lambda: batch.db.watch.announce(("entered", room_id, user_id)))


def _leave_room(batch: Batch, room_id: RoomId, user_id: UserId) -> None:
    before = _joined_before(batch, room_id, user_id, is_there=True)
    server = _server_of(user_id)
    after = before.lacking(user_id)
    if server not in after.servers:
        trees.roomserverids.delete(batch, (room_id, server))
        trees.serverroomids.delete(batch, (server, room_id))
    trees.roomid_joinedcount.put(batch, room_id, after.count)
    _JOINED.set(batch, room_id, after)


def _joined_before(batch: Batch, room_id: RoomId, user_id: UserId, *, is_there: bool) -> _Joined:
    # The row itself may be written in this batch already, so what is loaded now may know of the change.
    found = _JOINED.get(batch, room_id)
    return found.having(user_id) if is_there else found.lacking(user_id)


def _cache_rooms(batch: Batch, user_id: UserId, room_id: RoomId, row: Membership | None) -> None:
    held = _ROOMS.peek(batch, user_id)
    if held is None:
        _ROOMS.forget(batch, user_id)
    elif row is None:
        _ROOMS.set(batch, user_id, _Rooms(held.entries.lacking(room_id)))
    else:
        _ROOMS.set(batch, user_id, _Rooms(held.entries.having(room_id, row)))


def forget(batch: Batch, room_id: RoomId, user_id: UserId) -> None:
    """Let the user forget a room that he has left. The caller has checked that he has; doing it twice does nothing."""
    known = trees.membership.get(batch, (user_id, room_id))
    if known is None or known.membership not in LEFT:
        return
    trees.userroomid_leftstate.delete(batch, (user_id, room_id))
    trees.roomuserid_leftcount.delete(batch, (room_id, user_id))
    # The row of the stream stays: devices that have not heard of the leave yet still must.
    _cache_rooms(batch, user_id, room_id, None)
