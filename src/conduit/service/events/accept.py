"""Accepting an event: one batch in which it, and everything that follows from it, is written.

After this the event is in its room's timeline and state, can be found, counted, related to and redacted, waits in the outgoing queues, and wakes whoever
it concerns once it is on disk. Nothing is checked here: the caller has authorised the event and holds the room's lock.
"""

from __future__ import annotations

from conduit.database import trees
from conduit.database.database import Batch
from conduit.database.layouts import ACCEPTED, EventMeta, PduId
from conduit.protocol.ids import ServerName, UserId, server_name_of
from conduit.protocol.pdu import Event
from conduit.service.context import Context
from conduit.service.push import counting
from conduit.service.rooms import (
    leaves,
    members,
    redactions,
    relations,
    search_index,
    short_ids,
    state,
    state_layers,
    stripped_state,
    threads,
    timeline,
)
from conduit.service.sending import queue


def accept(
    ctx: Context, batch: Batch, event: Event, *, state_before: int, transaction: tuple[str, str] | None = None
) -> PduId:
    """Write an event as the newest of its room, and return its position.

    `state_before` is the state that it was authorised on and stands on: the room's current one, 0 for a create event. `transaction`
    is the (device, transaction id) of the local device that sent it.
    """
    room_id = event.room_id
    room = short_ids.ensure_room(batch, room_id)
    if event.type == "m.room.create" and not state_before:
        leaves.begin(batch, room_id)
        members.begin(batch, room_id)
        state.begin(batch, room_id)
    known = short_ids.short_event(batch, event.event_id)
    short = short_ids.give_event(batch, event.event_id) if known is None else known
    key = 0
    state_after = state_before
    if event.state_key is not None:
        key = short_ids.ensure_statekey(batch, event.type, event.state_key)
        state_after = state_layers.with_event(batch, state_before, key, short)
    destinations = _destinations(ctx, batch, event)
    # Drawn after the counts of state and before the rows that carry it: a reader up to it sees both.
    place = PduId(room, batch.next_count())
    auth = [short_ids.ensure_event(batch, event_id) for event_id in event.auth_events]
    # The leaves go first: a room without any is given its newest event as one when they are read.
    leaves.advance(batch, room_id, event, short, state_after)
    timeline.append(batch, event, short, EventMeta(ACCEPTED, room, event.depth, tuple(auth)), place)
    state.set_around(batch, short, state_before, state_after)
    if transaction is not None:
        trees.event_transaction.put(batch, (room, short), (event.sender, *transaction))
    if state_after != state_before:
        state.set_current(batch, room_id, state_after, place.live, [(event, key, short)])
    if event.type == "m.room.member" and event.state_key is not None:
        _record_member(ctx, batch, event, short, place, UserId(event.state_key))
    redaction = None if known is None else redactions.waiting_for(batch, event)
    if redaction is None:
        _index(batch, event, short, place, state_before)
    else:
        redactions.carry_out(batch, event, redaction)
    counting.count_event(batch, event, place, server_name=ctx.server_name)
    if destinations:
        queue.enqueue_event(batch, place, destinations)
    members.wake(batch, room_id, ctx.server_name)
    return place


def _record_member(ctx: Context, batch: Batch, event: Event, short: int, place: PduId, target: UserId) -> None:
    membership = event.membership or "leave"
    is_local = server_name_of(target) == ctx.server_name
    stripped = None
    if is_local and membership in ("invite", "knock"):
        stripped = stripped_state.for_member(batch, event)
    members.record(batch, event.room_id, target, membership, count=place.live, event=short, stripped=stripped)
    if is_local:
        batch.wake(("user", target))
        if membership != "join":
            batch.on_commit(lambda: ctx.typing.stop(event.room_id, target))


def _index(batch: Batch, event: Event, short: int, place: PduId, state_before: int) -> None:
    search_index.record(batch, event, place)
    relations.record(batch, event, short, place)
    threads.record(batch, event, short, place)
    if event.redacts is not None:
        redactions.record(batch, event, state_before=state_before)


def _destinations(ctx: Context, batch: Batch, event: Event) -> list[ServerName]:
    """Return the other servers in the room, as they are before the event: whose last user is removed learns of it too."""
    if not ctx.config.allow_federation or event.server_name != ctx.server_name:
        return []
    return [server for server in members.servers(batch, event.room_id) if server != ctx.server_name]
