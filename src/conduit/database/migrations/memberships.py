"""Step: who is in which room. The room's current state decides; Conduit's own lists are put right where they differ.

Where the state is stale, in rooms that nobody here is in any more, and where there is none, as with an invite from afar, Conduit's lists are
all that there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import NamedTuple

import orjson

from conduit.database import trees
from conduit.database.layouts import Membership
from conduit.database.migrations.bulk import Bulk
from conduit.database.migrations.layers import Layers
from conduit.protocol.pdu import Event

_OUT = frozenset({"leave", "ban"})


class Transitions:
    """Since which count each user has had the latest membership, as far as the timeline tells."""

    def __init__(self) -> None:
        self._latest: dict[str, tuple[str, int]] = {}

    def take(self, event: Event, count: int) -> None:
        """Look at one live event."""
        if event.type != "m.room.member" or event.state_key is None:
            return
        membership = event.membership or "leave"
        if self._latest.get(event.state_key, ("", 0))[0] != membership:
            self._latest[event.state_key] = (membership, count)

    def since(self, user_id: str, membership: str) -> int | None:
        """Return the count since which the user has this membership, or `None`."""
        found = self._latest.get(user_id)
        return found[1] if found is not None and found[0] == membership else None


class _Listed(NamedTuple):
    """What Conduit's lists say of a user: one of join, invite, knock, leave; and since when, 0 if that is not said."""

    membership: str
    since: int


def settle(bulk: Bulk, layers: Layers, room_id: str, state: int, transitions: Transitions, home: str | None) -> None:
    """Write the memberships of a room with state, and put Conduit's lists right."""
    listed = dict(_listed(bulk, room_id))
    stated = dict(_stated(bulk, layers, state))
    is_stale = home is not None and not any(
        entry.membership == "join" and user_id.endswith(f":{home}") for user_id, entry in listed.items()
    )
    final: dict[str, Membership] = {}
    for user_id, (membership, event) in stated.items():
        entry = listed.get(user_id)
        if (
            is_stale
            and entry is not None
            and user_id.endswith(f":{home}")
            and _category(membership) != entry.membership
        ):
            final[user_id] = Membership(entry.membership, entry.since, 0)
            continue
        since = transitions.since(user_id, membership)
        if since is None:
            agrees = entry is not None and entry.membership == _category(membership)
            since = entry.since if agrees and entry is not None else 0
        final[user_id] = Membership(membership, since, event)
    for user_id, entry in listed.items():
        if user_id not in final and entry.membership != "join":
            final[user_id] = Membership(entry.membership, entry.since, 0)
    _write(bulk, room_id, final, listed)


def settle_rest(bulk: Bulk, with_state: Set[int]) -> None:
    """Write the memberships of rooms of which nothing else is known; `with_state` are the short ids of those that were settled."""
    rooms: set[str] = set()
    rooms.update(room_id for (room_id, _), _ in bulk.rows(trees.roomuserid_joined))
    for tree in (trees.roomuserid_invitecount, trees.roomuserid_knockcount, trees.roomuserid_leftcount):
        rooms.update(room_id for (room_id, _), _ in bulk.rows(tree))
    for room_id in sorted(rooms):
        if trees.roomid_shortroomid.get(bulk, room_id) in with_state:
            continue
        listed = dict(_listed(bulk, room_id))
        final = {
            user_id: Membership(entry.membership, entry.since, 0)
            for user_id, entry in listed.items()
            if entry.membership != "join"
        }
        _write(bulk, room_id, final, listed)


def _category(membership: str) -> str:
    return "leave" if membership in _OUT else membership


def _listed(bulk: Bulk, room_id: str) -> Iterator[tuple[str, _Listed]]:
    for (_, user_id), count in trees.roomuserid_leftcount.scan(bulk, (room_id,)):
        yield user_id, _Listed("leave", count)
    for (_, user_id), count in trees.roomuserid_knockcount.scan(bulk, (room_id,)):
        yield user_id, _Listed("knock", count)
    for (_, user_id), count in trees.roomuserid_invitecount.scan(bulk, (room_id,)):
        yield user_id, _Listed("invite", count)
    for _, user_id in trees.roomuserid_joined.keys(bulk, (room_id,)):
        yield user_id, _Listed("join", 0)


def _stated(bulk: Bulk, layers: Layers, state: int) -> Iterator[tuple[str, tuple[str, int]]]:
    """Return what the members' events of a state say: user -> membership, short event."""
    for key, short in layers.ids(state).items():
        pair = trees.shortstatekey_statekey.get(bulk, key)
        if pair is None or pair[0] != "m.room.member":
            continue
        event_id = trees.shorteventid_eventid.get(bulk, short)
        place = None if event_id is None else trees.eventid_pduid.get(bulk, event_id)
        if place is not None:
            data = trees.pduid_pdu.get(bulk, place)
        else:
            data = None if event_id is None else trees.eventid_outlierpdu.get(bulk, event_id)
        if data is None:
            bulk.skip(trees.shorteventid_eventid, key.to_bytes(8, "big"), f"the membership of {pair[1]} is missing")
            continue
        content = orjson.loads(data).get("content")
        membership = content.get("membership") if isinstance(content, dict) else None
        yield pair[1], (membership if isinstance(membership, str) else "leave", short)


def _write(bulk: Bulk, room_id: str, final: dict[str, Membership], listed: dict[str, _Listed]) -> None:
    for user_id in listed.keys() - final.keys():
        _unlist(bulk, room_id, user_id, listed[user_id].membership)
    for user_id, entry in final.items():
        trees.membership.put(bulk, (user_id, room_id), entry)
        if entry.since:
            trees.membership_stream.put(bulk, (user_id, entry.since), room_id)
        former = listed.get(user_id)
        category = _category(entry.membership)
        if former is not None and former.membership != category:
            _unlist(bulk, room_id, user_id, former.membership)
        if former is None or former.membership != category:
            _list(bulk, room_id, user_id, category, entry.since)
        if category == "invite" and not trees.userroomid_invitestate.has(bulk, (user_id, room_id)):
            trees.userroomid_invitestate.put(bulk, (user_id, room_id), [])
        bulk.count()
    joined = {user_id for user_id, entry in final.items() if entry.membership == "join"}
    trees.roomid_joinedcount.put(bulk, room_id, len(joined))
    invited = sum(entry.membership == "invite" for entry in final.values())
    trees.roomid_invitedcount.put(bulk, room_id, invited)
    _write_servers(bulk, room_id, {user_id.partition(":")[2] for user_id in joined})


def _list(bulk: Bulk, room_id: str, user_id: str, category: str, since: int) -> None:
    by_user, by_room = (user_id, room_id), (room_id, user_id)
    if category == "join":
        trees.userroomid_joined.put(bulk, by_user, True)
        trees.roomuserid_joined.put(bulk, by_room, True)
        trees.roomuseroncejoinedids.put(bulk, by_user, True)
    elif category == "invite":
        trees.roomuserid_invitecount.put(bulk, by_room, since)
    elif category == "knock":
        trees.roomuserid_knockcount.put(bulk, by_room, since)
        trees.userroomid_knockstate.put(bulk, by_user, [])
    # Somebody who has left and is in none of Conduit's lists has forgotten the room.


def _unlist(bulk: Bulk, room_id: str, user_id: str, category: str) -> None:
    by_user, by_room = (user_id, room_id), (room_id, user_id)
    if category == "join":
        trees.userroomid_joined.delete(bulk, by_user)
        trees.roomuserid_joined.delete(bulk, by_room)
    elif category == "invite":
        trees.userroomid_invitestate.delete(bulk, by_user)
        trees.roomuserid_invitecount.delete(bulk, by_room)
    elif category == "knock":
        trees.userroomid_knockstate.delete(bulk, by_user)
        trees.roomuserid_knockcount.delete(bulk, by_room)
    else:
        trees.userroomid_leftstate.delete(bulk, by_user)
        trees.roomuserid_leftcount.delete(bulk, by_room)


def _write_servers(bulk: Bulk, room_id: str, servers: set[str]) -> None:
    former = {server for _, server in trees.roomserverids.keys(bulk, (room_id,))}
    for server in former - servers:
        trees.roomserverids.delete(bulk, (room_id, server))
        trees.serverroomids.delete(bulk, (server, room_id))
    for server in servers:
        trees.roomserverids.put(bulk, (room_id, server), True)
        trees.serverroomids.put(bulk, (server, room_id), True)
