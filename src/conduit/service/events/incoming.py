"""The first checks of what another server sends as events: shape, size, room, signatures and content hash.

What passes is an `Event` of the room, made by whom it says. Nothing is known yet about whether the room allows it.

Source: server-server API, "Checks performed on receipt of a PDU" 1 to 3; "Validating hashes and signatures on received events".
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from conduit.protocol import hashes
from conduit.protocol.errors import BadJson, InvalidSignature, MatrixError
from conduit.protocol.event_format import check_format
from conduit.protocol.ids import EventId, RoomId
from conduit.protocol.pdu import Event
from conduit.protocol.redaction import redact
from conduit.protocol.room_versions import RoomVersion
from conduit.service.context import Context

STEP = 50
"""How many events are looked at between two chances for others to run: about 10 ms."""


def read(
    pdu: Any, version: RoomVersion, *, room_id: RoomId | None = None, essence: bytes | None = None, old: bool = False
) -> tuple[Event, bytes]:
    """Return the event that a PDU is, and the bytes that its signatures cover; its signatures and its content hash are still to be checked.

    `essence` is what `essence_of` has given for it, if it was asked. Raises a `MatrixError` when its format is not that of the room version, or it belongs to another room than `room_id`.
    Of `old` events see `check_format`.
    """
    check_format(pdu, version, old=old)
    if "unsigned" in pdu:
        pdu = {key: value for key, value in pdu.items() if key != "unsigned"}
    if essence is None:
        essence = hashes.essential_bytes(pdu, version)
    if version.event_ids_are_hashes:
        event = Event(hashes.event_id_of_hash(sha256(essence).digest(), version), pdu, version)
    else:
        event = Event(pdu["event_id"], pdu, version)
    if room_id is not None and event.room_id != room_id:
        raise BadJson("The event belongs to another room")
    return event, essence


def id_of(pdu: Any, version: RoomVersion) -> EventId | None:
    """Return the id of what need not be a well-formed event; `None` if it has none."""
    try:
        return hashes.event_id(pdu, version)
    except (MatrixError, AttributeError, KeyError, TypeError, ValueError):
        return None


def essence_of(pdu: Any, version: RoomVersion) -> tuple[EventId, bytes] | None:
    """Return the id of what need not be a well-formed event, and the bytes that its signatures cover; `None` if it has none."""
    try:
        essence = hashes.essential_bytes(pdu, version)
        if version.event_ids_are_hashes:
            return hashes.event_id_of_hash(sha256(essence).digest(), version), essence
        return hashes.event_id(pdu, version), essence
    except (MatrixError, AttributeError, KeyError, TypeError, ValueError):
        return None


def with_checked_content(event: Event) -> Event:
    """Return the event itself if its content hash is right, else what a redaction would leave of it."""
    if hashes.has_valid_content_hash(event.pdu):
        return event
    return Event(event.event_id, redact(event.pdu, event.version), event.version)


async def verified(
    ctx: Context, read_events: Sequence[tuple[Event, bytes]], *, fetch: bool = True
) -> list[Event | str]:
    """Return for each result of `read` the event, its content redacted if its hash is wrong, or a text that says why its signatures do not do.

    Without `fetch` nobody is asked for keys: where one is lacking the text is a `keyring.NoKey`.
    """
    pairs = [(event.pdu, event.version) for event, _ in read_events]
    faults = await ctx.outbound.keyring.verify_pdus(pairs, [essence for _, essence in read_events], fetch=fetch)
    found: list[Event | str] = []
    for number, ((event, _), fault) in enumerate(zip(read_events, faults, strict=True)):
        found.append(with_checked_content(event) if fault is None else fault)
        if number % STEP == STEP - 1:
            await asyncio.sleep(0)
    return found


async def check_pdus(
    ctx: Context,
    pdus: Sequence[Any],
    version: RoomVersion,
    *,
    room_id: RoomId | None = None,
    essences: Sequence[bytes | None] | None = None,
    old: bool = False,
) -> list[Event | str]:
    """Return for each PDU the event that it is, or a text that says why it is dropped: format (of `old` events see `check_format`), room, or signatures.

    `essences` are what `essence_of` has given for them. One whose content hash is wrong comes redacted. Keys are fetched together, signatures checked in threads.
    """
    found: list[Event | str] = []
    good: list[tuple[Event, bytes]] = []
    places: list[int] = []
    for number, pdu in enumerate(pdus):
        try:
            essence = None if essences is None else essences[number]
            good.append(read(pdu, version, room_id=room_id, essence=essence, old=old))
            places.append(number)
            found.append("")
        except MatrixError as error:
            found.append(error.error)
        if number % STEP == STEP - 1:
            await asyncio.sleep(0)
    for place, event in zip(places, await verified(ctx, good), strict=True):
        found[place] = event
    return found


async def check_pdu(ctx: Context, pdu: Any, version: RoomVersion, *, room_id: RoomId | None = None) -> Event:
    """Return the event that a PDU is; raises the `MatrixError` of its format, or `InvalidSignature`."""
    [found] = await verified(ctx, [read(pdu, version, room_id=room_id)])
    if isinstance(found, str):
        raise InvalidSignature(found)
    return found
