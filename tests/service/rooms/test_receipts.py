"""Receipts: they move forwards, and others' private ones are not shown."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.database import trees
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.service.rooms import receipts, timeline
from tests.support.rooms import ALICE, BOB, CAROL, World


class Room(World):
    """A room of Alice and Bob with some messages of Alice's."""

    def __init__(self) -> None:
        super().__init__()
        self.room_id: RoomId = self.create(ALICE)
        self.join(self.room_id, BOB)
        self.ids: list[EventId] = [self.say(self.room_id, ALICE, str(n)).event_id for n in range(4)]
        self.start = self.db.current_count()

    def at(self, index: int) -> int:
        """Return the count of a message."""
        place = timeline.position(self.db, self.ids[index])
        assert place is not None
        return place.live

    def put(
        self, index: int, *, user_id: UserId = BOB, kind: str = receipts.READ, thread: str = receipts.UNTHREADED
    ) -> bool:
        """Move a receipt to a message."""
        event_id, at = self.ids[index], self.at(index)
        with self.db.batch() as batch:
            return receipts.put(batch, self.room_id, user_id, kind, event_id, at, thread, 1000 + index)

    def seen(self, reader: UserId, since: int = 0) -> dict[str, Any]:
        """Return what a user is shown that has moved since, which is one event at most."""
        found = receipts.changes(self.db, self.room_id, reader, since, self.db.current_count())
        assert len(found) <= 1
        return found[0] if found else {}


@pytest.fixture
def room() -> Room:
    """A room with messages."""
    return Room()


def test_receipt_only_moves_forwards(room: Room) -> None:
    """An older or the same one changes nothing and is no news."""
    assert room.put(1)
    before = room.db.current_count()
    assert not room.put(0)
    assert not room.put(1)
    assert room.seen(ALICE, before) == {}
    assert room.put(2)
    assert room.seen(ALICE, before) == {room.ids[2]: {"m.read": {BOB: {"ts": 1002}}}}
    assert room.seen(ALICE) == room.seen(ALICE, before)
    assert len(list(trees.receipt_stream.keys(room.db))) == 1


def test_private_receipts_are_shown_to_their_owner_alone(room: Room) -> None:
    """They count as read all the same."""
    room.put(0)
    room.put(2, kind=receipts.PRIVATE)
    assert room.seen(ALICE) == {room.ids[0]: {"m.read": {BOB: {"ts": 1000}}}}
    assert room.seen(BOB)[room.ids[2]] == {"m.read.private": {BOB: {"ts": 1002}}}
    assert receipts.read_up_to(room.db, room.room_id, BOB) == (room.at(2), {})


def test_threads_have_receipts_of_their_own(room: Room) -> None:
    """The thread is named with the receipt; one for the whole room covers those before it."""
    root = room.ids[0]
    room.put(1, thread=root)
    room.put(2, thread=receipts.MAIN)
    assert room.seen(ALICE) == {
        room.ids[1]: {"m.read": {BOB: {"ts": 1001, "thread_id": root}}},
        room.ids[2]: {"m.read": {BOB: {"ts": 1002, "thread_id": "main"}}},
    }
    read = {root: room.at(1), "main": room.at(2)}
    assert receipts.read_up_to(room.db, room.room_id, BOB) == (0, read)
    room.put(1)
    assert receipts.read_up_to(room.db, room.room_id, BOB) == (room.at(1), {"main": room.at(2)})


def test_receipts_of_several_users_on_one_event_stand_together(room: Room) -> None:
    """By kind and user."""
    room.put(3)
    room.put(3, user_id=ALICE)
    assert room.seen(CAROL) == {room.ids[3]: {"m.read": {BOB: {"ts": 1003}, ALICE: {"ts": 1003}}}}


def test_what_one_sends_is_read_and_not_shown(room: Room) -> None:
    """The mark stands among the receipts under a type that nobody sees."""
    room.say(room.room_id, BOB, "mine")
    assert room.seen(BOB) == {}
    whole, threads = receipts.read_up_to(room.db, room.room_id, BOB)
    assert whole == 0
    assert threads["main"] > room.at(3)


async def test_members_are_woken_by_public_receipts_only(room: Room) -> None:
    """A private one wakes its owner's other devices."""
    waiters = {user: room.db.watch.register([("user", user)]) for user in (ALICE, BOB, CAROL)}

    async def woken() -> set[UserId]:
        await room.db.durable()
        return {user for user, waiter in waiters.items() if await waiter.wait(0)}

    await woken()
    room.put(0, kind=receipts.PRIVATE)
    assert await woken() == {BOB}
    room.put(0)
    assert await woken() == {ALICE, BOB}
    assert room.db.watch.last(("room", room.room_id)) == room.db.current_count()


def test_look_whether_anything_has_changed(room: Room) -> None:
    """By room, after a count; in a room that nobody knows nothing has."""
    assert not receipts.changed_since(room.db, room.room_id, 0)
    room.put(0)
    now = room.db.current_count()
    assert receipts.changed_since(room.db, room.room_id, now - 1)
    assert not receipts.changed_since(room.db, room.room_id, now)
    unknown = RoomId("!unknown:localhost")
    assert not receipts.changed_since(room.db, unknown, 0)
    assert receipts.changes(room.db, unknown, BOB, 0, now) == []
    assert receipts.read_up_to(room.db, unknown, BOB) == (0, {})


async def test_sender_hears_of_public_receipts_that_move(room: Room) -> None:
    """And finds them again by what has moved since a count."""
    since = room.db.current_count()
    with room.db.watch.subscribe("receipt") as news:
        room.put(1, kind=receipts.PRIVATE)
        assert await news.take(0) == []
        room.put(1)
        assert await news.take(0) == [("receipt", room.room_id, BOB, receipts.UNTHREADED)]
        room.put(0)
        assert await news.take(0) == []
    found = receipts.find(room.db, room.room_id, BOB, receipts.UNTHREADED)
    assert found is not None
    assert list(receipts.moved(room.db, room.room_id, since)) == [(found["count"], BOB, receipts.UNTHREADED)]
    assert list(receipts.moved(room.db, room.room_id, found["count"])) == []
    assert receipts.find(room.db, room.room_id, CAROL, receipts.UNTHREADED) is None


def test_receipts_of_one_user_at_the_same_event_are_all_told(room: Room) -> None:
    """An event has place for one of a kind: those for the whole room and for threads come in several."""
    room.put(1)
    room.put(1, thread=receipts.MAIN)
    room.put(2, user_id=ALICE)
    event_id = room.ids[1]
    assert receipts.changes(room.db, room.room_id, CAROL, 0, room.db.current_count()) == [
        {event_id: {"m.read": {BOB: {"ts": 1001}}}, room.ids[2]: {"m.read": {ALICE: {"ts": 1002}}}},
        {event_id: {"m.read": {BOB: {"ts": 1001, "thread_id": "main"}}}},
    ]
