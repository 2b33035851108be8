"""Reports reach the administrators, each once, also those that came while nobody showed them."""

from __future__ import annotations

from conduit.service.actions import report
from conduit.service.admin import reports, room
from conduit.service.rooms import timeline
from tests.support.rooms import ALICE, BOB, World


def shown(world: World) -> list[str]:
    """Return what the admin room says of reports."""
    room_id = room.room_id(world.db, world.ctx.server_name)
    assert room_id is not None
    bodies = [str(event.content.get("body")) for _, event in timeline.scan(world.db, room_id)]
    return [body for body in bodies if " reports " in body]


async def test_reports_are_shown_once_each() -> None:
    """Every kind is told in words, and not told again."""
    world = World()
    await room.set_up(world.ctx)
    room_id = world.create(ALICE)
    event = world.say(room_id, ALICE, "rude")
    report.report_event(world.ctx, ALICE, room_id, event.event_id, "It is rude")
    report.report_room(world.ctx, BOB, room_id, "")
    await reports.show_all(world.ctx)
    await reports.show_all(world.ctx)
    first, second = shown(world)
    assert event.event_id in first
    assert "It is rude" in first
    assert second == f"`{BOB}` reports the room `{room_id}`."
    report.report_room(world.ctx, ALICE, room_id, "again")
    await reports.show_all(world.ctx)
    assert len(shown(world)) == 3


async def test_report_with_an_endless_reason_is_shown_shortened() -> None:
    """A reason cannot make the notice too large for an event."""
    world = World()
    await room.set_up(world.ctx)
    room_id = world.create(ALICE)
    report.report_room(world.ctx, BOB, room_id, "<b>`\n" * 5000)
    await reports.show_all(world.ctx)
    (body,) = shown(world)
    assert len(body) < 2000
