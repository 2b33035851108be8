"""The first checks of what others send as events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.protocol.errors import BadJson, InvalidSignature, MatrixError
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import SUPPORTED
from conduit.service.events import incoming
from tests.support.federation import Network, network
from tests.support.guest import Guest, room_of


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


@pytest.mark.parametrize("version", SUPPORTED)
async def test_events_of_every_room_version_pass_and_have_their_ids(net: Network, version: str) -> None:
    """What a server has made and signed is the same event here."""
    _, room = await room_of(net, version=version)
    guest = await Guest.enter(net, room)
    event = guest.message("hello")
    ctx = net["one.test"].ctx
    [found] = await incoming.check_pdus(
        ctx, [{**event.pdu, "unsigned": {"x": 1}}], guest.version, room_id=event.room_id
    )
    assert isinstance(found, Event)
    assert found.event_id == event.event_id
    assert found.pdu == event.pdu
    assert incoming.id_of(event.pdu, guest.version) == event.event_id


async def test_each_event_is_judged_by_itself(net: Network) -> None:
    """Bad ones say why and leave the good ones alone."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    good = guest.message("good")
    elsewhere = guest.peer.event("10", "m.room.message", sender=guest.user_id, content={}, room_id="!x:y")
    pdus: list[Any] = [
        None,
        {},
        good.pdu,
        {**good.pdu, "signatures": {}},
        elsewhere.pdu,
        {**good.pdu, "prev_events": ["$x"] * 21},
        {**good.pdu, "content": {"x": "y" * 70_000}},
    ]
    found = await incoming.check_pdus(net["one.test"].ctx, pdus, guest.version, room_id=good.room_id)
    assert [isinstance(one, Event) for one in found] == [False, False, True, False, False, False, False]


async def test_content_that_was_changed_on_the_way_is_cut_off(net: Network) -> None:
    """The signature covers the hash and not the content, so what does not fit the hash is taken away."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    event = guest.message("true")
    changed = {**event.pdu, "content": {"body": "false"}}
    found = await incoming.check_pdu(net["one.test"].ctx, changed, guest.version, room_id=event.room_id)
    assert found.event_id == event.event_id
    assert found.content == {}


async def test_single_event_that_does_not_pass_raises(net: Network) -> None:
    """Its format, its room, or its signatures."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    event = guest.message("x")
    ctx = net["one.test"].ctx
    cases: list[tuple[Any, type[MatrixError]]] = [
        ([], BadJson),
        ({**event.pdu, "room_id": "!other:one.test"}, BadJson),
        ({**event.pdu, "signatures": {"peer.test": {"ed25519:peer": "AA"}}}, InvalidSignature),
    ]
    for pdu, error in cases:
        with pytest.raises(error):
            await incoming.check_pdu(ctx, pdu, guest.version, room_id=event.room_id)
    assert incoming.id_of([], guest.version) is None
