"""Step: states after events, the present state of rooms as rows, and its history."""

from __future__ import annotations

from dataclasses import dataclass

from conduit.database import trees
from conduit.database.layouts import PduId
from conduit.database.migrations.bulk import Bulk
from conduit.database.migrations.layers import Layers
from conduit.protocol.pdu import Event


@dataclass
class _Waiting:
    """A state event whose state after is not settled: the next event may tell its number."""

    event_id: str
    short: int
    before: int
    key: int


class Steps:
    """The way through a room's states."""

    def __init__(self) -> None:
        self.waiting: _Waiting | None = None


def take(bulk: Bulk, layers: Layers, steps: Steps, event: Event, short: int) -> None:
    """Settle the state after the event before this one, then what can be said of this one."""
    before = trees.shorteventid_shortstatehash.get(bulk, short)
    if before is None and event.type == "m.room.create":
        before = 0
        trees.shorteventid_shortstatehash.put(bulk, short, 0)
    if before is not None and not layers.is_known(before):
        before = None
    waiting, steps.waiting = steps.waiting, None
    if waiting is not None:
        follows = event.prev_events == (waiting.event_id,)
        _settle(bulk, layers, waiting, before if follows else None)
    if before is None or trees.shorteventid_stateafter.has(bulk, short):
        return
    if event.state_key is None:
        trees.shorteventid_stateafter.put(bulk, short, before)
    else:
        steps.waiting = _Waiting(event.event_id, short, before, bulk.state_key(event.type, event.state_key))


def finish(bulk: Bulk, layers: Layers, steps: Steps, current: int) -> None:
    """Settle the room's last event, whose state after is most often the room's current state."""
    if steps.waiting is not None:
        _settle(bulk, layers, steps.waiting, current or None, compare=True)


def around_soft_failed(bulk: Bulk, layers: Layers, event: Event, short: int) -> None:
    """Write the state after a soft-failed event, where the one before it is known."""
    before = trees.shorteventid_shortstatehash.get(bulk, short)
    if before is None or not layers.is_known(before) or trees.shorteventid_stateafter.has(bulk, short):
        return
    after = before
    if event.state_key is not None:
        after = layers.after(before, bulk.state_key(event.type, event.state_key), short, None)
    trees.shorteventid_stateafter.put(bulk, short, after)


def _settle(bulk: Bulk, layers: Layers, waiting: _Waiting, candidate: int | None, *, compare: bool = False) -> None:
    after = layers.after(waiting.before, waiting.key, waiting.short, candidate, compare=compare)
    trees.shorteventid_stateafter.put(bulk, waiting.short, after)


def write_present(bulk: Bulk, layers: Layers, room_id: str, room: int, state: int, last: PduId | None) -> None:
    """Write a room's current state as rows, and the states that it is known to have had as its history."""
    if not state:
        return
    if not layers.is_known(state):
        bulk.skip(trees.roomid_shortstatehash, room_id.encode(), f"its state {state} is missing")
        return
    for key, event in layers.ids(state).items():
        trees.roomstate.put(bulk, (room, key), event)
    # What Conduit noted at each /sync is the history that there is.
    newest, count = 0, 0
    for (_, token), then in trees.roomsynctoken_shortstatehash.scan(bulk, (room,)):
        if then != newest and layers.is_known(then):
            trees.roomstate_history.put(bulk, (room, token), then)
            newest = then
        count = token
    known = trees.roomstate_history.last(bulk, (room,))
    if known is not None and known[1] == state:
        return
    since = max(count + 1 if count else 0, last.live if last is not None else 0, known[0][1] + 1 if known else 0)
    trees.roomstate_history.put(bulk, (room, since or bulk.next_count()), state)
