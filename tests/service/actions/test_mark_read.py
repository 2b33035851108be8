"""Receipts and markers as one act."""

from __future__ import annotations

import pytest

from conduit.protocol.errors import Forbidden, InvalidParam, NotFound
from conduit.protocol.ids import UserId
from conduit.service import account_data
from conduit.service.actions import mark_read
from conduit.service.rooms import receipts
from tests.support.homeserver import Homeserver
from tests.support.people import people


async def test_all_marks_move_together_or_none(hs: Homeserver) -> None:
    """If one of the events is unknown, nothing has moved."""
    (alice,) = await people(hs, "alice")
    room_id = await alice.create_room()
    event_id = await alice.send(room_id)
    user = UserId(alice.user_id)
    marks = {"m.fully_read": event_id, "m.read": "$" + "x" * 43}
    with pytest.raises(NotFound):
        await mark_read.send_receipts(hs.ctx, user, room_id, marks)  # type: ignore[arg-type]
    assert account_data.get(hs.ctx.db, user, room_id, "m.fully_read") is None
    await mark_read.send_receipts(hs.ctx, user, room_id, {**marks, "m.read": event_id})  # type: ignore[arg-type]
    assert account_data.get(hs.ctx.db, user, room_id, "m.fully_read") == {"event_id": event_id}
    content = receipts.changes(hs.ctx.db, room_id, user, 0, hs.ctx.db.current_count())  # type: ignore[arg-type]
    assert list(content) == [event_id]


async def test_marks_of_strangers_and_in_foreign_threads_are_refused(hs: Homeserver) -> None:
    """One must be in the room, and the fully-read marker has no threads."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room()
    event_id = await alice.send(room_id)
    with pytest.raises(Forbidden):
        await mark_read.send_receipts(hs.ctx, UserId(bob.user_id), room_id, {"m.read": event_id})  # type: ignore[arg-type]
    user = UserId(alice.user_id)
    with pytest.raises(InvalidParam):
        await mark_read.send_receipts(hs.ctx, user, room_id, {"m.fully_read": event_id}, thread="main")  # type: ignore[arg-type]
    with pytest.raises(InvalidParam):
        await mark_read.send_receipts(hs.ctx, user, room_id, {"m.read": event_id}, thread="$other")  # type: ignore[arg-type]
