"""Check: states, the present one of each room, and memberships by both."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from conduit.database import trees
from conduit.database.check.events import parse, stored
from conduit.database.check.finding import Findings, Reading, finding
from conduit.database.layouts import Membership, StateDiff
from conduit.database.tree import Tree

_OUT = frozenset({"leave", "ban"})
_DEEPEST = 64
_PAIR = struct.Struct(">QQ")


def check(reading: Reading) -> Findings:
    """Tell of states that are missing, and of rooms whose rows say something else than their state."""
    yield from _layers(reading)
    yield from _around_events(reading)
    for room_id, state in reading.rows(trees.roomid_shortstatehash):
        yield from _room(reading, room_id, state)
    yield from _lists(reading)


def _layers(reading: Reading) -> Findings:
    for state, diff in reading.rows(trees.shortstatehash_statediff):
        if diff.parent >= state:
            yield finding(trees.shortstatehash_statediff, state, "its parent is newer than it")
        elif diff.parent and reading.get(trees.shortstatehash_statediff, diff.parent) is None:
            yield finding(trees.shortstatehash_statediff, state, f"its parent {diff.parent} is missing")
        if len(diff.added) % 16 or len(diff.removed) % 16:
            yield finding(trees.shortstatehash_statediff, state, "it holds half a pair")
    for digest, state in reading.rows(trees.statehash_shortstatehash):
        if reading.get(trees.shortstatehash_statediff, state) is None:
            yield finding(trees.statehash_shortstatehash, digest.hex(), f"its state {state} is missing")


def _around_events(reading: Reading) -> Findings:
    for tree in (trees.shorteventid_shortstatehash, trees.shorteventid_stateafter):
        for short, state in reading.rows(tree):
            if state and reading.get(trees.shortstatehash_statediff, state) is None:
                yield finding(tree, short, f"the state {state} is missing")
    for (room, count), state in reading.rows(trees.roomstate_history):
        if state and reading.get(trees.shortstatehash_statediff, state) is None:
            yield finding(trees.roomstate_history, (room, count), f"the state {state} is missing")


def _ids(reading: Reading, state: int) -> dict[int, int]:
    layers: list[StateDiff] = []
    while state and len(layers) < _DEEPEST:
        diff = reading.get(trees.shortstatehash_statediff, state)
        if diff is None:
            break
        layers.append(diff)
        state = diff.parent
    found: dict[int, int] = {}
    for diff in reversed(layers):
        for key, _ in _PAIR.iter_unpack(diff.removed):
            found.pop(key, None)
        found.update(_PAIR.iter_unpack(diff.added))
    return found


def _room(reading: Reading, room_id: str, state: int) -> Findings:
    room = reading.get(trees.roomid_shortroomid, room_id)
    if room is None:
        yield finding(trees.roomid_shortstatehash, room_id, "the room has no short id")
        return
    history = [then for _, then in reading.rows(trees.roomstate_history, (room,))]
    newest = history[-1] if history else None
    if newest != state:
        yield finding(trees.roomstate_history, room_id, f"it ends with the state {newest}, the room's is {state}")
    ids = _ids(reading, state)
    rows = {key: event for (_, key), event in reading.rows(trees.roomstate, (room,))}
    if rows != ids:
        wrong = len(rows.items() ^ ids.items())
        yield finding(trees.roomstate, room_id, f"{wrong} entries differ from the room's state {state}")
    members: dict[str, tuple[str, int]] = {}
    for key, event in ids.items():
        pair = reading.get(trees.shortstatekey_statekey, key)
        event_id = reading.get(trees.shorteventid_eventid, event)
        data = None if event_id is None else stored(reading, event_id)
        if pair is None or data is None:
            yield finding(trees.roomstate, room_id, f"its entry {pair or key} has no event")
            continue
        pdu = parse(data)
        if (pdu.get("type"), pdu.get("state_key")) != pair:
            yield finding(trees.roomstate, room_id, f"the event {event_id} does not belong at {pair}")
        if pair[0] == "m.room.member":
            content = pdu.get("content")
            membership = content.get("membership") if isinstance(content, dict) else None
            members[pair[1]] = (membership if isinstance(membership, str) else "leave", event)
    yield from _members(reading, room_id, members)


def _members(reading: Reading, room_id: str, members: dict[str, tuple[str, int]]) -> Findings:
    for user_id, (membership, event) in members.items():
        entry = reading.get(trees.membership, (user_id, room_id))
        if entry is None:
            yield finding(trees.membership, f"{user_id} in {room_id}", "there is no row")
        elif entry.event and (entry.membership, entry.event) != (membership, event):
            what = f"it says {entry.membership}, the room's state {membership}"
            yield finding(trees.membership, f"{user_id} in {room_id}", what)


def _lists(reading: Reading) -> Findings:
    joined: dict[str, int] = {}
    invited: dict[str, int] = {}
    servers: set[tuple[str, str]] = set()
    for (user_id, room_id), entry in reading.rows(trees.membership):
        if entry.membership == "join":
            joined[room_id] = joined.get(room_id, 0) + 1
            servers.add((room_id, user_id.partition(":")[2]))
        elif entry.membership == "invite":
            invited[room_id] = invited.get(room_id, 0) + 1
        yield from _listed(reading, user_id, room_id, entry)
    yield from _only_members(reading)
    yield from _stream(reading)
    for tree, counts in ((trees.roomid_joinedcount, joined), (trees.roomid_invitedcount, invited)):
        stated = {room_id: count for room_id, count in reading.rows(tree) if count}
        for room_id in stated.keys() | counts.keys():
            if stated.get(room_id) != counts.get(room_id):
                what = f"it says {stated.get(room_id)}, there are {counts.get(room_id, 0)}"
                yield finding(tree, room_id, what)
    for room_id, server in servers ^ set(reading.keys(trees.roomserverids)):
        yield finding(trees.roomserverids, f"{server} in {room_id}", "it does not agree with the members")
    for room_id, server in servers ^ {(room_id, server) for server, room_id in reading.keys(trees.serverroomids)}:
        yield finding(trees.serverroomids, f"{server} in {room_id}", "it does not agree with the members")


def _listed(reading: Reading, user_id: str, room_id: str, entry: Membership) -> Findings:
    """Tell of a membership that Conduit's pairs do not show, each by user and by room."""
    by_user, by_room = (user_id, room_id), (room_id, user_id)
    about = f"{user_id} in {room_id}"
    is_there = {
        "join": reading.get(trees.roomuserid_joined, by_room) is not None,
        "invite": reading.get(trees.roomuserid_invitecount, by_room) is not None,
        "knock": reading.get(trees.roomuserid_knockcount, by_room) is not None,
        "leave": reading.get(trees.roomuserid_leftcount, by_room) is not None,
    }
    also_there = {
        "join": reading.get(trees.userroomid_joined, by_user) is not None,
        "invite": reading.get(trees.userroomid_invitestate, by_user) is not None,
        "knock": reading.get(trees.userroomid_knockstate, by_user) is not None,
        "leave": reading.get(trees.userroomid_leftstate, by_user) is not None,
    }
    listed = {name for name, there in is_there.items() if there}
    if listed != {name for name, there in also_there.items() if there}:
        yield finding(trees.membership, about, "the lists by user and by room do not agree")
    # Who has left and is in no list has forgotten the room.
    allowed = [{"leave"}, set[str]()] if entry.membership in _OUT else [{entry.membership}]
    if listed not in allowed:
        yield finding(trees.membership, about, f"it says {entry.membership}, the lists {sorted(listed)}")


def _only_members(reading: Reading) -> Findings:
    pairs: tuple[tuple[Tree[tuple[str, str], bool], Iterator[tuple[str, str]]], ...] = (
        (trees.userroomid_joined, reading.keys(trees.userroomid_joined)),
        (trees.roomuserid_joined, ((user, room) for room, user in reading.keys(trees.roomuserid_joined))),
    )
    for tree, keys in pairs:
        for user_id, room_id in keys:
            if reading.get(trees.membership, (user_id, room_id)) is None:
                yield finding(tree, f"{user_id} in {room_id}", "there is no membership")


def _stream(reading: Reading) -> Findings:
    for (user_id, count), room_id in reading.rows(trees.membership_stream):
        entry = reading.get(trees.membership, (user_id, room_id))
        if entry is None or entry.since != count:
            yield finding(
                trees.membership_stream, f"{user_id} in {room_id}", f"the change at {count} is not the latest"
            )
