"""Accepting an event, ours or another server's: one batch in which it, and everything that follows from it, is written.

After this the event is in its room's timeline and state, can be found, counted, related to and redacted, waits in the outgoing queues, and wakes whoever
it concerns once it is on disk. Nothing is checked here: the caller has authorised the event and holds the room's lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from conduit.database import trees
from conduit.database.database import Batch
from conduit.database.layouts import ACCEPTED, EventMeta, PduId
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId, server_name_of
from conduit.protocol.pdu import Event
from conduit.service.context import Context
from conduit.service.keys import device_updates
from conduit.service.push import counting
from conduit.service.rooms import (
    client_events,
    dropped,
    leaves,
    members,
    redactions,
    relations,
    search_index,
    server_access,
    short_ids,
    state,
    state_layers,
    stripped_state,
    threads,
    timeline,
)
from conduit.service.rooms.client_events import Place
from conduit.service.sending import queue

GUEST_ACCESS: Final = "guest access"
"""The first part of the wake key of a room whose guest access has changed."""


def accept(
    ctx: Context,
    batch: Batch,
    event: Event,
    *,
    state_before: int,
    transaction: tuple[str, str] | None = None,
    current: int | None = None,
    cited: bool = False,
    relayed_from: ServerName | None = None,
    gap: Sequence[EventId] = (),
    announced: bool = False,
    state_after: int | None = None,
) -> PduId:
    """Write an event as the newest of its room, and return its position.

    `state_before` is the state that it was authorised on and stands on: for an event of ours the room's current one, 0 for a create event. `transaction`
    is the (device, transaction id) of the local device that sent it.

    For events of others: `current` is the room's state from now on where that is not just the one after this event (there are other leaves); `cited` says
    that an accepted event cites it already, so that it came late, is no leaf, and changes no state. `relayed_from` is the server that has asked us to pass
    it on to the rest of the room. `gap` names events right before it that are missing. `announced` says that the other servers have it, or will, by another.
    `state_after` is the state after it, where the caller has made it already.
    """
    room_id = event.room_id
    room = short_ids.ensure_room(batch, room_id)
    if event.type == "m.room.create" and not state_before:
        _begin_room(batch, room_id, room)
    known = short_ids.short_event(batch, event.event_id)
    short = short_ids.give_event(batch, event.event_id) if known is None else known
    key = 0
    if event.state_key is not None:
        key = short_ids.ensure_statekey(batch, event.type, event.state_key)
        if state_after is None:
            state_after = state_layers.with_event(batch, state_before, key, short)
    else:
        state_after = state_before
    destinations = [] if announced else _destinations(ctx, batch, event, relayed_from)
    # Drawn after the counts of state and before the rows that carry it: a reader up to it sees both.
    place = PduId(room, batch.next_count())
    auth = [short_ids.ensure_event(batch, event_id) for event_id in event.auth_events]
    head = state.head(batch, room_id)
    # The leaves go first: a room without any is given its newest event as one when they are read.
    leaves.advance(batch, room_id, event, short, state_after, cited=cited)
    if known is not None:
        timeline.end_outlier(batch, event.event_id)
    timeline.append(batch, event, short, EventMeta(ACCEPTED, room, event.depth, tuple(auth)), place)
    state.set_around(batch, short, state_before, state_after)
    sent_as = None if transaction is None else (event.sender, *transaction)
    if sent_as is not None:
        trees.event_transaction.put(batch, (room, short), sent_as)
    if known is None:
        client_events.begin(batch, event, Place(short, place, state_before, state_after, sent_as))
        relations.begin(batch, short, room)
    old = 0 if head is None else head.state
    new = old if cited else state_after if current is None else current
    if new == state_after and old == state_before:
        _follow(ctx, batch, event, key, short, place, state_before, state_after)
    elif new != old:
        move_current(ctx, batch, room_id, old, new, place.live)
    _index(batch, event, short, place, state_before, is_new=known is None)
    counting.count_event(batch, event, place, server_name=ctx.server_name)
    if destinations:
        queue.enqueue_event(batch, place, destinations)
    if gap:
        trees.room_gap.put(batch, (room, place.live), list(gap))
    members.wake(batch, room_id, ctx.server_name)
    return place


def _begin_room(batch: Batch, room_id: RoomId, room: int) -> None:
    leaves.begin(batch, room_id)
    members.begin(batch, room_id)
    state.begin(batch, room_id)
    timeline.begin(batch, room)


def fill_in(batch: Batch, event: Event, place: PduId, *, state_before: int, state_after: int) -> None:
    """Write an event of the past into its room's history at `place`. It changes nothing of the present, and nobody is told of it."""
    short = short_ids.ensure_event(batch, event.event_id)
    auth = [short_ids.ensure_event(batch, event_id) for event_id in event.auth_events]
    timeline.end_outlier(batch, event.event_id)
    timeline.append(batch, event, short, EventMeta(ACCEPTED, place.room, event.depth, tuple(auth)), place)
    state.set_around(batch, short, state_before, state_after)
    for event_id in event.prev_events:
        trees.referencedevents.put(batch, (event.room_id, event_id), True)
    _index(batch, event, short, place, state_before, is_new=False)


def _follow(
    ctx: Context, batch: Batch, event: Event, key: int, short: int, place: PduId, before: int, after: int
) -> None:
    """Let the room's current state follow from the event alone: it stands on it."""
    if after != before:
        state.set_current(batch, event.room_id, after, place.live, [(event, key, short)])
        _heed_guest_access(batch, event.room_id, (event.type,))
    if event.type == "m.room.member" and event.state_key is not None:
        record_member(ctx, batch, event, short, place.live, UserId(event.state_key))


def move_current(ctx: Context, batch: Batch, room_id: RoomId, old: int, new: int, count: int) -> None:
    """Make `new` the room's current state from `count` on, wherever it differs from `old`: entries, memberships, counts, and who hears of it.

    For changes that no single event makes: branches have met, or the room's members have become known.
    """
    added, removed = state.diff(batch, old, new)
    pairs = dict(zip([*added, *removed], short_ids.statekeys_of(batch, [*added, *removed]), strict=True))
    events = dict(zip(added, short_ids.events_of(batch, list(added.values())), strict=True))
    found = {event.event_id: event for event in timeline.events(batch, list(events.values()))}
    changed = [(found[events[key]], key, short) for key, short in added.items() if events[key] in found]
    gone = [(pairs[key], key) for key in removed if key not in added]
    servers = members.servers(batch, room_id)
    state.set_current(batch, room_id, new, count, changed, gone)
    _heed_guest_access(batch, room_id, (event_type for event_type, _ in pairs.values()))
    for event, _, short in changed:
        if event.type == "m.room.member" and event.state_key is not None:
            record_member(ctx, batch, event, short, count, UserId(event.state_key))
    for (event_type, state_key), _ in gone:
        if event_type == "m.room.member":
            user_id = UserId(state_key)
            members.record(batch, room_id, user_id, "leave", count=count, event=0)
            _tell_of_member(ctx, batch, room_id, user_id, "leave")
    dropped.settle(batch, room_id, servers, members.servers(batch, room_id), ctx.clock.now_ms())


def _heed_guest_access(batch: Batch, room_id: RoomId, changed: Iterable[str]) -> None:
    """Give news of guest access that has changed, perhaps by another server: guests of this one may have to leave."""
    if "m.room.guest_access" in changed:
        batch.wake((GUEST_ACCESS, room_id))


def record_member(ctx: Context, batch: Batch, event: Event, short: int, count: int, target: UserId) -> None:
    """Write that `target` has the membership that a member event gives, which is now current, and tell them."""
    membership = event.membership or "leave"
    if membership in members.LEFT and _is_overtaken(batch, event, target):
        return
    stripped = None
    if membership in ("invite", "knock") and server_name_of(target) == ctx.server_name:
        stripped = stripped_state.for_member(batch, event)
    old = members.record(batch, event.room_id, target, membership, count=count, event=short, stripped=stripped)
    if membership == "join" and old != "join" and server_name_of(target) == ctx.server_name:
        device_updates.announce_join(batch, target, event.room_id)
    _tell_of_member(ctx, batch, event.room_id, target, membership)


def _is_overtaken(batch: Batch, event: Event, target: UserId) -> bool:
    """Tell whether a newer invite or knock, which came by a way of its own, has arrived before this end of an earlier membership."""
    known = members.entry(batch, event.room_id, target)
    if known is None or known.event or known.membership not in ("invite", "knock"):
        return False
    waits_by = members.waits_by(batch, event.room_id, target)
    return waits_by is not None and waits_by.event_id not in event.auth_events and event.depth < waits_by.depth


def _tell_of_member(ctx: Context, batch: Batch, room_id: RoomId, target: UserId, membership: str) -> None:
    if server_name_of(target) == ctx.server_name:
        batch.wake(("user", target))
    if membership != "join":
        batch.on_commit(lambda: ctx.typing.stop(room_id, target))


def _index(batch: Batch, event: Event, short: int, place: PduId, state_before: int, *, is_new: bool) -> None:
    """Let the event be found and related to, and redact what it redacts; one that is not new may have been redacted before it came."""
    redaction = None if is_new else redactions.waiting_for(batch, event)
    if redaction is None:
        search_index.record(batch, event, place)
        relations.record(batch, event, short, place)
        threads.record(batch, event, short, place)
        if event.redacts is not None:
            redactions.record(batch, event, state_before=state_before)
    else:
        redactions.carry_out(batch, event, redaction)
    if not is_new:
        client_events.forget(batch, event.event_id)


def _destinations(ctx: Context, batch: Batch, event: Event, relayed_from: ServerName | None = None) -> list[ServerName]:
    """Return the other servers in the room that its access control list lets in, as things are before the event: whose last user is removed, or who is shut out, learns of it too."""
    if not ctx.config.allow_federation or (event.server_name != ctx.server_name and relayed_from is None):
        return []
    servers = members.servers(batch, event.room_id)
    if event.type == "m.room.member" and event.membership != "invite" and event.state_key is not None:
        # Whose invite or knock is taken back has perhaps nobody in the room. An invite itself is sent in a way of its own.
        servers = [*servers, server_name_of(event.state_key)]
    untold = [] if relayed_from is not None else dropped.untold(batch, event.room_id)
    if untold:
        servers = [*servers, *untold]
        dropped.told(batch, event.room_id, untold)
    has_it = (ctx.server_name, relayed_from)
    others = [server for server in dict.fromkeys(servers) if server not in has_it]
    return server_access.allowed(batch, event.room_id, others)
