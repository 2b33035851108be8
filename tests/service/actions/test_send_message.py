"""Sending messages: redactions by content, threads, reactions, tombstones, encryption."""

from __future__ import annotations

import pytest

from conduit.protocol.ids import EventId
from conduit.service.rooms import timeline
from tests.support.homeserver import Homeserver, serve
from tests.support.people import people, person


@pytest.mark.parametrize("version", ["1", "3", "10", "11", "12"])
async def test_send_redaction_works_in_every_version(hs: Homeserver, version: str) -> None:
    """`redacts` in the content is put where the room version has it, and the target is pruned."""
    alice = await person(hs)
    room_id = await alice.create_room(room_version=version)
    target = await alice.send(room_id, "secret")
    redaction = await alice.send(room_id, {"redacts": target, "reason": "Spam"}, "m.room.redaction")
    event = timeline.event(hs.ctx.db, EventId(redaction))
    assert event is not None
    in_content = int(version) >= 11
    assert ("redacts" in event.content, "redacts" in event.pdu) == (in_content, not in_content)
    assert event.content["reason"] == "Spam"
    pruned = timeline.event(hs.ctx.db, EventId(target))
    assert pruned is not None
    assert pruned.content == {}


@pytest.mark.parametrize(
    ("redacts", "errcode"),
    [(None, "M_BAD_JSON"), (5, "M_BAD_JSON"), ([], "M_BAD_JSON"), ("nothing", "M_INVALID_PARAM")],
)
async def test_send_redaction_of_nonsense_is_refused(hs: Homeserver, redacts: object, errcode: str) -> None:
    """A redaction must name an event."""
    alice = await person(hs)
    room_id = await alice.create_room()
    await alice.send(room_id, {"redacts": redacts}, "m.room.redaction", expect=errcode)


async def test_send_same_reaction_twice_is_refused(hs: Homeserver) -> None:
    """One reaction of a kind for each user, until it is taken back."""
    alice = await person(hs)
    room_id = await alice.create_room()
    target = await alice.send(room_id)
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": target, "key": "+1"}}
    first = await alice.send(room_id, reaction, "m.reaction", txn="x")
    assert await alice.send(room_id, reaction, "m.reaction", txn="x") == first
    await alice.send(room_id, reaction, "m.reaction", expect="M_DUPLICATE_ANNOTATION")
    await alice.redact(room_id, first)
    await alice.send(room_id, reaction, "m.reaction")


async def test_send_thread_from_a_related_event_is_refused(hs: Homeserver) -> None:
    """A thread starts from an event without a relation; a plain reply may be its root."""
    alice = await person(hs)
    room_id = await alice.create_room()
    root = await alice.send(room_id)

    def thread(target: str) -> dict[str, object]:
        return {"body": "x", "m.relates_to": {"rel_type": "m.thread", "event_id": target}}

    reply = {"body": "x", "m.relates_to": {"m.in_reply_to": {"event_id": root}}}
    answer = await alice.send(room_id, thread(root))
    await alice.send(room_id, thread(answer), expect="M_UNKNOWN")
    await alice.send(room_id, thread(await alice.send(room_id, reply)))
    await alice.send(room_id, thread("$unknown:localhost"))


@pytest.mark.parametrize("relation", [5, "x", [], {}, {"rel_type": 5}, {"rel_type": "m.thread", "event_id": {}}])
async def test_send_with_a_senseless_relation_is_no_relation(hs: Homeserver, relation: object) -> None:
    """Relations of any shape are taken as plain content."""
    alice = await person(hs)
    room_id = await alice.create_room()
    await alice.send(room_id, {"body": "x", "m.relates_to": relation})


async def test_send_tombstone_that_points_to_its_own_room_is_refused(hs: Homeserver) -> None:
    """A room cannot replace itself, neither by a message nor by state."""
    alice = await person(hs)
    room_id = await alice.create_room()
    content = {"body": "x", "replacement_room": room_id}
    await alice.send(room_id, content, "m.room.tombstone", expect="M_INVALID_PARAM")
    await alice.set_state(room_id, "m.room.tombstone", content, expect="M_INVALID_PARAM")


async def test_send_needs_the_level_of_the_type(hs: Homeserver) -> None:
    """The room's levels for message types hold."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(
        preset="public_chat", power_level_content_override={"events": {"org.example": 50}}
    )
    await bob.join(room_id)
    await bob.send(room_id, {}, "org.example", expect="M_FORBIDDEN")
    await bob.send(room_id, {}, "org.other")


async def test_send_encrypted_where_encryption_is_off_is_refused() -> None:
    """`allow_encryption = false` bars encrypted events and turning encryption on."""
    async with serve(allow_encryption=False) as hs:
        alice = await person(hs)
        room_id = await alice.create_room()
        await alice.send(room_id, {"algorithm": "x"}, "m.room.encrypted", expect="M_FORBIDDEN")
        await alice.set_state(room_id, "m.room.encryption", {"algorithm": "x"}, expect="M_FORBIDDEN")
