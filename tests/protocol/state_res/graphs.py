"""Rooms that fork: random event graphs, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from conduit.protocol.errors import Forbidden
from conduit.protocol.event_auth import auth_types_for, authorise
from conduit.protocol.ids import EventId
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import RoomVersion
from conduit.protocol.state_res import resolve
from tests.protocol.room import ALICE, BOB, CAROL, DAVE, Room

StateIds = dict[tuple[str, str], EventId]
USERS = (ALICE, BOB, CAROL, DAVE)
LEVELS = (0, 10, 50, 60, 100)


class Graph:
    """A room whose history has branches, each with a state of its own."""

    def __init__(self, version: RoomVersion) -> None:
        """Begin with a public room of Alice's in which everybody may do something."""
        self.version = version
        room = Room(version)
        room.join_rule("public")
        room.power({BOB: 50, CAROL: 50}, state_default=10)
        for user in (BOB, CAROL, DAVE):
            room.member(user, "join")
        self.room = room
        self.events: dict[EventId, Event] = {event.event_id: event for event in room.events}
        self.tips: list[tuple[Event, StateIds]] = [
            (room.events[-1], {key: event.event_id for key, event in room.state.items()})
        ]

    def fetch(self, event_id: EventId) -> Event | None:
        """Return an event of the room."""
        return self.events.get(event_id)

    @property
    def states(self) -> list[StateIds]:
        """The states of the branches."""
        return [state for _, state in self.tips]

    def add(
        self,
        branch: int,
        sender: str,
        event_type: str,
        content: dict[str, Any],
        state_key: str = "",
        *,
        ts: int | None = None,
    ) -> Event | None:
        """Put a state event on a branch if its state allows it, and return it."""
        tip, state = self.tips[branch]
        keys = auth_types_for(event_type, sender, state_key, content, self.version)
        changes: dict[str, Any] = {
            "prev_events": [tip.reference()],
            "auth_events": [self.events[state[key]].reference() for key in keys if key in state],
            "depth": tip.depth + 1,
            "origin_server_ts": 1_000_000 + len(self.events) if ts is None else ts,
        }
        if not self.version.event_ids_are_hashes:
            changes["event_id"] = f"${len(self.events)}:one"
        event = self.room.event(sender, event_type, content, state_key, **changes)
        try:
            authorise(event, self.version, lambda *key: self.events[state[key]] if key in state else None)
        except Forbidden:
            return None
        self.events[event.event_id] = event
        self.tips[branch] = event, {**state, (event_type, state_key): event.event_id}
        return event

    def fork(self, branch: int) -> int:
        """Start another branch where this one stands, and return its number."""
        self.tips.append(self.tips[branch])
        return len(self.tips) - 1

    def resolve(self, states: list[StateIds] | None = None) -> StateIds:
        """Return what the states (of all branches, if not given) resolve to."""
        return resolve(self.version, self.states if states is None else states, self.fetch)

    def shown(self, state: Mapping[tuple[str, str], EventId], event_type: str, state_key: str = "") -> Any:
        """Return the content that a state has for a key."""
        return self.events[state[event_type, state_key]].content


def random_graph(version: RoomVersion, seed: int, steps: int = 60) -> Graph:
    """Return a graph in which users quarrel on up to four branches, now and then merging two."""
    graph, dice = Graph(version), random.Random(seed)
    for _ in range(steps):
        branch = dice.randrange(len(graph.tips))
        if len(graph.tips) < 4 and dice.random() < 0.15:
            graph.fork(branch)
            continue
        if len(graph.tips) > 2 and dice.random() < 0.05:
            tip, state = graph.tips.pop()
            other_tip, other = graph.tips[0]
            graph.tips[0] = max(tip, other_tip, key=lambda event: event.depth), graph.resolve([state, other])
            continue
        sender, target, ts = dice.choice(USERS), dice.choice(USERS), 1_000_000 + dice.randrange(50)
        act = dice.randrange(7)
        content: dict[str, Any]
        if act == 0:
            users: dict[str, int] = {user: dice.choice(LEVELS) for user in USERS if dice.random() < 0.7}
            if version.creators_privileged:
                users.pop(ALICE, None)
            else:
                users[ALICE] = 100
            content = {"users": users, "state_default": dice.choice((0, 10, 50)), "ban": dice.choice((10, 50))}
            graph.add(branch, sender, "m.room.power_levels", content, ts=ts)
        elif act == 1:
            content = {"join_rule": dice.choice(("public", "invite", "public"))}
            graph.add(branch, sender, "m.room.join_rules", content, ts=ts)
        elif act in (2, 3, 4):
            membership = dice.choice(("join", "leave", "ban", "invite", "join"))
            by = target if membership == "join" else sender
            content = {"membership": membership, "n": dice.randrange(1000)}
            graph.add(branch, by, "m.room.member", content, target, ts=ts)
        else:
            event_type = dice.choice(("m.room.topic", "m.room.name", "m.room.third_party_invite"))
            graph.add(branch, sender, event_type, {"n": dice.randrange(1000)}, dice.choice(("", "a")), ts=ts)
    return graph
