"""What must hold of a database after any history: the trees agree with each other, and with a naive reading of the events."""

from __future__ import annotations

from collections import Counter

from conduit.database import layouts, trees
from conduit.database.database import Database
from conduit.protocol import relations as rules
from conduit.protocol.ids import RoomId, UserId, server_name_of
from conduit.protocol.pdu import Event
from conduit.service.rooms import leaves, members, search_index, short_ids, state, state_layers, timeline

LEFT = ("leave", "ban")


def check_all(db: Database) -> None:
    """Check every room of the database, with the caches as they are and then with empty ones."""
    for _ in range(2):
        for room_id in list(trees.roomid_shortroomid.keys(db)):
            check_room(db, RoomId(room_id))
        _check_derived(db)
        db.cache_pool.clear()


def check_room(db: Database, room_id: RoomId) -> None:
    """Check one room."""
    events = list(timeline.scan(db, room_id))
    _check_rows(db, room_id, events)
    _check_states(db, room_id, events)
    _check_members(db, room_id)
    _check_leaves(db, room_id, [event for _, event in events])


def _check_rows(db: Database, room_id: RoomId, events: list[tuple[layouts.PduId, Event]]) -> None:
    room = short_ids.short_room(db, room_id)
    assert room is not None
    assert short_ids.room_of(db, room) == room_id
    for place, event in events:
        assert event.room_id == room_id
        assert timeline.position(db, event.event_id) == place
        assert timeline.event(db, event.event_id) == event
        assert not trees.eventid_outlierpdu.has(db, event.event_id)
        short = short_ids.short_event(db, event.event_id)
        assert short is not None
        assert short_ids.event_of(db, short) == event.event_id
        assert trees.room_events.has(db, (room, short))
        meta = timeline.meta(db, event.event_id)
        assert meta is not None
        assert (meta.status, meta.room, meta.depth) == (layouts.ACCEPTED, room, event.depth)
        assert tuple(short_ids.events_of(db, meta.auth)) == event.auth_events
    if events:
        assert timeline.last_position(db, room_id) == events[-1][0]


def _check_states(db: Database, room_id: RoomId, events: list[tuple[layouts.PduId, Event]]) -> None:
    """Follow the timeline, which must not fork, and compare each state with a dictionary."""
    naive: dict[tuple[str, str], str] = {}
    for place, event in events:
        before, after = state.before(db, event.event_id), state.after(db, event.event_id)
        assert before is not None
        assert after is not None
        assert named(db, before) == naive
        if event.state_key is not None:
            naive[event.type, event.state_key] = event.event_id
        assert named(db, after) == naive
        assert state.at_count(db, room_id, place.live) == after
        assert state.at_count(db, room_id, place.live - 1) == (before or None)
        assert len(_stack(db, after)) <= state_layers.MAX_LAYERS
    assert dict(state.current_ids(db, room_id)) == naive
    for (event_type, state_key), event_id in naive.items():
        assert state.current_id(db, room_id, event_type, state_key) == event_id
    head = state.head(db, room_id)
    assert head is not None
    assert trees.roomid_shortstatehash.get(db, room_id) == head.state
    assert named(db, head.state) == naive


def _stack(db: Database, number: int) -> list[int]:
    stack = []
    while number:
        stack.append(number)
        diff = trees.shortstatehash_statediff.get(db, number)
        assert diff is not None
        number = diff.parent
    return stack


def named(db: Database, number: int) -> dict[tuple[str, str], str]:
    """Return a state as (event type, state key) -> event id, each entry also looked up by itself."""
    found: dict[tuple[str, str], str] = {}
    for key, short in state.ids(db, number).items():
        assert state_layers.look_up(db, number, key) == short
        found[short_ids.statekey_of(db, key)] = short_ids.event_of(db, short)
    return found


def _check_members(db: Database, room_id: RoomId) -> None:
    current = state.current_of_type(db, room_id, "m.room.member")
    memberships = {user_id: event.membership for user_id, event in current.items()}
    by = {kind: {user for user, held in memberships.items() if held == kind} for kind in ("join", "invite", "knock")}
    assert members.joined(db, room_id) == by["join"]
    assert members.joined_count(db, room_id) == len(by["join"])
    assert set(members.invited(db, room_id)) == by["invite"]
    assert members.invited_count(db, room_id) == len(by["invite"])
    assert set(members.knocking(db, room_id)) == by["knock"]
    servers = {server_name_of(user) for user in by["join"]}
    assert set(members.servers(db, room_id)) == servers
    assert {server for _, server in trees.roomserverids.keys(db, (room_id,))} == servers
    for server in servers:
        assert trees.serverroomids.has(db, (server, room_id))
        local = {user for user in by["join"] if server_name_of(user) == server}
        assert members.joined_local(db, room_id, server) == local
        woken = frozenset[tuple[str, str]]().union(*members.crowds(db, room_id, server))
        assert {("user", user) for user in local} <= woken
    for user_id, membership in memberships.items():
        _check_member(db, room_id, UserId(user_id), membership, current[user_id])


def _check_member(db: Database, room_id: RoomId, user_id: UserId, membership: str | None, event: Event) -> None:
    by_user, by_room = (user_id, room_id), (room_id, user_id)
    row = trees.membership.get(db, by_user)
    assert row is not None
    assert row.membership == membership
    assert short_ids.event_of(db, row.event) == event.event_id
    left = trees.roomuserid_leftcount.get(db, by_room)
    forgotten = membership in LEFT and left is None
    stream = [count for (_, count), room in trees.membership_stream.scan(db, (user_id,)) if room == room_id]
    assert stream == [row.since]
    assert members.membership(db, room_id, user_id) == (None if forgotten else membership)
    assert (
        trees.userroomid_joined.has(db, by_user) == trees.roomuserid_joined.has(db, by_room) == (membership == "join")
    )
    assert trees.userroomid_invitestate.has(db, by_user) == (membership == "invite")
    assert trees.roomuserid_invitecount.get(db, by_room) == (row.since if membership == "invite" else None)
    assert trees.userroomid_knockstate.has(db, by_user) == (membership == "knock")
    assert trees.roomuserid_knockcount.get(db, by_room) == (row.since if membership == "knock" else None)
    assert trees.userroomid_leftstate.has(db, by_user) == (membership in LEFT and not forgotten)
    assert (left is not None) == (membership in LEFT and not forgotten)
    if membership == "join":
        assert trees.roomuseroncejoinedids.has(db, by_user)


def _check_leaves(db: Database, room_id: RoomId, events: list[Event]) -> None:
    cited = {event_id for event in events for event_id in event.prev_events}
    tips = {event.event_id for event in events} - cited
    assert {leaf.event_id for leaf in leaves.of(db, room_id)} == tips
    assert {event_id for _, event_id in trees.roomid_pduleaves.keys(db, (room_id,))} == tips
    assert {event_id for _, event_id in trees.referencedevents.keys(db, (room_id,))} == cited
    for leaf in leaves.of(db, room_id):
        assert leaf.state == state.after(db, leaf.event_id)


def _check_derived(db: Database) -> None:
    """Compare the rows of relations, threads and words with those that the events as they are now would make."""
    relations: set[tuple[int, int]] = set()
    replies: Counter[tuple[int, int]] = Counter()
    tokens: set[tuple[int, str, bytes]] = set()
    for place, data in trees.pduid_pdu.scan(db):
        event = timeline.event_at(db, place)
        assert event is not None, data
        relation = rules.relation_of(event.content)
        if relation is not None:
            target = short_ids.short_event(db, relation.event_id)
            short = short_ids.short_event(db, event.event_id)
            assert target is not None
            assert short is not None
            relations.add((target, short))
            if relation.rel_type == rules.THREAD:
                replies[place.room, target] += 1
        raw = layouts.PDU_ID.encode(place)
        tokens |= {(place.room, word, raw) for word in search_index.words(search_index.text_of(event) or "")}
    assert {(target, row.event) for (target, _), row in trees.relation.scan(db)} == relations
    threads = dict(trees.thread.scan(db))
    assert {key: row[0] for key, row in threads.items()} == dict(replies)
    ordered = {(place.room, root): place for place, root in trees.thread_order.scan(db)}
    assert {key: layouts.PDU_ID.encode(place) for key, place in ordered.items()} == {
        key: row[2] for key, row in threads.items()
    }
    assert set(trees.tokenids.keys(db)) == tokens
