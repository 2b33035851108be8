"""A room on a scripted server: its events, and what that server answers to who wants in.

room = ScriptedRoom(net.peer("far.test"), "10")
room.member("@zoe:far.test")
room.serve()                       # make_join, send_join, state_ids, state, event, make_leave, …
await bob.post(f"/join/{room.room_id}?via=far.test")
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from conduit.protocol.event_auth import auth_types_for
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS
from tests.support.federation import Incoming, Json, Peer


class ScriptedRoom:
    """A room whose every event is signed by its peer."""

    def __init__(
        self,
        peer: Peer,
        version: str = "10",
        *,
        join_rule: str = "public",
        creator: str = "",
        name: str = "room",
        **create: Any,
    ) -> None:
        """`name` is that in the room's id, in the versions that let us choose; the rest is content of the create event."""
        self.peer = peer
        self.version = ROOM_VERSIONS[version]
        self.creator = creator or f"@creator:{peer.name}"
        self.room_id = f"!{name}:{peer.name}"
        self.events: list[Event] = []
        self.state: dict[tuple[str, str], Event] = {}
        self.omits = False
        """Whether members are left out of the answer to a join."""
        self.servers = [peer.name]
        self.joins: list[Json] = []
        """The joins that were sent here."""
        self.leaves: list[Json] = []
        content = {"room_version": version, **create}
        if not self.version.creator_is_sender:
            content["creator"] = self.creator
        first = self.set("m.room.create", content)
        self.room_id = first.room_id
        self.member(self.creator)
        levels: Json = {"users": {} if self.version.creators_privileged else {self.creator: 100}}
        self.set("m.room.power_levels", levels)
        self.set("m.room.join_rules", {"join_rule": join_rule})
        self.set("m.room.history_visibility", {"history_visibility": "shared"})

    def build(
        self,
        kind: str,
        content: Json,
        *,
        state_key: str | None = None,
        sender: str | None = None,
        prev: list[Event] | None = None,
        auth: list[Event] | None = None,
        **more: Any,
    ) -> Event:
        """Return an event that stands on the newest one, and is not part of the room yet."""
        sender = sender or self.creator
        if auth is None:
            pairs = auth_types_for(kind, sender, state_key, content, self.version)
            auth = [self.state[pair] for pair in pairs if pair in self.state]
        if state_key is not None:
            more["state_key"] = state_key
        is_first = self.version.room_id_is_create_hash and kind == "m.room.create"
        return self.peer.event(
            self.version,
            kind,
            sender=sender,
            content=content,
            room_id=None if is_first else self.room_id,
            prev=self.events[-1:] if prev is None else prev,
            auth=auth,
            **more,
        )

    def add(self, event: Event) -> Event:
        """Make an event part of the room."""
        self.events.append(event)
        if event.state_key is not None:
            self.state[event.type, event.state_key] = event
        return event

    def set(self, kind: str, content: Json, state_key: str = "", sender: str | None = None) -> Event:
        """Add a state event."""
        return self.add(self.build(kind, content, state_key=state_key, sender=sender))

    def member(self, user_id: str, membership: str = "join", sender: str | None = None, **content: Any) -> Event:
        """Add a membership."""
        content = {"membership": membership, **content}
        return self.set("m.room.member", content, user_id, sender or user_id)

    def say(self, sender: str, body: str, **options: Any) -> Event:
        """Add a message."""
        return self.add(self.build("m.room.message", {"msgtype": "m.text", "body": body}, sender=sender, **options))

    # --- answers

    def template(self, membership: str, user_id: str) -> Json:
        """Return what `make_join` and its like answer."""
        draft = self.build("m.room.member", {"membership": membership}, state_key=user_id, sender=user_id)
        event = {key: value for key, value in draft.pdu.items() if key not in ("hashes", "signatures", "event_id")}
        return {"room_version": self.version.id, "event": event}

    def chain(self, events: list[Event]) -> list[Event]:
        """Return the auth chain of events."""
        known = {event.event_id: event for event in self.events}
        found: dict[str, Event] = {}
        waiting = [auth for event in events for auth in event.auth_events]
        while waiting:
            event_id = waiting.pop()
            if event_id not in found:
                found[event_id] = known[event_id]
                waiting += found[event_id].auth_events
        return list(found.values())

    def answer(self) -> Json:
        """Return the answer to `send_join`."""
        state = list(self.state.values())
        if not self.omits:
            return {"state": _pdus(state), "auth_chain": _pdus(self.chain(state))}
        few = [event for event in state if event.type != "m.room.member"]
        return {
            "state": _pdus(few),
            "auth_chain": _pdus(self.chain(few)),
            "members_omitted": True,
            "servers_in_room": self.servers,
        }

    def whole(self) -> tuple[list[Event], list[Event]]:
        """Return the state before the join and its auth chain."""
        state = list(self._before.values())
        return state, self.chain(state)

    def state_ids(self) -> Json:
        """Return what `state_ids` answers of the state before the join."""
        state, chain = self.whole()
        return {"pdu_ids": [event.event_id for event in state], "auth_chain_ids": [event.event_id for event in chain]}

    def serve(self) -> None:
        """Answer everything that a joining server asks."""
        peer = self.peer
        self._before = dict(self.state)

        def make(incoming: Incoming) -> Any:
            act, user_id = incoming.segments[3], unquote(incoming.segments[5])
            return self.template(act.removeprefix("make_"), user_id)

        def send_join(incoming: Incoming) -> Any:
            self.joins.append(incoming.json())
            answer = self.answer()
            self._before = dict(self.state)
            self.add(Event.from_pdu(incoming.json(), self.version))
            return answer

        def send_leave(incoming: Incoming) -> Any:
            self.leaves.append(incoming.json())
            return {}

        def state(incoming: Incoming) -> Any:
            events, chain = self.whole()
            return {"pdus": _pdus(events), "auth_chain": _pdus(chain)}

        def one(incoming: Incoming) -> Any:
            wanted = incoming.segments[4]
            found = [event.pdu for event in self.events if event.event_id == wanted]
            return (
                {"origin": peer.name, "origin_server_ts": 1, "pdus": found}
                if found
                else (404, {"errcode": "M_NOT_FOUND"})
            )

        peer.on("GET", r"/_matrix/federation/v1/make_(join|leave|knock)/.*", make)
        peer.on("PUT", r"/_matrix/federation/v2/send_join/.*", send_join)
        peer.on("PUT", r"/_matrix/federation/v2/send_leave/.*", send_leave)
        peer.on("GET", r"/_matrix/federation/v1/state_ids/.*", lambda _: self.state_ids())
        peer.on("GET", r"/_matrix/federation/v1/state/.*", state)
        peer.on("GET", r"/_matrix/federation/v1/event/.*", one)
        peer.on("PUT", r"/_matrix/federation/v1/send/.*", {"pdus": {}})
        peer.on("GET", r"/_matrix/federation/v1/user/devices/.*", (404, {"errcode": "M_NOT_FOUND"}))


def _pdus(events: list[Event]) -> list[Json]:
    return [event.pdu for event in events]
