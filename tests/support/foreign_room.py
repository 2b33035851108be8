"""A room that lives on a scripted server, event by event, for invites to it and joins of it."""

from __future__ import annotations

from typing import Any

from conduit.protocol.pdu import Event
from tests.support.federation import Peer
from tests.support.scripted_room import ScriptedRoom

Json = dict[str, Any]


class ForeignRoom:
    """A room made by a user of a peer. `add` appends an event after the newest one."""

    def __init__(
        self, peer: Peer, creator: str, *, version: str = "10", rule: str = "public", name: str = "There"
    ) -> None:
        room = ScriptedRoom(peer, version, join_rule=rule, creator=creator, name=f"room{id(self):x}")
        if name:
            room.set("m.room.name", {"name": name})
        self._room = room
        self.peer = peer
        self.creator = creator
        self.version = room.version
        self.events = room.events
        self.state = room.state
        self.id = room.room_id

    def build(
        self, event_type: str, content: Json, *, sender: str | None = None, key: str | None = None, **more: Any
    ) -> Event:
        """Return the event that would come next."""
        return self._room.build(event_type, content, state_key=key, sender=sender, **more)

    def add(self, event_type: str, content: Json, *, sender: str | None = None, key: str | None = None) -> Event:
        """Append an event and return it."""
        return self._room.add(self.build(event_type, content, sender=sender, key=key))

    def told(self) -> list[Json]:
        """Return what is sent along with an invite."""
        types = ("m.room.create", "m.room.join_rules", "m.room.name")
        return [event.pdu for (kind, _), event in self.state.items() if kind in types]
