"""What other servers tell of rooms, reduced to what may be shown."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.ids import RoomId
from conduit.service.browse import remote_rooms
from tests.support.federation import network

ROOM = RoomId("!a:peer.test")
CHILD = {
    "type": "m.space.child",
    "state_key": "!b:peer.test",
    "sender": "@eve:peer.test",
    "content": {"via": ["peer.test"]},
    "origin_server_ts": 5,
}


def test_summary_keeps_what_the_specification_knows() -> None:
    """A directory says less than a hierarchy."""
    told = {
        "room_id": ROOM,
        "name": "Room",
        "topic": "",
        "canonical_alias": "#a:peer.test",
        "avatar_url": "mxc://peer.test/a",
        "num_joined_members": 3,
        "world_readable": True,
        "guest_can_join": "yes",
        "join_rule": "restricted",
        "room_type": "m.space",
        "room_version": "11",
        "allowed_room_ids": ["!c:peer.test", 5],
        "encryption": "m.megolm.v1.aes-sha2",
        "secret": 1,
    }
    kept = {name: told[name] for name in told.keys() - {"topic", "secret", "guest_can_join", "allowed_room_ids"}}
    found = remote_rooms.summary(told)
    assert found == {**kept, "guest_can_join": False, "allowed_room_ids": ["!c:peer.test"]}
    less = remote_rooms.summary(told, more=False)
    assert less == {
        **{name: kept[name] for name in kept.keys() - {"room_version", "encryption"}},
        "guest_can_join": False,
    }


@pytest.mark.parametrize("told", [None, [], {}, {"room_id": 5}, {"room_id": "nonsense"}])
def test_what_names_no_room_is_dropped(told: Any) -> None:
    """Whatever else it says."""
    assert remote_rooms.summary(told) is None


def test_odd_values_become_harmless_ones() -> None:
    """Required keys have a value of their type in any case."""
    told = {"room_id": ROOM, "num_joined_members": -1, "name": 5, "canonical_alias": "x", "avatar_url": "http://x"}
    expected = {"room_id": ROOM, "num_joined_members": 0, "world_readable": False, "guest_can_join": False}
    assert remote_rooms.summary(told) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"type": "m.room.name"},
        {"state_key": "b"},
        {"sender": 5},
        {"content": []},
        {"origin_server_ts": "5"},
        {"origin_server_ts": -1},
        {"origin_server_ts": True},
    ],
)
def test_children_of_the_wrong_shape_are_dropped(change: dict[str, Any]) -> None:
    """The others stay, without what does not belong there."""
    children = [{**CHILD, **change}, {**CHILD, "unsigned": {}}, 5]
    told = remote_rooms.read({"room": {"room_id": ROOM, "children_state": children}}, ROOM)
    assert told is not None
    assert told.children_state == [CHILD]
    assert (told.children, told.closed) == ({}, frozenset())


@pytest.mark.parametrize("answer", [{}, {"room": 5}, {"room": {"room_id": "!other:peer.test"}}])
def test_answer_about_another_room_is_of_no_use(answer: Any) -> None:
    """It was not asked for."""
    assert remote_rooms.read(answer, ROOM) is None


async def test_servers_are_asked_in_turn_and_answers_kept() -> None:
    """Until one knows the room; that none does is remembered, too."""
    async with network("one.test") as net:
        ctx, knows, other = net["one.test"].ctx, net.peer("knows.test"), net.peer("other.test")
        knows.on("GET", "/_matrix/federation/v1/hierarchy/.*", {"room": {"room_id": ROOM, "name": "Room"}})
        for _ in range(2):
            told = await remote_rooms.tell(ctx, ROOM, ["one.test", "not a name", "other.test", "knows.test"])
            assert told is not None
            assert told.room["name"] == "Room"
        assert (len(other.received), len(knows.received)) == (1, 1)
        unknown = RoomId("!unknown:peer.test")
        for _ in range(2):
            assert await remote_rooms.tell(ctx, unknown, ["other.test", "away.test"]) is None
        assert len(other.received) == 2
        net.clock.jump(remote_rooms.KEPT_MS / 1000)
        await remote_rooms.tell(ctx, ROOM, ["knows.test"])
        assert len(knows.received) == 2


async def test_directory_of_nonsense_is_an_empty_one() -> None:
    """Whatever a server answers."""
    async with network("one.test") as net:
        alice, peer = await net["one.test"].register("alice"), net.peer("peer.test")
        room = {"room_id": ROOM, "num_joined_members": 1, "world_readable": False, "guest_can_join": False}
        for answer, shown in (
            ({}, []),
            ({"chunk": 5, "next_batch": 5, "total_room_count_estimate": "x"}, []),
            ({"chunk": [room, {}, 5, room]}, [room]),
        ):
            peer.on("GET", "/_matrix/federation/v1/publicRooms", answer)
            assert await alice.get("/publicRooms?server=peer.test&limit=1") == {"chunk": shown}
