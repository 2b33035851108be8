"""What a transaction holds, and what becomes of it."""

from __future__ import annotations

import orjson

from conduit.database import layouts, trees
from conduit.database.layouts import PduId
from conduit.protocol.ids import RoomId, ServerName, UserId
from conduit.service.rooms import timeline
from conduit.service.sending import queue, transaction
from conduit.service.sending.transaction import Transaction
from tests.support.rooms import ALICE, World

ONE, TWO = ServerName("localhost"), ServerName("two.test")
BOB = UserId("@bob:two.test")


def world_with_events(count: int, size: int = 10) -> World:
    """Return a world in which that many events are queued for the other server."""
    world = World()
    room_id = world.create()
    places = [timeline.position(world.db, world.say(room_id, ALICE, "x" * size).event_id) for _ in range(count)]
    with world.db.batch() as batch:
        for place in places:
            assert place is not None
            queue.enqueue_event(batch, place, [TWO])
    return world


def made(world: World) -> Transaction:
    """Return a transaction of what is queued."""
    found = Transaction("id", 1000)
    transaction.add_queued(world.db, TWO, found)
    return found


def edu(world: World, **content: object) -> None:
    """Queue an EDU."""
    with world.db.batch() as batch:
        queue.enqueue_edu(batch, TWO, {"edu_type": "m.test", "content": content})


def test_transaction_holds_as_many_events_and_edus_as_it_may() -> None:
    """Oldest first; some EDUs' room is left to what is not queued."""
    world = world_with_events(60)
    for number in range(90):
        edu(world, number=number)
    found = made(world)
    assert len(found.events) == 50
    assert found.space == 20
    body = orjson.loads(transaction.body(world.db, ONE, TWO, found))
    assert [each["content"]["number"] for each in body["edus"]] == list(range(80))
    assert body | {"edus": [], "pdus": []} == {"origin": ONE, "origin_server_ts": 1000, "edus": [], "pdus": []}
    with world.db.batch() as batch:
        transaction.acknowledge(batch, TWO, found)
    assert queue.lengths(world.db, TWO) == (10, 10)


def test_transaction_stays_below_what_servers_take() -> None:
    """Large events and EDUs are spread over several; one is taken whatever its size."""
    world = world_with_events(45, size=60_000)
    for _ in range(50):
        edu(world, text="y" * 60_000)
    found = made(world)
    assert 15 <= len(found.events) <= 17
    assert len(transaction.body(world.db, ONE, TWO, found)) < 2 * 1024 * 1024 + 200_000


def test_edus_are_left_out_where_there_are_none() -> None:
    """The key may be omitted. The bytes are canonical: they are signed as they are."""
    world = world_with_events(1)
    body = transaction.body(world.db, ONE, TWO, made(world))
    assert "edus" not in orjson.loads(body)
    assert body == orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)


def test_transaction_is_stored_and_read_as_it_was() -> None:
    """And once acknowledged, nothing is left but who is taken for typing."""
    world = world_with_events(2)
    edu(world, x=1)
    found = made(world)
    found.edus = [{"edu_type": "m.typing", "content": {"room_id": "!r:x", "user_id": ALICE, "typing": True}}]
    found.typing = [(RoomId("!r:x"), ALICE)]
    found.receipts = 7
    with world.db.batch() as batch:
        transaction.save(batch, TWO, found)
    assert transaction.in_flight(world.db, TWO) == found
    assert transaction.told_typing(world.db, TWO) == found.typing
    with world.db.batch() as batch:
        transaction.acknowledge(batch, TWO, found)
    assert transaction.in_flight(world.db, TWO) is None
    assert transaction.told_typing(world.db, TWO) == found.typing
    assert trees.servername_educount.get(world.db, TWO) == 7
    assert queue.lengths(world.db, TWO) == (0, 0)


def test_event_that_is_not_there_any_more_is_passed_over() -> None:
    """As after a purge: its row goes with the others."""
    world = world_with_events(0)
    with world.db.batch() as batch:
        batch.put(
            "destination_queue", b"two.test\xff" + bytes(8) + bytes(7) + b"\x09", layouts.PDU_ID.encode(PduId(999, 9))
        )
    found = made(world)
    assert (found.events, found.rows, found.is_empty) == ([], [(0, 9)], True)


def test_reduced_transaction_keeps_what_must_not_be_lost() -> None:
    """Under the same id; without any such thing it is gone. Who was told of, or was to be, is told of again."""
    world = world_with_events(2)
    edu(world, x=1)
    found = made(world)
    stopped = {"room_id": "!r:x", "user_id": BOB, "typing": False}
    found.edus = [{"edu_type": "m.typing", "content": stopped}, {"edu_type": "m.presence", "content": {"push": []}}]
    found.typing = [(RoomId("!r:x"), ALICE)]
    with world.db.batch() as batch:
        transaction.reduce(batch, TWO, found)
    kept = transaction.in_flight(world.db, TWO)
    assert kept is not None
    assert (kept.id, kept.events, kept.edus, len(kept.rows)) == ("id", [], [], 1)
    assert kept.typing == [("!r:x", ALICE), ("!r:x", BOB)]
    kept.rows = []
    with world.db.batch() as batch:
        transaction.reduce(batch, TWO, kept)
    assert transaction.in_flight(world.db, TWO) is None
    assert queue.lengths(world.db, TWO) == (2, 1)
