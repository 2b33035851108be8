"""Check: events, their places, their facts and their short ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from conduit.database import layouts, trees
from conduit.database.check.finding import Findings, Reading, finding
from conduit.database.layouts import ACCEPTED, PduId
from conduit.database.tree import Tree


def check(reading: Reading) -> Findings:
    """Tell of events and ids that do not point at each other."""
    yield from _inverse(reading, trees.eventid_shorteventid, trees.shorteventid_eventid)
    yield from _inverse(reading, trees.shorteventid_eventid, trees.eventid_shorteventid)
    yield from _inverse(reading, trees.roomid_shortroomid, trees.shortroomid_roomid)
    yield from _inverse(reading, trees.shortroomid_roomid, trees.roomid_shortroomid)
    yield from _inverse(reading, trees.statekey_shortstatekey, trees.shortstatekey_statekey)
    yield from _inverse(reading, trees.shortstatekey_statekey, trees.statekey_shortstatekey)
    yield from _timeline(reading)
    yield from _outliers(reading)
    yield from _facts(reading)
    yield from _leaves(reading)
    yield from _redactions(reading)
    yield from _relations(reading)


def _inverse(reading: Reading, tree: Tree[Any, Any], other: Tree[Any, Any]) -> Findings:
    for key, value in reading.rows(tree):
        if reading.get(other, value) != key:
            yield finding(tree, key, f"{other.name} does not point back from {value!r}")


def parse(data: bytes) -> Mapping[str, Any]:
    """Return a stored event as it is; empty if it is no JSON object."""
    try:
        pdu = orjson.loads(data)
    except ValueError:
        return {}
    return pdu if isinstance(pdu, dict) else {}


def room_of(pdu: Mapping[str, Any]) -> str:
    """Return the room of a stored event; the create event of a version 12 room does not name it."""
    room_id = pdu.get("room_id")
    return room_id if isinstance(room_id, str) else "!" + str(pdu.get("event_id"))[1:]


def _timeline(reading: Reading) -> Findings:
    for place, data in reading.rows(trees.pduid_pdu):
        pdu = parse(data)
        event_id = pdu.get("event_id")
        if not isinstance(event_id, str):
            yield finding(trees.pduid_pdu, place, "there is no event")
            continue
        if reading.get(trees.eventid_pduid, event_id) != place:
            yield finding(trees.pduid_pdu, event_id, f"eventid_pduid does not name its place {place}")
        if reading.get(trees.shortroomid_roomid, place.room) != room_of(pdu):
            yield finding(trees.pduid_pdu, event_id, "it lies in the timeline of another room")
        yield from _described(reading, event_id, place.room, accepted=True)
    for event_id, place in reading.rows(trees.eventid_pduid):
        data = reading.get(trees.pduid_pdu, place) or b""
        if parse(data).get("event_id") != event_id:
            yield finding(trees.eventid_pduid, event_id, f"another event, or none, is at {place}")


def _described(reading: Reading, event_id: str, room: int | None, *, accepted: bool) -> Findings:
    short = reading.get(trees.eventid_shorteventid, event_id)
    facts = None if short is None else reading.get(trees.shorteventid_meta, short)
    if short is None or facts is None:
        yield finding(trees.shorteventid_meta, event_id, "nothing is known of the event")
        return
    if (facts.status == ACCEPTED) != accepted:
        yield finding(trees.shorteventid_meta, event_id, f"its status is {facts.status}")
    if room is not None and facts.room != room:
        yield finding(trees.shorteventid_meta, event_id, "its room is another one")
    if reading.get(trees.room_events, (facts.room, short)) is None:
        yield finding(trees.room_events, event_id, "it is not among the events of its room")


def _outliers(reading: Reading) -> Findings:
    for event_id, data in reading.rows(trees.eventid_outlierpdu):
        pdu = parse(data)
        if pdu.get("event_id") != event_id:
            yield finding(trees.eventid_outlierpdu, event_id, "there is another event, or none")
            continue
        if reading.get(trees.eventid_pduid, event_id) is not None:
            yield finding(trees.eventid_outlierpdu, event_id, "it is in a timeline too")
        yield from _described(reading, event_id, reading.get(trees.roomid_shortroomid, room_of(pdu)), accepted=False)


def _facts(reading: Reading) -> Findings:
    for short, facts in reading.rows(trees.shorteventid_meta):
        event_id = reading.get(trees.shorteventid_eventid, short)
        if event_id is None or stored(reading, event_id) is None:
            yield finding(trees.shorteventid_meta, event_id or short, "the event is missing")
        for auth in facts.auth:
            if reading.get(trees.shorteventid_eventid, auth) is None:
                yield finding(trees.shorteventid_meta, event_id or short, f"its auth event {auth} stands for nothing")
    for room, short in reading.keys(trees.room_events):
        known = reading.get(trees.shorteventid_meta, short)
        if known is None or known.room != room:
            yield finding(trees.room_events, (room, short), "the event is of another room, or unknown")


def stored(reading: Reading, event_id: str) -> bytes | None:
    """Return an event's bytes, from its timeline or from outside of it."""
    place = reading.get(trees.eventid_pduid, event_id)
    data = None if place is None else reading.get(trees.pduid_pdu, place)
    return reading.get(trees.eventid_outlierpdu, event_id) if data is None else data


def _leaves(reading: Reading) -> Findings:
    rooms_with_leaves = set()
    for room_id, event_id in reading.keys(trees.roomid_pduleaves):
        rooms_with_leaves.add(room_id)
        place = reading.get(trees.eventid_pduid, event_id)
        if place is None or reading.get(trees.shortroomid_roomid, place.room) != room_id:
            yield finding(trees.roomid_pduleaves, event_id, f"it is a leaf of {room_id} and not in its timeline")
    for room_id, room in reading.rows(trees.roomid_shortroomid):
        if room_id not in rooms_with_leaves and _first(reading, room) is not None:
            yield finding(trees.roomid_pduleaves, room_id, "the room has events and no leaves")


def _first(reading: Reading, room: int) -> PduId | None:
    return next(reading.keys(trees.pduid_pdu, (room,)), None)


def _redactions(reading: Reading) -> Findings:
    for target, redaction in reading.rows(trees.redacted):
        if reading.get(trees.redaction, (target, redaction)) is None:
            yield finding(trees.redacted, target, f"its redaction {redaction} is not among the redactions of it")
        if stored(reading, redaction) is None:
            yield finding(trees.redacted, target, f"its redaction {redaction} is missing")


def _relations(reading: Reading) -> Findings:
    for (target, raw), row in reading.rows(trees.relation):
        try:
            place = layouts.PDU_ID.decode(raw)
        except ValueError:
            yield finding(trees.relation, (target, raw), "there is no position")
            continue
        event_id = reading.get(trees.shorteventid_eventid, row.event)
        if event_id is None or reading.get(trees.eventid_pduid, event_id) != place:
            yield finding(trees.relation, (target, place), "the relating event is not there")
        if reading.get(trees.shorteventid_eventid, target) is None:
            yield finding(trees.relation, (target, place), "the target stands for nothing")
