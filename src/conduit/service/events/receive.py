"""The life of an event of another server, from its first checks to its place: accepted, rejected or soft-failed.

    outcome = await receive.process(ctx, origin, event)

`judge` decides under the room's lock; here what it lacks is fetched (`fetch`) or resolved (`resolve`), outside of the lock, and it is asked again.

Source: server-server API, "Checks performed on receipt of a PDU", "Backfilling and retrieving missing events".
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from conduit.protocol.ids import EventId, ServerName
from conduit.protocol.pdu import Event
from conduit.service.context import Context
from conduit.service.events import fetch, judge, policy, resolve
from conduit.service.events.fetch import Budget
from conduit.service.events.judge import Lacking, Outcome, Progress, Verdict
from conduit.service.rooms import state

__all__ = ["Outcome", "Verdict", "process", "state_before"]

log = structlog.get_logger(__name__)

_ATTEMPTS = 8
"""How often an event is judged before it is given up: each time something else was lacking, or the room had moved on."""


async def process(ctx: Context, origin: ServerName, event: Event, *, relay: bool = False) -> Outcome:
    """Decide on an event that has passed `incoming`, and write what follows. The caller does not hold the room's lock.

    `origin` is who has sent it, and is asked for what is missing. With `relay` the event is passed on to the other servers in the room.
    """
    return await _process(ctx, origin, event, Budget(ctx, origin), relay=relay, inner=False)


async def _process(
    ctx: Context, origin: ServerName, event: Event, budget: Budget, *, relay: bool, inner: bool
) -> Outcome:
    progress = Progress()
    if not judge.is_settled(ctx.db, event.event_id):
        event, progress.suspect = await policy.approve(ctx, event)
    asked_for_missing = inner
    for _ in range(_ATTEMPTS):
        async with ctx.locks.room(event.room_id):
            with ctx.db.batch() as batch:
                verdict = judge.settle(ctx, batch, event, progress, relayed_from=origin if relay else None)
        if isinstance(verdict, Outcome):
            if verdict.verdict not in (Verdict.ACCEPTED, Verdict.DUPLICATE):
                log.info(
                    "event_not_accepted",
                    room_id=event.room_id,
                    event_id=event.event_id,
                    verdict=verdict.verdict.value,
                    reason=verdict.reason,
                )
            return verdict
        if verdict.states:
            number = await resolve.resolve_states(ctx, event.room_id, event.version, verdict.states)
            progress.resolved[verdict.states] = number
        elif verdict.auth:
            if not await _fetch_auth(ctx, origin, event, verdict, budget):
                return Outcome(Verdict.DROPPED, "Its auth events cannot be obtained")
        elif not asked_for_missing:
            asked_for_missing = True
            await _fetch_missing(ctx, origin, event, budget)
        elif not (inner or await fetch.is_older(ctx, origin, event, verdict.prev, budget)):
            # Who sends an event has those before it. To stand on a state that its sender tells would let it become the room's only leaf.
            return Outcome(Verdict.DROPPED, "What it follows is not told")
        elif not await _fetch_states(ctx, origin, event, verdict.prev, budget):
            return Outcome(Verdict.DROPPED, "What it follows cannot be obtained")
    return Outcome(Verdict.DROPPED, "What it builds on cannot be obtained")


async def _fetch_missing(ctx: Context, origin: ServerName, event: Event, budget: Budget) -> None:
    for server in fetch.servers_for(ctx, origin, event.room_id, event.server_name):
        for earlier in await fetch.missing_events(ctx, server, event, budget):
            await _process(ctx, server, earlier, budget, relay=False, inner=True)
        if all(state.after(ctx.db, event_id) is not None for event_id in event.prev_events):
            return


async def _fetch_auth(ctx: Context, origin: ServerName, event: Event, lacking: Lacking, budget: Budget) -> bool:
    for server in fetch.servers_for(ctx, origin, event.room_id, event.server_name):
        if await fetch.auth_events(ctx, server, event, lacking.auth, budget):
            return True
    return False


async def _fetch_states(
    ctx: Context, origin: ServerName, event: Event, missing: Sequence[EventId], budget: Budget
) -> bool:
    for at in missing:
        if state.after(ctx.db, at) is not None:
            continue
        for server in fetch.servers_for(ctx, origin, event.room_id, event.server_name):
            if await fetch.state_at(ctx, server, event, at, budget):
                break
        else:
            return False
    return True


async def state_before(ctx: Context, event: Event) -> int | None:
    """Return the state before an event, by resolution over the states after those that it follows; `None` if one of these is not known."""
    known = state.before(ctx.db, event.event_id)
    if known is not None:
        return known
    numbers = [state.after(ctx.db, event_id) for event_id in event.prev_events]
    states = [number for number in numbers if number is not None]
    if not states or len(states) < len(numbers):
        return None
    return await resolve.resolve_states(ctx, event.room_id, event.version, states)
