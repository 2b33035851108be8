"""Redactions: by whom, of what, and what is gone afterwards."""

from __future__ import annotations

import pytest

from tests.support.homeserver import Homeserver
from tests.support.people import admin, people, person


async def test_redact_by_the_sender_or_with_power_prunes_the_event(hs: Homeserver) -> None:
    """One's own events, and with the power those of others; nobody else's."""
    alice, bob, carol = await people(hs, "alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat")
    for user in (bob, carol):
        await user.join(room_id)
    first, second = await bob.send(room_id, "one"), await bob.send(room_id, "two")
    await carol.redact(room_id, first, expect="M_FORBIDDEN")
    await bob.redact(room_id, first, "Mistake")
    await alice.redact(room_id, second)


@pytest.mark.parametrize("version", ["2", "10", "12"])
async def test_redact_by_an_administrator_of_the_server(hs: Homeserver, version: str) -> None:
    """Events of this server's users, also without power in the room; but only from within it."""
    alice, bob = await people(hs, "alice", "bob")
    operator = await admin(hs)
    room_id = await alice.create_room(preset="public_chat", room_version=version)
    await bob.join(room_id)
    event_id = await bob.send(room_id, "bad")
    await operator.redact(room_id, event_id, expect="M_FORBIDDEN")
    await operator.join(room_id)
    await operator.redact(room_id, event_id)
    assert (await alice.get(f"/rooms/{room_id}/event/{event_id}"))["content"] == {}


async def test_redact_of_state_shows_in_state_and_members_at_once(hs: Homeserver) -> None:
    """Whole lists of state that were asked for before do not keep what was redacted."""
    alice = await person(hs)
    room_id = await alice.create_room(topic="Secret", name="Name", visibility="public")
    await alice.post(f"/join/{room_id}", {"org.example": "Secret"})
    member = await alice.get(f"/rooms/{room_id}/state/m.room.member/{alice.user_id}", params={"format": "event"})
    topic = await alice.get(f"/rooms/{room_id}/state/m.room.topic", params={"format": "event"})
    paths = (f"/rooms/{room_id}/state", f"/rooms/{room_id}/members", "/publicRooms")
    before = [str(await alice.get(path)) for path in paths]
    assert all("Secret" in body for body in before)
    for event in (member, topic):
        await alice.redact(room_id, event["event_id"])
    after = [str(await alice.get(path)) for path in paths]
    assert not any("Secret" in body for body in after)
    assert await alice.state(room_id, "m.room.topic") == {}
    assert (await alice.state(room_id, "m.room.member", alice.user_id))["membership"] == "join"


async def test_redact_of_another_rooms_or_unknown_event_is_refused(hs: Homeserver) -> None:
    """An event of another room is 400, and none at all is not found without the power to redact any."""
    alice, bob = await people(hs, "alice", "bob")
    one, two = [await alice.create_room(preset="public_chat") for _ in range(2)]
    await bob.join(one)
    event = await alice.send(two)
    assert (await alice.raw("PUT", f"/rooms/{one}/redact/{event}/x", {})).status == 400
    await bob.redact(one, "$unknown:localhost", expect="M_NOT_FOUND")
    for user in (alice, bob):
        await user.redact(one, "$unknown", expect="M_NOT_FOUND")


@pytest.mark.parametrize("event_type", ["m.room.create", "m.room.server_acl"])
async def test_redact_of_what_holds_the_room_together_is_refused(hs: Homeserver, event_type: str) -> None:
    """The create event and the access list cannot be redacted."""
    alice = await person(hs)
    room_id = await alice.create_room()
    await alice.set_state(room_id, "m.room.server_acl", {"allow": ["*"]})
    event = await alice.get(f"/rooms/{room_id}/state/{event_type}", params={"format": "event"})
    await alice.redact(room_id, event["event_id"], expect="M_FORBIDDEN")


async def test_redact_without_body_and_with_bad_reason(hs: Homeserver) -> None:
    """No body is taken, a reason of the wrong type is not."""
    alice = await person(hs)
    room_id = await alice.create_room()
    event = await alice.send(room_id)
    await alice.put(f"/rooms/{room_id}/redact/{event}/x", {"reason": 5}, "M_BAD_JSON")
    assert (await alice.raw("PUT", f"/rooms/{room_id}/redact/{event}/y")).status == 200
