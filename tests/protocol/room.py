"""A room on the table: events with right ids, cited and authorised, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import Forbidden
from conduit.protocol.event_auth import auth_types_for, authorise
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS, RoomVersion

ALICE, BOB, CAROL, DAVE = "@alice:one", "@bob:one", "@carol:two", "@dave:two"
"""Alice makes the rooms; Carol and Dave are at home on another server."""

VERSIONS = list(ROOM_VERSIONS.values())


def every_version(**properties: Any) -> pytest.MarkDecorator:
    """Run a test for every room version whose properties are these, as the argument `version`."""
    chosen = [v for v in VERSIONS if all(getattr(v, name) == value for name, value in properties.items())]
    return pytest.mark.parametrize("version", chosen, ids=[f"v{v.id}" for v in chosen])


class Room:
    """A room's events and its state. `add` puts only what the rules allow; `event` makes anything."""

    def __init__(self, version: RoomVersion | str, *, joined: bool = True, **create: Any) -> None:
        """Create a room by Alice; `create` is further content of `m.room.create`."""
        self.version = ROOM_VERSIONS[version] if isinstance(version, str) else version
        self.state: dict[tuple[str, str], Event] = {}
        self.events: list[Event] = []
        self.room_id = "!room:one"
        content = {"room_version": self.version.id, **create}
        if not self.version.creator_is_sender:
            content = {"creator": ALICE, **content}
        created = self.add(ALICE, "m.room.create", content)
        self.room_id = created.room_id
        if joined:
            self.member(ALICE, "join")

    def pdu(
        self,
        sender: str,
        event_type: str,
        content: dict[str, Any],
        state_key: str | None = "",
        *,
        at: dict[tuple[str, str], Event] | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        """Return an unsigned PDU that follows the room's last event; a change to None removes a key."""
        state = self.state if at is None else at
        keys = auth_types_for(event_type, sender, state_key, content, self.version)
        pdu: dict[str, Any] = {
            "type": event_type,
            "sender": sender,
            "content": content,
            "room_id": self.room_id,
            "origin_server_ts": 1_000_000 + len(self.events),
            "depth": len(self.events) + 1,
            "prev_events": [event.reference() for event in self.events[-1:]],
            "auth_events": [state[key].reference() for key in keys if key in state],
            "hashes": {"sha256": "not hashed"},
            "signatures": {},
        }
        if state_key is not None:
            pdu["state_key"] = state_key
        if event_type == "m.room.create" and self.version.room_id_is_create_hash:
            del pdu["room_id"]
        if not self.version.event_ids_are_hashes:
            pdu["event_id"] = f"${len(self.events)}:{sender.partition(':')[2]}"
        pdu.update(changes)
        return {key: value for key, value in pdu.items() if value is not None}

    def event(
        self, sender: str, event_type: str, content: dict[str, Any], state_key: str | None = "", **changes: Any
    ) -> Event:
        """Return an event that follows the room's last one, whether allowed or not."""
        return Event.from_pdu(self.pdu(sender, event_type, content, state_key, **changes), self.version)

    def put(self, event: Event) -> Event:
        """Take an event into the room without asking the rules."""
        self.events.append(event)
        if event.state_key is not None:
            self.state[event.type, event.state_key] = event
        return event

    def add(self, sender: str, event_type: str, content: dict[str, Any], state_key: str | None = "") -> Event:
        """Authorise an event and take it into the room."""
        event = self.event(sender, event_type, content, state_key)
        self.check(event)
        return self.put(event)

    def member(self, user: str, membership: str, sender: str | None = None, **content: Any) -> Event:
        """Change a membership, by the user or by `sender`."""
        return self.add(sender or user, "m.room.member", {"membership": membership, **content}, user)

    def check(self, event: Event) -> None:
        """Authorise an event on the room's current state."""
        authorise(event, self.version, lambda event_type, state_key: self.state.get((event_type, state_key)))

    def allows(
        self, sender: str, event_type: str, content: dict[str, Any], state_key: str | None = "", **changes: Any
    ) -> bool:
        """Tell whether the rules allow an event now."""
        try:
            self.check(self.event(sender, event_type, content, state_key, **changes))
        except Forbidden:
            return False
        return True

    def allows_member(self, user: str, membership: str, sender: str | None = None, **content: Any) -> bool:
        """Tell whether the rules allow a change of membership now."""
        return self.allows(sender or user, "m.room.member", {"membership": membership, **content}, user)

    def join_rule(self, rule: str) -> None:
        """Set the join rule."""
        self.add(ALICE, "m.room.join_rules", {"join_rule": rule})

    def power(self, users: dict[str, int] | None = None, **levels: Any) -> None:
        """Set the power levels; Alice keeps 100 where she must be listed."""
        alice = {} if self.version.creators_privileged else {ALICE: 100}
        self.add(ALICE, "m.room.power_levels", {"users": {**alice, **(users or {})}, **levels})
