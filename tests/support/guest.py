"""A scripted server that is in a room of a homeserver and knows the room's graph: it makes events anywhere in it, and tells them well or badly.

guest = await Guest.enter(net, room_id)                 # @eve:peer.test joins through "one.test"
event = guest.message("hello")                          # follows the newest that the guest knows; nothing is sent
other = guest.state_event("m.room.topic", {"topic": "x"}, prev=[event])
await guest.send(event, other)                          # a transaction; returns when all of it has been worked off
guest.serve()                                           # answers /get_missing_events, /state_ids, /event, … from what it knows
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from conduit.database import trees
from conduit.protocol import event_auth, state_res
from conduit.protocol.errors import MatrixError
from conduit.protocol.event_auth import auth_types_for
from conduit.protocol.ids import EventId, RoomId
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import RoomVersion
from conduit.service.rooms import leaves, state, timeline
from tests.support.client import User
from tests.support.federation import Incoming, Network, Peer
from tests.support.homeserver import Homeserver
from tests.support.visitor import FEDERATION, Visitor

Json = dict[str, Any]
State = dict[tuple[str, str], EventId]
GUARD_SECONDS = 20.0


async def worked_off(server: Homeserver) -> None:
    """Return once nothing is staged on the server any more."""
    async with asyncio.timeout(GUARD_SECONDS):
        while trees.stagedpdu.first(server.ctx.db) is not None:  # noqa: ASYNC110 (nobody is told when nothing is left)
            await asyncio.sleep(0)


class Guest:
    """A scripted server's view of a room."""

    def __init__(self, net: Network, peer: Peer, server: Homeserver, user_id: str, join: Event) -> None:
        self.net = net
        self.peer = peer
        self.server = server
        self.user_id = user_id
        self.join = join
        self.room_id = join.room_id
        self.version: RoomVersion = join.version
        self.events: dict[EventId, Event] = {}
        self.before: dict[EventId, State] = {}
        self.after: dict[EventId, State] = {}
        self.accepted: set[EventId] = set()
        """What the rules allow where it stands."""
        self.tip = join

    @classmethod
    async def enter(
        cls, net: Network, room_id: str, *, name: str = "peer.test", user: str = "eve", to: str = "one.test"
    ) -> Guest:
        """Return a guest whose user has joined the room through the server `to`."""
        peer = net.peer(name)
        user_id = f"@{user}:{name}"
        joined = await Visitor(peer, to).join(room_id, user_id)
        peer.on("PUT", f"{FEDERATION}/v1/send/.*", {"pdus": {}})
        guest = cls(net, peer, net[to], user_id, joined.event)
        for event in (*joined.auth_chain, *joined.state):
            guest.events[event.event_id] = event
        before = {(event.type, event.state_key or ""): event.event_id for event in joined.state}
        guest._take(joined.event, before)
        await worked_off(guest.server)
        return guest

    def learn(self, event: Event) -> Event:
        """Take an event of somebody else into the graph; what it follows is known."""
        self._take(event, self.state_before(event.prev_events))
        return event

    def _take(self, event: Event, before: State) -> None:
        self.events[event.event_id] = event
        self.before[event.event_id] = before
        after = dict(before)
        if self._is_allowed(event, before):
            self.accepted.add(event.event_id)
        if event.state_key is not None and event.event_id in self.accepted:
            after[event.type, event.state_key] = event.event_id
        self.after[event.event_id] = after

    def _is_allowed(self, event: Event, before: State) -> bool:
        """Tell whether the state before an event allows it; the guest cites no other."""
        try:
            event_auth.authorise(event, self.version, lambda *pair: self.events.get(before.get(pair, EventId(""))))
        except MatrixError:
            return False
        return True

    def state_before(self, prev: Iterable[EventId]) -> State:
        """Return the state in which events meet, by resolution over the whole graph."""
        states = [self.after[event_id] for event_id in prev]
        return dict(state_res.resolve(self.version, states, self.events.get))

    def event(
        self,
        kind: str,
        content: Json,
        *,
        state_key: str | None = None,
        prev: Iterable[Event] | None = None,
        sender: str | None = None,
        auth: Iterable[Event] | None = None,
        keep: bool = True,
        **more: Any,
    ) -> Event:
        """Return an event that follows `prev` (the newest known), authorised by the state there. Without `keep` the guest forgets it at once."""
        prev = [self.tip] if prev is None else list(prev)
        sender = sender or self.user_id
        before = self.state_before([event.event_id for event in prev]) if keep or auth is None else {}
        if auth is None:
            pairs = auth_types_for(kind, sender, state_key, content, self.version)
            auth = [self.events[before[pair]] for pair in pairs if pair in before]
        if state_key is not None:
            more["state_key"] = state_key
        made = self.peer.event(
            self.version, kind, sender=sender, content=content, room_id=self.room_id, prev=prev, auth=auth, **more
        )
        if keep:
            self._take(made, before)
            self.tip = made
        return made

    def message(self, body: str, **more: Any) -> Event:
        """Return a text message."""
        return self.event("m.room.message", {"msgtype": "m.text", "body": body}, **more)

    def state_event(self, kind: str, content: Json, *, key: str = "", **more: Any) -> Event:
        """Return a state event."""
        return self.event(kind, content, state_key=key, **more)

    def renamed(self, name: str = "E", *, padding: int = 0) -> tuple[Event, Event]:
        """Return a change of the guest's name on a branch that nobody was sent, and a message beside it that cites it."""
        root = self.tip
        content = {"membership": "join", "displayname": name, "padding": "x" * padding}
        change = self.state_event("m.room.member", content, key=self.user_id, prev=[self.join])
        cited = self.message("x", keep=False).auth_events
        auth = [change if self.events[one].type == "m.room.member" else self.events[one] for one in cited]
        return change, self.message(f"by {name}", prev=[root], auth=auth)

    async def send(self, *events: Event | Json) -> Json:
        """Send a transaction; return its answer, by event id, once the events have been worked off."""
        answer = await self.peer.send(self.server.server_name, events)
        await worked_off(self.server)
        pdus: Json = answer["pdus"]
        return pdus

    # --- answering -------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Answer what others ask about the room, from what the guest knows."""
        self.peer.on("POST", f"{FEDERATION}/v1/get_missing_events/.*", self._missing)
        self.peer.on("GET", f"{FEDERATION}/v1/state_ids/.*", self._state_ids)
        self.peer.on("GET", f"{FEDERATION}/v1/state/.*", self._state)
        self.peer.on("GET", f"{FEDERATION}/v1/event/.*", self._event)
        self.peer.on("GET", f"{FEDERATION}/v1/event_auth/.*", self._event_auth)
        self.peer.on("GET", f"{FEDERATION}/v1/backfill/.*", self._backfill)

    def chain(self, event_ids: Iterable[EventId]) -> list[EventId]:
        """Return the auth chain of events."""
        found: dict[EventId, None] = {}
        waiting = list(event_ids)
        while waiting:
            event = self.events.get(waiting.pop())
            for cited in event.auth_events if event is not None else ():
                if cited not in found:
                    found[cited] = None
                    waiting.append(cited)
        return list(found)

    def _pdus(self, event_ids: Iterable[EventId]) -> list[Json]:
        return [self.events[event_id].pdu for event_id in event_ids if event_id in self.events]

    def _behind(self, latest: Iterable[EventId], stop: Iterable[EventId], limit: int) -> list[EventId]:
        found: dict[EventId, None] = {}
        level = list(latest)
        halt = set(stop)
        while level and len(found) < limit:
            event = self.events.get(level.pop(0))
            for prev in event.prev_events if event is not None else ():
                if prev in self.events and prev not in found and prev not in halt and len(found) < limit:
                    found[prev] = None
                    level.append(prev)
        return list(found)[::-1]

    def _missing(self, incoming: Incoming) -> Any:
        body = incoming.json()
        return {"events": self._pdus(self._behind(body["latest_events"], body["earliest_events"], body["limit"]))}

    def _backfill(self, incoming: Incoming) -> Any:
        named = [EventId(value) for key, value in incoming.query if key == "v"]
        limit = int(next(value for key, value in incoming.query if key == "limit"))
        found = [*named, *self._behind(named, (), limit - len(named))[::-1]]
        return {"origin": self.peer.name, "origin_server_ts": 1, "pdus": self._pdus(found)}

    def _at(self, incoming: Incoming) -> State | None:
        return self.before.get(EventId(dict(incoming.query)["event_id"]))

    def _state_ids(self, incoming: Incoming) -> Any:
        state = self._at(incoming)
        if state is None:
            return 404, {"errcode": "M_NOT_FOUND", "error": "Unknown"}
        return {"pdu_ids": list(state.values()), "auth_chain_ids": self.chain(state.values())}

    def _state(self, incoming: Incoming) -> Any:
        state = self._at(incoming)
        if state is None:
            return 404, {"errcode": "M_NOT_FOUND", "error": "Unknown"}
        return {"pdus": self._pdus(state.values()), "auth_chain": self._pdus(self.chain(state.values()))}

    def _event(self, incoming: Incoming) -> Any:
        pdus = self._pdus([EventId(incoming.segments[-1])])
        if not pdus:
            return 404, {"errcode": "M_NOT_FOUND", "error": "Unknown"}
        return {"origin": self.peer.name, "origin_server_ts": 1, "pdus": pdus}

    def _event_auth(self, incoming: Incoming) -> Any:
        return {"auth_chain": self._pdus(self.chain([EventId(incoming.segments[-1])]))}

    def asked(self, part: str) -> list[Incoming]:
        """Return the requests of which the path contains `part`."""
        return [incoming for incoming in self.peer.received if part in incoming.path]


# --- looking at a homeserver ------------------------------------------------------------------------------------


async def room_of(net: Network, *, version: str = "10", **levels: int) -> tuple[User, str]:
    """Return a user of the homeserver and a public room of theirs, in which `levels` are set and others may set state."""
    alice = await net["one.test"].register("alice")
    override = {"state_default": 0, "events_default": 0, "invite": 0, "events": {}, **levels}
    room = await alice.create_room(preset="public_chat", room_version=version, power_level_content_override=override)
    return alice, room


def current(net: Network, room: str) -> State:
    """Return the room's current state on the homeserver."""
    return dict(state.current_ids(net["one.test"].ctx.db, RoomId(room)))


def status(net: Network, event: Event) -> int | None:
    """Return the status of an event on the homeserver, `None` for an unknown one."""
    facts = timeline.meta(net["one.test"].ctx.db, event.event_id)
    return None if facts is None else facts.status


def is_shown(net: Network, event: Event) -> bool:
    """Tell whether an event is in the timeline."""
    return timeline.position(net["one.test"].ctx.db, event.event_id) is not None


async def until(holds: Callable[[], bool]) -> None:
    """Return once something holds that happens in the background."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 (nobody is told of it)
            await asyncio.sleep(0)


def tips(net: Network, room: str) -> set[str]:
    """Return the ids of the room's leaves."""
    return {leaf.event_id for leaf in leaves.of(net["one.test"].ctx.db, RoomId(room))}
