"""Tests of what our own users may send: the rooms' rules, and what this server demands beyond them."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import (
    BadJson,
    BadRequest,
    DuplicateAnnotation,
    Forbidden,
    InvalidParam,
    MatrixError,
    NotFound,
    TooLarge,
)
from conduit.protocol.ids import EventId
from conduit.service.rooms import state, timeline
from tests.support.rooms import ALICE, BOB, CAROL, World

MISSING = EventId("$" + "m" * 43)


def nested(levels: int) -> dict[str, Any]:
    """Return content nested that deep."""
    content: dict[str, Any] = {}
    for _ in range(levels):
        content = {"a": content}
    return content


@pytest.mark.parametrize(
    ("event_type", "key", "content", "error"),
    [
        ("m.room.message", None, {"body": 1.5}, BadJson),
        ("m.room.message", None, {"body": 2**53}, BadJson),
        ("m.room.message", None, {"body": float("nan")}, BadJson),
        ("m.room.message", None, {"body": "\ud800"}, BadJson),
        ("m.room.message", None, nested(250), BadJson),
        ("m.room.message", None, [], BadJson),
        ("t" * 256, None, {}, TooLarge),
        ("é" * 128, None, {}, TooLarge),
        ("org.example.state", "k" * 256, {}, TooLarge),
        ("m.room.member", "nobody", {"membership": "join"}, InvalidParam),
        ("m.room.member", ALICE, {}, BadJson),
        ("m.room.member", ALICE, {"membership": "guest"}, BadJson),
        ("m.room.member", ALICE, {"membership": ["join"]}, BadJson),
        ("m.room.power_levels", "", {"ban": "50"}, BadJson),
        ("m.room.power_levels", "", {"ban": True}, BadJson),
        ("m.room.power_levels", "", {"users": {ALICE: "100"}}, BadJson),
        ("m.room.power_levels", "", {"users": {"alice": 100}}, BadJson),
        ("m.room.power_levels", "", {"users": [ALICE]}, BadJson),
        ("m.room.power_levels", "", {"events": {"m.room.name": None}}, BadJson),
        ("m.room.power_levels", "", {"notifications": 5}, BadJson),
        ("m.room.redaction", None, {}, BadJson),
        ("m.room.redaction", None, {"redacts": 5}, BadJson),
        ("m.room.redaction", None, {"redacts": "no id"}, InvalidParam),
        ("m.room.create", "", {}, Forbidden),
        ("org.example.state", BOB, {}, Forbidden),
    ],
)
@pytest.mark.parametrize("version", ["1", "9", "12"])
def test_unsound_content_is_refused_and_writes_nothing(
    version: str, event_type: str, key: str | None, content: Any, error: type[MatrixError]
) -> None:
    """Whatever cannot be an event, or would harm the room, gets its own error in every room version."""
    world = World()
    room_id = world.create(version=version)
    last, count = timeline.last_position(world.db, room_id), world.db.current_count()
    with pytest.raises(error):
        world.send(room_id, ALICE, event_type, content, state_key=key)
    assert timeline.last_position(world.db, room_id) == last
    assert world.db.current_count() == count


def test_only_joined_users_send() -> None:
    """Neither a stranger nor an invited, left or banned user may send anything but what changes their membership."""
    world = World()
    room_id = world.create(join_rule="invite")

    def refused() -> None:
        with pytest.raises(Forbidden):
            world.say(room_id, BOB, "x")
        with pytest.raises(Forbidden):
            world.set(room_id, BOB, "m.room.join_rules", {"join_rule": "invite"})

    refused()
    world.member(room_id, ALICE, BOB, "invite")
    refused()
    world.join(room_id, BOB)
    world.say(room_id, BOB, "in")
    world.leave(room_id, BOB)
    refused()
    world.member(room_id, ALICE, BOB, "ban")
    refused()
    with pytest.raises(Forbidden):
        world.join(room_id, BOB)


def test_rules_of_the_room_are_kept() -> None:
    """Power levels decide who changes the state, and nobody raises themselves."""
    world = World()
    room_id = world.create(users={BOB: 50})
    for user_id in (BOB, CAROL):
        world.join(room_id, user_id)
    world.set(room_id, BOB, "m.room.name", {"name": "by a moderator"})
    with pytest.raises(Forbidden):
        world.set(room_id, CAROL, "m.room.name", {"name": "by a member"})
    with pytest.raises(Forbidden):
        world.set(room_id, BOB, "m.room.power_levels", {"users": {ALICE: 100, BOB: 100}})
    with pytest.raises(Forbidden):
        world.member(room_id, BOB, ALICE, "ban")
    name = state.current(world.db, room_id, "m.room.name")
    assert name is not None
    assert name.sender == BOB


def test_encryption_can_be_switched_off_by_the_owner() -> None:
    """With `allow_encryption = false` neither is encryption switched on in a room nor anything encrypted sent."""
    world = World(allow_encryption=False)
    room_id = world.create()
    with pytest.raises(Forbidden):
        world.set(room_id, ALICE, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    with pytest.raises(Forbidden):
        world.send(room_id, ALICE, "m.room.encrypted", {"ciphertext": "x"})
    allowed = World()
    room_id = allowed.create()
    allowed.set(room_id, ALICE, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    allowed.send(room_id, ALICE, "m.room.encrypted", {"ciphertext": "x"})


@pytest.mark.parametrize("version", ["1", "11", "12"])
def test_redaction_needs_a_real_target_or_the_power_to_redact(version: str) -> None:
    """One's own events and, with power, others'; never in another room, nor what the room stands on."""
    world = World()
    room_id, other = world.create(version=version), world.create(version=version)
    world.join(room_id, BOB)
    elsewhere = world.say(other, ALICE, "elsewhere").event_id
    own, theirs = world.say(room_id, BOB, "own").event_id, world.say(room_id, ALICE, "theirs").event_id
    create = state.current_id(world.db, room_id, "m.room.create")
    assert create is not None
    acl = world.set(room_id, ALICE, "m.room.server_acl", {"allow": ["*"]}).event_id
    with pytest.raises(Forbidden):
        world.redact(room_id, BOB, theirs)
    with pytest.raises(NotFound):
        world.redact(room_id, BOB, MISSING)
    with pytest.raises(BadRequest):
        world.redact(room_id, ALICE, elsewhere)
    for target in (create, acl):
        with pytest.raises(Forbidden):
            world.redact(room_id, ALICE, target)
    world.redact(room_id, BOB, own)
    world.redact(room_id, ALICE, theirs)
    world.redact(room_id, ALICE, MISSING)


def test_redaction_may_name_its_target_in_the_content() -> None:
    """A client that sends `m.room.redaction` as any other event is understood in every version."""
    world = World()
    for version in ("6", "11"):
        room_id = world.create(version=version)
        target = world.say(room_id, ALICE, "x").event_id
        redaction = world.send(room_id, ALICE, "m.room.redaction", {"redacts": target})
        assert redaction.redacts == target
        assert timeline.is_redacted(world.db, target)


def test_same_reaction_twice_is_refused() -> None:
    """Nobody reacts to an event twice with one key, until the first reaction is taken back."""
    world = World()
    room_id = world.create()
    world.join(room_id, BOB)
    target = world.say(room_id, ALICE, "x").event_id

    def react(key: str, sender: Any = ALICE) -> EventId:
        relates_to = {"rel_type": "m.annotation", "event_id": target, "key": key}
        return world.send(room_id, sender, "m.reaction", {"m.relates_to": relates_to}).event_id

    first = react("👍")
    with pytest.raises(DuplicateAnnotation):
        react("👍")
    react("👎")
    react("👍", BOB)
    world.redact(room_id, ALICE, first)
    react("👍")
