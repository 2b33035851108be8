"""Tests of events as bytes for other servers."""

from __future__ import annotations

import orjson
import pytest

from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS, SUPPORTED
from conduit.service.rooms import auth_chain, federated, short_ids, state, versions
from tests.support.rooms import ALICE, BOB, World, users


async def gathered(pieces: object) -> list[object]:
    """Return the items of a JSON array that comes in pieces."""
    text = b"".join([piece async for piece in pieces])  # type: ignore[attr-defined]
    found: list[object] = orjson.loads(b"[" + text + b"]")
    return found


@pytest.mark.parametrize("version", SUPPORTED)
def test_form_is_what_was_signed(version: str) -> None:
    """The bytes cut out of the stored ones are those that a decoded event would be written as."""
    world = World()
    room_id = world.create(version=version)
    event = world.say(room_id, ALICE, "hällo", unsigned={"event_id": "$x"}, event_id="$fake", other='"event_id":"$x",')
    stored = versions.stored_event(world.db, event.event_id)
    assert stored is not None
    assert federated.form(stored, event.event_id, event.version) == event.federation()
    assert federated.many(world.db, [event.event_id], event.version) == [event.federation()]


@pytest.mark.parametrize("version", ["1", "3", "11"])
def test_form_of_an_imported_row_has_no_unsigned(version: str) -> None:
    """Rows of Conduit hold what this server does not write."""
    world = World()
    room_id = world.create(version=version)
    event = world.say(room_id, ALICE, "hello")
    row = orjson.dumps({**orjson.loads(event.stored()), "unsigned": {"age": 4}}, option=orjson.OPT_SORT_KEYS)
    assert federated.form(row, event.event_id, ROOM_VERSIONS[version]) == event.federation()


def test_many_prunes_redacted_events_and_passes_over_unknown_ones() -> None:
    """What was redacted is not told on."""
    world = World()
    room_id = world.create()
    event, kept = world.say(room_id, ALICE, "oops"), world.say(room_id, ALICE, "fine")
    world.redact(room_id, ALICE, event.event_id)
    ids = [event.event_id, type(event.event_id)("$" + "x" * 43), kept.event_id]
    assert federated.many(world.db, ids, event.version) == [event.redacted().federation(), kept.federation()]


async def test_pieces_hold_every_event_once_however_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps end up as one array, of events and of ids alike; an empty one too."""
    monkeypatch.setattr(federated, "STEP", 3)
    monkeypatch.setattr(federated, "EDGE_STEP", 4)
    world = World()
    room_id = world.create()
    for user_id in users(10):
        world.join(room_id, user_id)
    head = state.head(world.db, room_id)
    assert head is not None
    shorts = list(state.ids(world.db, head.state).values())
    version = versions.version_of(world.db, room_id)
    pdus = await gathered(federated.pieces(world.db, shorts, version))
    expected = short_ids.events_of(world.db, shorts)
    assert [Event.from_pdu(pdu, version).event_id for pdu in pdus] == expected  # type: ignore[arg-type]
    assert await gathered(federated.id_pieces(world.db, shorts)) == expected
    assert await gathered(federated.pieces(world.db, [], version)) == []
    assert await gathered(federated.id_pieces(world.db, [])) == []


async def test_auth_chain_is_that_of_the_walk_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """In steps of any size."""
    world = World()
    room_id = world.create()
    world.member(room_id, ALICE, BOB, "invite")
    world.join(room_id, BOB)
    for number in range(5):
        world.join(room_id, BOB, displayname=str(number))
    last = short_ids.short_event(world.db, world.say(room_id, BOB, "hello").event_id)
    assert last is not None
    expected = auth_chain.chain(world.db, [last])
    for step in (1, 2, 1000):
        monkeypatch.setattr(federated, "EDGE_STEP", step)
        assert await federated.auth_chain(world.db, [last]) == expected
    assert await federated.auth_chain(world.db, []) == set()
