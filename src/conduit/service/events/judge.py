"""What becomes of an event of another server: accepted, rejected or soft-failed, and written as such; or what is lacking to decide it.

One function, `settle`, without an `await`: its caller holds the room's lock and has a batch open, fetches or resolves what is lacking and asks again.
The event has passed the checks of `incoming`.

Source: server-server API, "Checks performed on receipt of a PDU" 4 to 7; "Rejection"; "Soft failure".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import NamedTuple

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.database.layouts import OUTLIER, REJECTED, SOFT_FAILED, EventMeta
from conduit.protocol import event_auth
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import EventId, RoomId, ServerName
from conduit.protocol.pdu import Event
from conduit.service.context import Context
from conduit.service.events import foreign_state, resolve
from conduit.service.events.accept import accept
from conduit.service.rooms import dropped, leaves, members, partial, short_ids, state, state_layers, timeline, versions

_MAX_BEHIND = 100
"""Through how many refused events it is looked for a gap in the timeline."""


class Verdict(Enum):
    """What has become of an event."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SOFT_FAILED = "soft-failed"
    DUPLICATE = "duplicate"
    """It is known, and was decided on before."""
    DROPPED = "dropped"
    """It was not decided on, and nothing is kept: it may come again."""


class Outcome(NamedTuple):
    """What has become of an event, and why if it was not accepted."""

    verdict: Verdict
    reason: str = ""


class Lacking(NamedTuple):
    """What must be had before an event can be decided on: one of the three."""

    prev: tuple[EventId, ...] = ()
    """Events that it follows, after which the state is not known."""
    auth: tuple[EventId, ...] = ()
    """Events that are to authorise it, and are not known."""
    states: tuple[int, ...] = ()
    """States to be resolved (`resolve.resolve_states`), after which the result is remembered."""


@dataclass(slots=True)
class Progress:
    """What has been found out about one event between two attempts to settle it."""

    resolved: dict[tuple[int, ...], int] = field(default_factory=dict)
    filled: dict[int, int] = field(default_factory=dict)
    """The state before the event with the members that it cites, by the state without them."""
    after: dict[int, int] = field(default_factory=dict)
    """The state after the event, by the state before it: made once, so that what it resolves to is found again."""
    suspect: str = ""
    """Why the event is to be soft-failed whatever the rules say: its room's policy server has not approved of it."""


def settle(
    ctx: Context, batch: Batch, event: Event, progress: Progress, *, relayed_from: ServerName | None = None
) -> Outcome | Lacking:
    """Decide on an event and write what follows, or return what is lacking for that."""
    done = _fault_at_once(batch, event)
    if done is not None:
        return done
    lacking = _lacking(batch, event)
    if lacking is not None:
        return lacking
    before = _state_before(batch, event, progress)
    if isinstance(before, Lacking):
        return before
    cited = timeline.events(batch, event.auth_events)
    reason = _rejection(batch, event, cited, before)
    if reason is not None:
        return _reject(batch, event, before, reason)
    if partial.is_partial(batch, event.room_id):
        before = _with_members(batch, cited, before, progress)
    after = _state_after(batch, event, before, progress)
    if (reason := progress.suspect or _soft_failure(batch, event, cited, before)) != "":
        _keep(batch, event, SOFT_FAILED, before, after)
        trees.softfailedeventids.put(batch, event.event_id, True)
        dropped.remind(batch, event.room_id, event.server_name, ctx.clock.now_ms())
        return Outcome(Verdict.SOFT_FAILED, reason)
    is_cited = leaves.is_cited(batch, event.room_id, event.event_id)
    current: int | None = None
    if not is_cited:
        found = _current_after(ctx, batch, event, before, after, progress)
        if isinstance(found, Lacking):
            return found
        current = found
    gap = missing_behind(batch, event.prev_events, _MAX_BEHIND)
    accept(
        ctx,
        batch,
        event,
        state_before=before,
        state_after=after,
        current=current,
        cited=is_cited,
        relayed_from=relayed_from,
        gap=gap,
    )
    return Outcome(Verdict.ACCEPTED)


def is_settled(source: CacheSource, event_id: EventId) -> bool:
    """Tell whether an event has been decided on: it is in its timeline, or rejected or soft-failed with the states around it known."""
    if timeline.position(source, event_id) is not None:
        return True
    facts = timeline.meta(source, event_id)
    return facts is not None and facts.status in (REJECTED, SOFT_FAILED) and state.after(source, event_id) is not None


def _fault_at_once(source: CacheSource, event: Event) -> Outcome | None:
    if is_settled(source, event.event_id):
        return Outcome(Verdict.DUPLICATE)
    if not state.exists(source, event.room_id):
        return Outcome(Verdict.DROPPED, "The room is not known here")
    if event.version is not versions.find(source, event.room_id):
        # It was read by what another server says of the room, which may be a lie, or as it was before the room was known.
        return Outcome(Verdict.DROPPED, "The event is not of the room's version")
    if event.type == "m.room.create":
        return Outcome(Verdict.DROPPED, "The room has been created already")
    if not event.prev_events:
        return Outcome(Verdict.DROPPED, "The event follows nothing")
    if event.event_id in event.prev_events or event.event_id in event.auth_events:
        return Outcome(Verdict.DROPPED, "The event cites itself")
    if follows_other_room(source, event):
        return Outcome(Verdict.DROPPED, "The event follows one of another room")
    return None


def follows_other_room(source: CacheSource, event: Event) -> bool:
    """Tell whether an event names one that is known to belong to another room as before it: the state there is none of this room's."""
    room = short_ids.short_room(source, event.room_id)
    known = [timeline.meta(source, event_id) for event_id in event.prev_events]
    return any(facts is not None and facts.room != room for facts in known)


def _lacking(source: CacheSource, event: Event) -> Lacking | None:
    prev = tuple([event_id for event_id in event.prev_events if state.after(source, event_id) is None])
    if prev and state.before(source, event.event_id) is None:
        return Lacking(prev=prev)
    auth = tuple([event_id for event_id in event.auth_events if timeline.meta(source, event_id) is None])
    return Lacking(auth=auth) if auth else None


def _resolved(batch: Batch, event: Event, states: list[int], progress: Progress) -> int | Lacking:
    distinct = tuple(sorted(set(states)))
    if len(distinct) == 1:
        return distinct[0]
    known = progress.resolved.get(distinct)
    if known is None:
        known = resolve.at_once(batch, event.version, distinct)
    return Lacking(states=distinct) if known is None else known


def _state_before(batch: Batch, event: Event, progress: Progress) -> int | Lacking:
    states = [state.after(batch, event_id) for event_id in event.prev_events]
    known = [number for number in states if number is not None]
    if len(known) < len(states):
        # What it follows is not known; another server has told the state before it.
        told = state.before(batch, event.event_id)
        return told if told is not None else Lacking(prev=event.prev_events)
    tips = leaves.of(batch, event.room_id)
    if {leaf.event_id for leaf in tips} == set(event.prev_events):
        head = state.head(batch, event.room_id)
        if head is not None:
            return head.state
    return _resolved(batch, event, known, progress)


def _with_members(batch: Batch, cited: list[Event], before: int, progress: Progress) -> int:
    """Let members whom an event cites be known from now on, in a room whose members are not all known yet: clients show who has spoken."""
    filled = progress.filled.get(before)
    if filled is None:
        filled = before
        for auth in cited:
            if auth.type != "m.room.member" or auth.state_key is None:
                continue
            key = short_ids.ensure_statekey(batch, auth.type, auth.state_key)
            if state_layers.look_up(batch, filled, key) is None:
                short = short_ids.ensure_event(batch, auth.event_id)
                filled = state_layers.with_event(batch, filled, key, short)
        progress.filled[before] = filled
    return filled


def _state_after(batch: Batch, event: Event, before: int, progress: Progress) -> int:
    if event.state_key is None:
        return before
    after = progress.after.get(before)
    if after is None:
        key = short_ids.ensure_statekey(batch, event.type, event.state_key)
        after = state_layers.with_event(batch, before, key, short_ids.ensure_event(batch, event.event_id))
        progress.after[before] = after
    return after


def _current_after(
    ctx: Context, batch: Batch, event: Event, before: int, after: int, progress: Progress
) -> int | Lacking:
    """Return the room's state once the event is one of its leaves: resolved over all of them.

    A branch of this server's own that puts everybody of here out where it meets the others' is given up if somebody of here is in without it: nobody could
    send an event any more that makes it count for others, who have left it aside so far.
    """
    others = [leaf for leaf in leaves.remaining(batch, event) if leaf.state]
    if all(leaf.state == after for leaf in others):
        return after
    # Resolution looks at the event itself as well.
    _keep(batch, event, OUTLIER, before, after)
    found = _resolved(batch, event, [after, *(leaf.state for leaf in others)], progress)
    if isinstance(found, Lacking) or _is_anybody_in(ctx, batch, event.room_id, found):
        return found
    foreign = [leaf for leaf in others if not _is_own(ctx, batch, leaf)]
    without = _resolved(batch, event, [after, *(leaf.state for leaf in foreign)], progress)
    if isinstance(without, Lacking):
        return without
    if not _is_anybody_in(ctx, batch, event.room_id, without):
        return found
    leaves.give_up(batch, event.room_id, [leaf for leaf in others if leaf not in foreign])
    return without


def _is_anybody_in(ctx: Context, source: CacheSource, room_id: RoomId, number: int) -> bool:
    """Tell whether in a state anybody of this server is in the room; also if nobody is now."""
    here = members.joined_local(source, room_id, ctx.server_name)
    users = chain(here, members.past_of(source, room_id, ctx.server_name))
    found = (state.get(source, number, "m.room.member", user_id) for user_id in users)
    return not here or any(event is not None and event.membership == "join" for event in found)


def _is_own(ctx: Context, source: CacheSource, leaf: leaves.Leaf) -> bool:
    event = timeline.event(source, leaf.event_id)
    return event is not None and event.server_name == ctx.server_name


def missing_behind(source: CacheSource, cited: Iterable[EventId], bound: int) -> tuple[EventId, ...]:
    """Return those of events that have no place in the timeline and were not refused; in place of the refused ones, what these follow (CVE-2026-45076).

    At most `bound` events are looked at.
    """
    missing: list[EventId] = []
    waiting = deque(cited)
    seen: set[EventId] = set()
    while waiting and len(seen) < bound:
        event_id = waiting.popleft()
        if event_id in seen or timeline.position(source, event_id) is not None:
            continue
        seen.add(event_id)
        facts = timeline.meta(source, event_id)
        if facts is None or facts.status not in (REJECTED, SOFT_FAILED):
            missing.append(event_id)
            continue
        waiting.extend(timeline.previous(source, event_id))
    return tuple(missing)


def rejection(source: CacheSource, event: Event, before: int) -> str | None:
    """Return why an event is rejected, by its auth events, which are all known, or by the state before it; `None` if it is not."""
    if event.type == "m.room.create":
        create = state.current_id(source, event.room_id, "m.room.create")
        return None if event.event_id == create else "The room has another create event"
    return _rejection(source, event, timeline.events(source, event.auth_events), before)


# --- the rules -----------------------------------------------------------------------------------------------------


def _rejection(source: CacheSource, event: Event, cited: list[Event], before: int) -> str | None:
    """Return why the event is rejected, by its auth events or by the state before it; `None` if it is not."""
    if len(cited) < len(event.auth_events):
        return "An auth event was rejected"
    create = state.current(source, event.room_id, "m.room.create")
    if create is None:
        return "The room has no create event"
    head = state.head(source, event.room_id)
    stands_on_current = head is not None and head.state == before
    if not (stands_on_current and _cites_current(source, event)):
        reason = foreign_state.fault(event, cited, create)
        if reason is not None:
            return reason
    look_up = _current(source, event) if stands_on_current else _in_state(source, before)
    return _refusal(event, _or_cited(source, event, cited, look_up))


def _cites_current(source: CacheSource, event: Event) -> bool:
    """Tell whether the auth events are just those that the current state has for such an event: then one check is as good as two."""
    pairs = event_auth.auth_types_for(event.type, event.sender, event.state_key, event.content, event.version)
    found = [state.current_id(source, event.room_id, *pair) for pair in pairs]
    wanted = [event_id for event_id in found if event_id is not None]
    return len(wanted) == len(event.auth_events) and set(wanted) == set(event.auth_events)


def _soft_failure(source: CacheSource, event: Event, cited: list[Event], before: int) -> str:
    """Return why the current state does not allow the event, or nothing.

    An event that follows all that is known of the room here is no way round that state: what it stands on was resolved from it. It may have brought back
    who came to the room on a branch that is soft-failed here; if not even that counted, their server would be in the room for itself alone, and for good.
    """
    head = state.head(source, event.room_id)
    if head is None or head.state == before or _follows_all(source, event):
        return ""
    return _refusal(event, _or_cited(source, event, cited, _current(source, event))) or ""


def _follows_all(source: CacheSource, event: Event) -> bool:
    """Tell whether an event comes after all of the room's leaves, and the states that it builds on are not such as another server has told."""
    are_known = all(state.after(source, event_id) is not None for event_id in event.prev_events)
    return are_known and not leaves.remaining(source, event)


def _refusal(event: Event, look_up: event_auth.State) -> str | None:
    try:
        event_auth.authorise(event, event.version, look_up)
    except Forbidden as error:
        return error.error
    return None


def _current(source: CacheSource, event: Event) -> event_auth.State:
    return lambda event_type, state_key: state.current(source, event.room_id, event_type, state_key)


def _in_state(source: CacheSource, number: int) -> event_auth.State:
    return lambda event_type, state_key: state.get(source, number, event_type, state_key)


def _or_cited(source: CacheSource, event: Event, cited: list[Event], look_up: event_auth.State) -> event_auth.State:
    """Let the event's own auth events stand for members of a room whose members are not all known yet."""
    if not partial.is_partial(source, event.room_id):
        return look_up
    members: dict[str | None, Event] = {auth.state_key: auth for auth in cited if auth.type == "m.room.member"}

    def either(event_type: str, state_key: str) -> Event | None:
        found = look_up(event_type, state_key)
        return members.get(state_key) if found is None and event_type == "m.room.member" else found

    return either


# --- what is not accepted ------------------------------------------------------------------------------------------


def _reject(batch: Batch, event: Event, before: int, reason: str) -> Outcome:
    facts = timeline.meta(batch, event.event_id)
    if facts is not None and facts.status == OUTLIER:
        # States that others have told may hold it already. There it stays, and is shown to nobody.
        _keep(batch, event, SOFT_FAILED, before, before)
        return Outcome(Verdict.SOFT_FAILED, reason)
    _keep(batch, event, REJECTED, before, before)
    return Outcome(Verdict.REJECTED, reason)


def _keep(batch: Batch, event: Event, status: int, before: int, after: int) -> None:
    room = short_ids.ensure_room(batch, event.room_id)
    short = short_ids.ensure_event(batch, event.event_id)
    auth = tuple([short_ids.ensure_event(batch, event_id) for event_id in event.auth_events])
    timeline.put_outlier(batch, event, short, EventMeta(status, room, event.depth, auth))
    state.set_around(batch, short, before, after)
