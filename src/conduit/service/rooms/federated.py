"""Events in the form that other servers get, as bytes, and in any number.

What is stored is that form already, canonical and signed, with the event id added where ids are hashes. So nothing is decoded: the id is cut out of the stored
bytes. Only rows that hold more (`unsigned`, from an imported database) and redacted events are taken apart and written anew.

Lists of tens of thousands of events are read in steps, between which others get their turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

import orjson

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.layouts import REJECTED, EventMeta
from conduit.protocol.canonical_json import dump
from conduit.protocol.ids import EventId
from conduit.protocol.room_versions import RoomVersion
from conduit.service.rooms import short_ids, timeline

STEP = 400
"""How many events are read at a time: a few milliseconds' work."""
EDGE_STEP = 2000
"""How many events' auth edges are followed at a time."""


def form(data: bytes, event_id: EventId, version: RoomVersion) -> bytes:
    """Return the federation form of a stored event."""
    if b'"unsigned":' not in data:
        if not version.event_ids_are_hashes:
            return data
        # The first place with these bytes is the one that was added: what comes before it in the canonical order is covered by the hash that the id is.
        mark = b'"event_id":"' + event_id.encode() + b'",'
        start = data.find(mark)
        if start >= 0:
            return data[:start] + data[start + len(mark) :]
    pdu = orjson.loads(data)
    pdu.pop("unsigned", None)
    if version.event_ids_are_hashes:
        pdu.pop("event_id", None)
    return dump(pdu)


def many(source: CacheSource, event_ids: Sequence[EventId], version: RoomVersion) -> list[bytes]:
    """Return the federation forms of those events of one room that are known and were not rejected, redacted ones pruned."""
    places = trees.eventid_pduid.get_many(source, event_ids)
    rows = iter(trees.pduid_pdu.get_many(source, [place for place in places if place is not None]))
    redactions = trees.redacted.get_many(source, event_ids)
    found = []
    for event_id, place, redaction in zip(event_ids, places, redactions, strict=True):
        data = next(rows) if place is not None else trees.eventid_outlierpdu.get(source, event_id)
        if data is None or (place is None and _is_rejected(source, event_id)):
            continue
        if redaction is None:
            found.append(form(data, event_id, version))
            continue
        event = timeline.event(source, event_id)
        if event is not None:
            found.append(event.federation())
    return found


def _is_rejected(source: CacheSource, event_id: EventId) -> bool:
    meta = timeline.meta(source, event_id)
    return meta is not None and meta.status == REJECTED


async def pieces(source: CacheSource, shorts: Iterable[int], version: RoomVersion) -> AsyncIterator[bytes]:
    """Yield the federation forms of events of one room, given by their short ids, as pieces of a JSON array without its brackets."""
    waiting = list(shorts)
    before = b""
    for start in range(0, len(waiting), STEP):
        forms = many(source, short_ids.events_of(source, waiting[start : start + STEP]), version)
        if forms:
            yield before + b",".join(forms)
            before = b","
        await asyncio.sleep(0)


async def id_pieces(source: CacheSource, shorts: Iterable[int]) -> AsyncIterator[bytes]:
    """Yield the ids of events as pieces of a JSON array without its brackets."""
    waiting = list(shorts)
    before = b""
    for start in range(0, len(waiting), EDGE_STEP):
        event_ids = short_ids.events_of(source, waiting[start : start + EDGE_STEP])
        yield before + orjson.dumps(event_ids)[1:-1]
        before = b","
        await asyncio.sleep(0)


async def auth_chain(source: CacheSource, shorts: Iterable[int]) -> set[int]:
    """Return the auth events of the given short events, their auth events, and so on; a given event only if another one leads to it.

    Those that were rejected or never came are left out with what only they lead to.
    """
    chain: set[int] = set()
    waiting = list(shorts)
    while waiting:
        step, waiting = waiting[-EDGE_STEP:], waiting[:-EDGE_STEP]
        cited = {auth for meta in _metas(source, step) for auth in meta.auth} - chain
        usable = [
            short
            for short, meta in zip(cited, trees.shorteventid_meta.get_many(source, list(cited)), strict=True)
            if meta is not None and meta.status != REJECTED
        ]
        chain.update(usable)
        waiting += usable
        await asyncio.sleep(0)
    return chain


def _metas(source: CacheSource, shorts: list[int]) -> list[EventMeta]:
    return [meta for meta in trees.shorteventid_meta.get_many(source, shorts) if meta is not None]
