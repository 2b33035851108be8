"""Reports are kept for the administrators, and wake whoever shows them."""

from __future__ import annotations

import pytest

from conduit.database import trees
from conduit.protocol.errors import NotFound
from conduit.service.actions import report
from tests.support.rooms import ALICE, BOB, World


def test_report_is_kept_with_what_it_is_about() -> None:
    """The row names reporter, reason, room, event and sender, and its reason is bounded."""
    world = World()
    room_id = world.create(ALICE)
    event = world.say(room_id, ALICE, "rude")
    report.report_event(world.ctx, ALICE, room_id, event.event_id, "x" * 20_000)
    ((_, row),) = trees.report.scan(world.db)
    assert row["reason"] == "x" * report.MAX_REASON
    assert (row["reporter"], row["room_id"], row["event_id"], row["user_id"]) == (ALICE, room_id, event.event_id, ALICE)


def test_report_of_an_event_needs_membership_and_the_right_room() -> None:
    """Nobody finds out by reporting what is said in rooms that they are not in."""
    world = World()
    one, two = world.create(ALICE), world.create(ALICE)
    event = world.say(one, ALICE, "rude")
    for reporter, room_id in ((BOB, one), (ALICE, two)):
        with pytest.raises(NotFound):
            report.report_event(world.ctx, reporter, room_id, event.event_id, "")
    assert list(trees.report.keys(world.db)) == []


async def test_report_wakes_who_waits_for_reports() -> None:
    """Whoever shows reports is told when one is on disk."""
    world = World()
    room_id = world.create(ALICE)
    with world.db.watch.register([report.WAKE]) as waiter:
        report.report_room(world.ctx, BOB, room_id, "bad")
        assert await waiter.wait(0)
