"""A room that lives on a scripted server, event by event, for invites to it and joins of it."""

from __future__ import annotations

from typing import Any

from conduit.protocol.event_auth import auth_types_for
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS
from tests.support.federation import Peer

Json = dict[str, Any]


class ForeignRoom:
    """A room made by a user of a peer. `add` appends an event after the newest one."""

    def __init__(
        self, peer: Peer, creator: str, *, version: str = "10", rule: str = "public", name: str = "There"
    ) -> None:
        self.peer = peer
        self.creator = creator
        self.version = ROOM_VERSIONS[version]
        self.events: list[Event] = []
        self.state: dict[tuple[str, str], Event] = {}
        hashed = self.version.room_id_is_create_hash
        self.room_id: str | None = None if hashed else f"!room{id(self):x}:{peer.name}"
        content: Json = {"room_version": version}
        if not self.version.creator_is_sender:
            content["creator"] = creator
        create = self.add("m.room.create", content, key="")
        self.room_id = create.room_id
        self.add("m.room.member", {"membership": "join"}, key=creator)
        self.add("m.room.power_levels", {"users": {} if hashed else {creator: 100}}, key="")
        self.add("m.room.join_rules", {"join_rule": rule}, key="")
        if name:
            self.add("m.room.name", {"name": name}, key="")

    @property
    def id(self) -> str:
        """The room's id."""
        assert self.room_id is not None
        return self.room_id

    def build(
        self, event_type: str, content: Json, *, sender: str | None = None, key: str | None = None, **more: Any
    ) -> Event:
        """Return the event that would come next."""
        sender = sender or self.creator
        if key is not None:
            more["state_key"] = key
        wanted = auth_types_for(event_type, sender, key, content, self.version) if self.events else ()
        auth = [self.state[pair] for pair in wanted if pair in self.state]
        return self.peer.event(
            self.version,
            kind=event_type,
            sender=sender,
            content=content,
            room_id=self.room_id,
            prev=self.events[-1:],
            auth=auth,
            **more,
        )

    def add(self, event_type: str, content: Json, *, sender: str | None = None, key: str | None = None) -> Event:
        """Append an event and return it."""
        event = self.build(event_type, content, sender=sender, key=key)
        self.events.append(event)
        if event.state_key is not None:
            self.state[event.type, event.state_key] = event
        return event

    def told(self) -> list[Json]:
        """Return what is sent along with an invite."""
        types = ("m.room.create", "m.room.join_rules", "m.room.name")
        return [event.pdu for (kind, _), event in self.state.items() if kind in types]
