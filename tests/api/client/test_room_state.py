"""GET and PUT of state in all their forms."""

from __future__ import annotations

import pytest

from conduit.protocol.ids import RoomId
from conduit.service.browse import room_state
from conduit.service.rooms import timeline
from tests.support.homeserver import Homeserver
from tests.support.people import people, person


async def test_state_empty_key_with_and_without_slash_is_one(hs: Homeserver) -> None:
    """`/state/type` and `/state/type/` are the empty state key, for both methods."""
    alice = await person(hs)
    room_id = await alice.create_room()
    await alice.put(f"/rooms/{room_id}/state/org.example", {"n": 1})
    assert await alice.get(f"/rooms/{room_id}/state/org.example/") == {"n": 1}
    await alice.put(f"/rooms/{room_id}/state/org.example/", {"n": 2})
    assert await alice.get(f"/rooms/{room_id}/state/org.example") == {"n": 2}


@pytest.mark.parametrize("key", ["a", "a/b", "ü ☕", "a%b", "?x=y", ".", "~" * 255])
async def test_state_key_of_any_text_is_kept(hs: Homeserver, key: str) -> None:
    """State keys are free text."""
    alice = await person(hs)
    room_id = await alice.create_room()
    await alice.set_state(room_id, "org.example", {"for": key}, key)
    assert await alice.state(room_id, "org.example", key) == {"for": key}
    await alice.state(room_id, "org.example", expect="M_NOT_FOUND")


async def test_state_as_event_has_the_client_form(hs: Homeserver) -> None:
    """`format=event` gives the whole event, `content` or nothing its content, and anything else is refused."""
    alice = await person(hs)
    room_id = await alice.create_room(name="Lobby")
    path = f"/rooms/{room_id}/state/m.room.name"
    event = await alice.get(path, params={"format": "event"})
    assert event["content"] == {"name": "Lobby"}
    assert (event["type"], event["state_key"], event["sender"]) == ("m.room.name", "", alice.user_id)
    assert event["room_id"] == room_id
    assert await alice.get(path, params={"format": "content"}) == {"name": "Lobby"}
    await alice.get(path, "M_INVALID_PARAM", params={"format": "xml"})


async def test_state_whole_is_every_event(hs: Homeserver) -> None:
    """`/state` lists each piece of state once."""
    alice = await person(hs)
    room_id = await alice.create_room(name="Lobby", topic="Cheese")
    await alice.set_state(room_id, "m.room.topic", {"topic": "Wine"})
    events = await alice.get(f"/rooms/{room_id}/state")
    found = {(event["type"], event["state_key"]): event["content"] for event in events}
    assert len(found) == len(events) == 8
    assert found["m.room.topic", ""] == {"topic": "Wine"}


async def test_lists_of_large_rooms_are_sent_in_pieces(hs: Homeserver, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not kept whole is the same to a client."""
    alice = await person(hs)
    room_id = await alice.create_room(name="Lobby")
    paths = [f"/rooms/{room_id}/{name}" for name in ("state", "members", "joined_members")]
    kept = [await alice.get(path) for path in paths]
    monkeypatch.setattr(room_state, "MAX_WHOLE", 1)
    assert [await alice.get(path) for path in paths] == kept


async def test_state_set_again_stays_the_same_event(hs: Homeserver) -> None:
    """Setting what is so already writes nothing."""
    alice = await person(hs)
    room_id = await alice.create_room()
    first = await alice.set_state(room_id, "org.example", {"a": 1, "b": 2})
    last = timeline.last_position(hs.ctx.db, RoomId(room_id))
    assert await alice.set_state(room_id, "org.example", {"b": 2, "a": 1}) == first
    assert timeline.last_position(hs.ctx.db, RoomId(room_id)) == last


async def test_state_is_hidden_from_strangers_and_the_invited(hs: Homeserver) -> None:
    """Who is not in the room, or only invited, reads nothing; an unknown room looks the same."""
    alice, bob, carol = await people(hs, "alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat", invite=[carol.user_id])
    for user in (bob, carol):
        await user.get(f"/rooms/{room_id}/state", "M_FORBIDDEN")
        await user.state(room_id, "m.room.create", expect="M_FORBIDDEN")
        await user.state(room_id, "m.room.nothing", expect="M_FORBIDDEN")
    await bob.get("/rooms/!nowhere:localhost/state", "M_FORBIDDEN")
    await bob.get("/rooms/nowhere/state", "M_INVALID_PARAM")
    await hs.client().get(f"/rooms/{room_id}/state", "M_MISSING_TOKEN")


async def test_state_of_a_world_readable_room_is_open(hs: Homeserver) -> None:
    """Anybody with an account may read a world-readable room, and nobody else may any more when it is closed."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(name="Lobby")
    await alice.set_state(room_id, "m.room.history_visibility", {"history_visibility": "world_readable"})
    assert await bob.state(room_id, "m.room.name") == {"name": "Lobby"}
    assert len(await bob.get(f"/rooms/{room_id}/state")) == 7
    await alice.set_state(room_id, "m.room.history_visibility", {"history_visibility": "shared"})
    await bob.state(room_id, "m.room.name", expect="M_FORBIDDEN")


@pytest.mark.parametrize(
    ("event_type", "key", "body", "errcode"),
    [
        ("m.room.create", "", {"room_version": "1"}, "M_FORBIDDEN"),
        ("org.example", "@bob:localhost", {}, "M_FORBIDDEN"),
        ("t" * 256, "", {}, "M_TOO_LARGE"),
        ("org.example", "k" * 256, {}, "M_TOO_LARGE"),
        ("org.example", "", {"x": 0.5}, "M_BAD_JSON"),
        ("org.example", "", [], "M_BAD_JSON"),
        ("org.example", "", {"x": "y" * 66_000}, "M_TOO_LARGE"),
        ("m.room.power_levels", "", {"users": 5}, "M_BAD_JSON"),
        ("m.room.power_levels", "", {"users": {"x": 5}}, "M_BAD_JSON"),
        ("m.room.power_levels", "", {"events_default": "5"}, "M_BAD_JSON"),
        ("m.room.tombstone", "", {"replacement_room": 5}, "M_INVALID_PARAM"),
        ("m.room.canonical_alias", "", {"alias": 5}, "M_BAD_JSON"),
    ],
)
async def test_state_that_cannot_be_is_refused(
    hs: Homeserver, event_type: str, key: str, body: object, errcode: str
) -> None:
    """Bad content has the fitting code and changes nothing."""
    alice = await person(hs)
    room_id = await alice.create_room()
    before = await alice.get(f"/rooms/{room_id}/state")
    await alice.set_state(room_id, event_type, body, key, expect=errcode)  # type: ignore[arg-type]
    assert await alice.get(f"/rooms/{room_id}/state") == before


async def test_state_needs_power(hs: Homeserver) -> None:
    """Ordinary members cannot name the room, and nobody raises levels above their own."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat", room_version="11")
    await bob.join(room_id)
    await bob.set_state(room_id, "m.room.name", {"name": "x"}, expect="M_FORBIDDEN")
    levels = await alice.state(room_id, "m.room.power_levels")
    await alice.set_state(room_id, "m.room.power_levels", {**levels, "kick": 101}, expect="M_FORBIDDEN")
