"""The forms in which a reader gets events."""

from __future__ import annotations

import orjson

from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.service.rooms import client_events
from conduit.service.rooms.client_events import Recipient
from conduit.service.rooms.reading import Format, Reader
from tests.support.homeserver import Homeserver
from tests.support.people import person


async def test_events_in_the_form_of_the_federation_have_their_id(hs: Homeserver) -> None:
    """They are as other servers get them, which since room version 3 is without the id; a client cannot do without."""
    alice = await person(hs)
    to = Recipient(UserId(alice.user_id), alice.device_id, hs.clock.now_ms())
    for version in ("2", "11", "12"):
        room_id = await alice.create_room(room_version=version)
        event_id = await alice.send(room_id, "hello")
        reader = Reader(hs.ctx.db, RoomId(room_id), to, form=Format(federation=True))
        event = client_events.get(hs.ctx.db, EventId(event_id))
        assert event is not None
        shown = orjson.loads(reader.render(event))
        assert shown["event_id"] == event_id
        assert {"prev_events", "auth_events", "depth", "hashes", "signatures"} <= set(shown)
        assert "unsigned" not in shown
