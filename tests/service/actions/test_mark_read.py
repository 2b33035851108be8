"""Receipts and markers: all in one batch, and only where they belong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conduit.database import trees
from conduit.protocol.errors import Forbidden, InvalidParam, NotFound
from conduit.protocol.ids import EventId
from conduit.protocol.pdu import Event
from conduit.service import account_data
from conduit.service.actions.mark_read import check_thread, send_receipts
from conduit.service.presence import Presence
from conduit.service.push import counting
from conduit.service.rooms import receipts
from tests.support.rooms import ALICE, BOB, CAROL, World


class Room(World):
    """A room of Alice and Bob with a message, a thread on it and an edit in the thread."""

    def __init__(self) -> None:
        super().__init__()
        presence = Presence(db=self.db, clock=self.ctx.clock, audience=lambda user_id: ())
        self.ctx = replace(self.ctx, presence=presence)
        self.room_id = self.create(ALICE)
        self.join(self.room_id, BOB)
        self.root = self.say(self.room_id, ALICE, "root")
        self.reply = self.related("m.thread", self.root)
        self.edit = self.related("m.replace", self.reply)
        self.other = self.say(self.room_id, ALICE, "other")

    def related(self, rel_type: str, target: Event) -> Event:
        """Send a message that relates to another."""
        relation = {"rel_type": rel_type, "event_id": target.event_id}
        return self.say(self.room_id, ALICE, rel_type, **{"m.relates_to": relation})

    def rows(self) -> int:
        """Count receipts and account data."""
        return sum(1 for tree in (trees.receipt_stream, trees.accountdata_stream) for _ in tree.keys(self.db))


@pytest.fixture
def room() -> Room:
    """A room with a thread."""
    return Room()


def test_thread_of_an_event_is_its_own(room: Room) -> None:
    """Of a root, both its thread and the main timeline; of what relates to a reply, the reply's."""
    threads = ["main", room.root.event_id, room.reply.event_id, room.other.event_id]
    belongs = {room.root: [0, 1], room.reply: [1], room.edit: [1], room.other: [0, 3]}
    for event, indices in belongs.items():
        for index, thread in enumerate(threads):
            if index in indices:
                check_thread(room.ctx, event, thread)
            else:
                with pytest.raises(InvalidParam):
                    check_thread(room.ctx, event, thread)
        with pytest.raises(InvalidParam):
            check_thread(room.ctx, event, "")


async def test_receipts_and_marker_move_together(room: Room) -> None:
    """One request sets all three, and the user counts as active."""
    marks: dict[str, str] = {
        "m.read": room.root.event_id,
        "m.read.private": room.other.event_id,
        "m.fully_read": room.reply.event_id,
    }
    await send_receipts(room.ctx, BOB, room.room_id, marks)
    [shown] = receipts.changes(room.db, room.room_id, BOB, 0, room.db.current_count())
    assert set(shown) == {room.root.event_id, room.other.event_id}
    assert account_data.get(room.db, BOB, room.room_id, "m.fully_read") == {"event_id": room.reply.event_id}
    assert not any(counting.unread(room.db, room.room_id, BOB).total())
    assert room.ctx.presence.get(BOB) is not None


async def test_refused_mark_moves_none(room: Room) -> None:
    """However many of the others were fine."""
    elsewhere = room.create(BOB)
    far = room.say(elsewhere, BOB, "elsewhere").event_id
    fine = room.other.event_id
    for wrong in (far, EventId("$unknown:localhost")):
        with pytest.raises(NotFound):
            await send_receipts(room.ctx, BOB, room.room_id, {"m.fully_read": fine, "m.read": wrong})
    with pytest.raises(InvalidParam):
        await send_receipts(room.ctx, BOB, room.room_id, {"m.read": fine}, thread=room.root.event_id)
    with pytest.raises(InvalidParam):
        await send_receipts(room.ctx, BOB, room.room_id, {"m.fully_read": fine}, thread="main")
    with pytest.raises(Forbidden):
        await send_receipts(room.ctx, CAROL, room.room_id, {"m.read": fine})
    assert room.rows() == 0


async def test_threaded_receipt_reads_its_thread_only(room: Room) -> None:
    """Rows of mentions that it makes useless are removed, those of other threads are not."""
    mention = {"m.mentions": {"user_ids": [BOB]}}
    in_main = room.say(room.room_id, ALICE, "x", **mention)
    relation = {"rel_type": "m.thread", "event_id": room.root.event_id}
    in_thread = room.say(room.room_id, ALICE, "x", **{"m.relates_to": relation, **mention})
    assert counting.unread(room.db, room.room_id, BOB).total().highlights == 2
    await send_receipts(room.ctx, BOB, room.room_id, {"m.read": in_thread.event_id}, thread=room.root.event_id)
    unread = counting.unread(room.db, room.room_id, BOB)
    assert (unread.main.highlights, unread.threads) == (1, {})
    assert len(list(trees.notify_personal.keys(room.db))) == 1
    await send_receipts(room.ctx, BOB, room.room_id, {"m.read": in_main.event_id}, thread="main")
    assert not any(counting.unread(room.db, room.room_id, BOB).total())
    assert list(trees.notify_personal.keys(room.db)) == []
