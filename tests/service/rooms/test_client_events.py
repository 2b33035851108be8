"""Tests of the form in which clients get events."""

from __future__ import annotations

from typing import Any

import orjson

from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.service.rooms import client_events
from conduit.service.rooms.client_events import Recipient
from conduit.service.rooms.visibility import Viewer
from tests.support.rooms import ALICE, BOB, World


def shown(world: World, room_id: RoomId, event_id: EventId, user_id: UserId = ALICE, **to: Any) -> dict[str, Any]:
    """Return an event as a user gets it."""
    event = client_events.get(world.db, event_id)
    assert event is not None
    recipient = Recipient(user_id, to.pop("device_id", "DEVICE"), to.pop("now_ms", event.ts), **to)
    rendered = client_events.render(world.db, event, recipient, Viewer(world.db, room_id, user_id))
    found: dict[str, Any] = orjson.loads(rendered)
    return found


def test_message_has_the_fields_of_a_client_event() -> None:
    """Nothing of the federation's form is shown, and the room only if it is wanted."""
    world = World()
    room_id = world.create()
    event = world.say(room_id, ALICE, 'quo"tes')
    expected = {
        "content": {"msgtype": "m.text", "body": 'quo"tes'},
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
        "room_id": room_id,
        "sender": ALICE,
        "type": "m.room.message",
        "unsigned": {"age": 7, "membership": "join"},
    }
    assert shown(world, room_id, event.event_id, now_ms=event.origin_server_ts + 7) == expected
    del expected["room_id"]
    assert shown(world, room_id, event.event_id, now_ms=event.origin_server_ts + 7, with_room=False) == expected


def test_create_event_of_version_12_names_its_room() -> None:
    """Where the room's id is not in the event the client finds it all the same."""
    world = World()
    room_id = world.create(version="12")
    event = next(event for event in _all(world, room_id) if event["type"] == "m.room.create")
    assert event["room_id"] == room_id


def _all(world: World, room_id: RoomId) -> list[dict[str, Any]]:
    from conduit.service.rooms import cuts

    places = cuts.positions(world.db, room_id, cuts.START, cuts.END)
    forms = [client_events.at(world.db, place) for place in list(places)]
    return [shown(world, room_id, form.event_id) for form in forms if form is not None]


def test_transaction_id_is_for_the_sending_device() -> None:
    """Another device and another user do not get it."""
    world = World()
    room_id = world.create()
    world.join(room_id, BOB)
    event = world.send(room_id, ALICE, "m.room.message", {"body": "x"}, transaction=("PHONE", 'txn "1"'))
    assert shown(world, room_id, event.event_id, device_id="PHONE")["unsigned"]["transaction_id"] == 'txn "1"'
    assert "transaction_id" not in shown(world, room_id, event.event_id, device_id="LAPTOP")["unsigned"]
    assert "transaction_id" not in shown(world, room_id, event.event_id, BOB, device_id="PHONE")["unsigned"]


def test_former_content_is_shown_to_who_may_see_it() -> None:
    """Whoever could not see the event before learns which one it was and not what it said."""
    world = World()
    room_id = world.create()
    world.set(room_id, ALICE, "m.room.history_visibility", {"history_visibility": "joined"})
    first = world.set(room_id, ALICE, "m.room.topic", {"topic": "secret"})
    world.join(room_id, BOB)
    second = world.set(room_id, ALICE, "m.room.topic", {"topic": "open"})
    assert shown(world, room_id, second.event_id)["unsigned"]["prev_content"] == {"topic": "secret"}
    unsigned = shown(world, room_id, second.event_id, BOB)["unsigned"]
    assert unsigned["replaces_state"] == first.event_id
    assert "prev_content" not in unsigned
    assert "replaces_state" not in shown(world, room_id, first.event_id)["unsigned"]


def test_redaction_prunes_what_was_shown_before() -> None:
    """A form that was kept is made anew when its event is redacted, also for those who see it as former content."""
    world = World()
    room_id = world.create()
    event = world.say(room_id, ALICE, "shame")
    topic = world.set(room_id, ALICE, "m.room.topic", {"topic": "shame"})
    newer = world.set(room_id, ALICE, "m.room.topic", {"topic": "fine"})
    assert shown(world, room_id, event.event_id)["content"]["body"] == "shame"
    assert shown(world, room_id, newer.event_id)["unsigned"]["prev_content"] == {"topic": "shame"}
    redaction = world.redact(room_id, ALICE, event.event_id)
    world.redact(room_id, ALICE, topic.event_id)
    pruned = shown(world, room_id, event.event_id)
    assert pruned["content"] == {}
    assert pruned["unsigned"]["redacted_because"]["event_id"] == redaction.event_id
    assert shown(world, room_id, newer.event_id)["unsigned"]["prev_content"] == {}


def test_redaction_names_its_target_in_both_places() -> None:
    """Whatever the room version, `redacts` stands beside and inside the content."""
    for version in ("10", "11"):
        world = World()
        room_id = world.create(version=version)
        target = world.say(room_id, ALICE, "x")
        redaction = world.redact(room_id, ALICE, target.event_id)
        event = shown(world, room_id, redaction.event_id)
        assert event["redacts"] == event["content"]["redacts"] == target.event_id


def test_state_event_of_a_list_is_the_same_for_all() -> None:
    """In a list of state nothing depends on the reader."""
    world = World()
    room_id = world.create()
    event = client_events.get(world.db, world.set(room_id, ALICE, "m.room.topic", {"topic": "t"}).event_id)
    assert event is not None
    plain = orjson.loads(event.closed)
    assert plain.keys() == {"content", "event_id", "origin_server_ts", "sender", "type", "state_key"}
    assert orjson.loads(client_events.with_room(event)) == {**plain, "room_id": room_id}
