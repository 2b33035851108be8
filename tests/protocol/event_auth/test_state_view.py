from __future__ import annotations

from conduit.protocol.event_auth import StateView
from conduit.protocol.pdu import Event
from tests.protocol.room import ALICE, BOB, Room


def test_view_reads_each_event_once() -> None:
    """Power levels are looked up when first asked for, and kept."""
    room, asked = Room("11"), list[tuple[str, str]]()

    def state(event_type: str, state_key: str) -> Event | None:
        asked.append((event_type, state_key))
        return room.state.get((event_type, state_key))

    view = StateView.open(room.event(ALICE, "x", {}), room.version, state)
    assert asked == [("m.room.create", "")]
    assert (view.levels.user(ALICE), view.levels.user(BOB)) == (100, 0)
    assert asked == [("m.room.create", ""), ("m.room.power_levels", "")]


def test_view_knows_defaults() -> None:
    """Nobody is a member, and the invited may join."""
    room = Room("11", joined=False)
    view = StateView.open(room.event(ALICE, "x", {}), room.version, lambda *key: room.state.get(key))
    assert (view.membership(ALICE), view.join_rule) == ("leave", "invite")
