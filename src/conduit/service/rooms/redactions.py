"""Redactions: which apply, and what they take away.

A redaction and its target may come in either order, so each leaves a row when it is accepted, and whether the redaction is valid is decided when both are
there. From then on every read gives the pruned event; the words, the relation and the place in a thread that it had are removed at once.

Source: client-server API, "Redactions"; "Handling redactions" of the room versions.
"""

from __future__ import annotations

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.database.layouts import PduId
from conduit.protocol.event_auth.redaction import applies
from conduit.protocol.ids import EventId
from conduit.protocol.pdu import Event
from conduit.service.rooms import (
    client_events,
    relations,
    search_index,
    short_ids,
    state,
    state_bodies,
    threads,
    timeline,
)


def record(batch: Batch, redaction: Event, *, state_before: int) -> Event | None:
    """Write what an accepted redaction targets, and carry it out if the target is here. Return the target as it was, if it was carried out."""
    target_id = redaction.redacts
    if target_id is None:
        return None
    trees.redaction.put(batch, (target_id, redaction.event_id), True)
    # With a number, an event that comes later is recognised as one that was spoken of before.
    short_ids.ensure_event(batch, target_id)
    target = timeline.event(batch, target_id)
    if target is None or timeline.is_redacted(batch, target_id):
        return None
    if not applies(redaction, target, state.power_levels_at(batch, state_before, redaction.version)):
        return None
    carry_out(batch, target, redaction.event_id)
    return target


def is_shown(source: CacheSource, redaction_id: EventId) -> bool:
    """Tell whether clients get a redaction: it is carried out, or would be if its target were not redacted yet.

    Until both are known nobody can say; the redaction waits. In versions 1 and 2 the auth rules have decided already.
    """
    redaction = timeline.event(source, redaction_id)
    if redaction is None or redaction.version.redactions_authorised or redaction.redacts is None:
        return True
    target = timeline.event(source, redaction.redacts)
    before = state.before(source, redaction_id)
    if target is None or before is None:
        return False
    return applies(redaction, target, state.power_levels_at(source, before, redaction.version))


def carry_out(batch: Batch, target: Event, redaction_id: EventId) -> None:
    """Let a valid redaction apply to a known event."""
    trees.redacted.put(batch, target.event_id, redaction_id)
    timeline.forget_cached(batch, target.event_id)
    client_events.forget(batch, target.event_id)
    if target.is_state:
        state_bodies.forget(batch, target.room_id)
    if target.type == "m.room.power_levels":
        state.forget_power_levels(batch, target.room_id)
    place = timeline.position(batch, target.event_id)
    if place is not None:
        unindex(batch, target, place)


def unindex(batch: Batch, target: Event, place: PduId) -> None:
    """Take an event out of whatever finds it: its words, its relation, its place in a thread."""
    search_index.remove(batch, target, place)
    relations.remove(batch, target, place)
    threads.remove(batch, target, place)


def waiting_for(source: CacheSource, target: Event) -> EventId | None:
    """Return a redaction that came before its target and applies to it, or `None`: the target is about to be accepted."""
    for _, redaction_id in trees.redaction.keys(source, (target.event_id,)):
        redaction = timeline.event(source, EventId(redaction_id))
        before = None if redaction is None else state.before(source, redaction.event_id)
        if redaction is None or before is None:
            continue
        if applies(redaction, target, state.power_levels_at(source, before, redaction.version)):
            return redaction.event_id
    return None
