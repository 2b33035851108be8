"""Signed membership events under way."""

from __future__ import annotations

from conduit.protocol.ids import ServerName
from conduit.service.events import intents
from conduit.service.events.intents import Intent
from tests.support.rooms import ALICE, World

FAR = ServerName("far.test")


def test_intent_is_found_again_with_its_event() -> None:
    """What was written is what is sent again."""
    world = World()
    for version in ("1", "10", "12"):
        room_id = world.create(ALICE, version=version)
        event = world.say(room_id, ALICE, "stands for a join")
        intent = Intent(room_id, ALICE, "join", FAR, event)
        with world.db.batch() as batch:
            intents.begin(batch, intent)
        found = intents.find(world.db, room_id, ALICE)
        assert found == intent
        assert found is not None
        assert found.event.federation() == event.federation()
        with world.db.batch() as batch:
            intents.begin(batch, intent._replace(undo=True))
        assert [known.undo for known in intents.all_of(world.db)] == [True]
        with world.db.batch() as batch:
            intents.end(batch, room_id, ALICE)
        assert intents.find(world.db, room_id, ALICE) is None
        assert list(intents.all_of(world.db)) == []
