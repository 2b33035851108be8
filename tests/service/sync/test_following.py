"""A client that follows a room by /sync alone knows of it what the server knows: state, timeline, summary.

Whatever happens between two answers, however long the timelines are that it asks for, and in both forms of the state section.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from typing import Any

import pytest

from tests.support.client import User, segment
from tests.support.homeserver import Homeserver
from tests.support.people import people

Json = dict[str, Any]

SEEDS = 40 if os.environ.get("TEST_DEPTH") == "full" else 3
STEPS = 40
MEMBER = "m.room.member"
VISIBILITIES = ("shared", "joined", "invited", "world_readable")


class Follower:
    """A client of one user that keeps one room as the specification says, from what /sync and the gaps' pages hold."""

    def __init__(self, user: User, room: str, *, limit: int, after: bool, lazy: bool = False) -> None:
        self.user, self.room, self.limit, self.after, self.lazy = user, room, limit, after, lazy
        self.since: str | None = None
        self.section = ""
        """Under which name the room was in the last answer that told of it."""
        self.state: dict[tuple[str, str], str] = {}
        self.timeline: dict[str, None] = {}
        self.summary: Json = {}

    async def sync(self) -> None:
        """Take one answer."""
        wanted = {"timeline": {"limit": self.limit}, "state": {"lazy_load_members": self.lazy}}
        params: Json = {"filter": {"room": wanted}, "use_state_after": self.after}
        since = self.since
        body = await self.user.sync(since, **params)
        self.since = body["next_batch"]
        for name in ("join", "invite", "leave"):
            section = body.get("rooms", {}).get(name, {}).get(self.room)
            if section is None:
                continue
            is_new = name == "join" and self.section != "join"
            if is_new:
                self.state, self.summary = {}, {}
            self.section = name
            if name != "invite":
                await self._take(section, None if is_new else since)
                self._check_senders(section["timeline"]["events"])

    async def _take(self, section: Json, since: str | None) -> None:
        events = section["timeline"]["events"]
        assert len(events) <= self.limit
        if self.after:
            assert "state" not in section
            self._apply(section["state_after"]["events"])
        else:
            assert "state_after" not in section
            self._apply([*section.get("state", {}).get("events", []), *events])
        if section["timeline"]["limited"]:
            self.timeline |= dict.fromkeys(await self._gap(section["timeline"]["prev_batch"], since))
        self.timeline |= dict.fromkeys(event["event_id"] for event in events)
        self.summary |= section.get("summary", {})

    def _apply(self, events: Iterable[Json]) -> None:
        self.state |= {
            (event["type"], event["state_key"]): event["event_id"] for event in events if "state_key" in event
        }

    def _check_senders(self, events: Iterable[Json]) -> None:
        """Hold lazy loading to it that every sender who is shown is known, and in a joined room oneself."""
        if self.section == "join":
            assert {event["sender"] for event in events} <= {key for kind, key in self.state if kind == MEMBER}
            assert (MEMBER, self.user.user_id) in self.state

    async def _gap(self, start: str, stop: str | None) -> list[str]:
        return (await pages(self.user, self.room, start, **({} if stop is None else {"to": stop})))[::-1]


async def pages(user: User, room: str, start: str | None = None, **params: Any) -> list[str]:
    """Return the ids of all events from a token back to the last that the user gets, newest first."""
    found: list[str] = []
    while True:
        page = await user.messages(room, limit=7, **params, **({} if start is None else {"from": start}))
        found += [event["event_id"] for event in page["chunk"]]
        if "end" not in page:
            return found
        start = page["end"]


async def step(chance: random.Random, number: int, room: str, alice: User, bob: User, carol: User) -> None:
    """Let something happen in the room, if it can."""
    path = f"/rooms/{segment(room)}"
    act = chance.choice(["say"] * 6 + ["set"] * 3 + ["join"] * 3 + ["move"] * 4 + ["rename"] * 2 + ["redact"])
    if act == "say":
        speaker = chance.choice([alice, alice, bob, carol])
        await speaker.raw("PUT", f"{path}/send/m.room.message/{number}", {"msgtype": "m.text", "body": str(number)})
    elif act == "set":
        kind, key = chance.choice([("name", "name"), ("topic", "topic"), ("history_visibility", "history_visibility")])
        value = chance.choice(VISIBILITIES) if kind == "history_visibility" else chance.choice(["", str(number)])
        await alice.set_state(room, f"m.room.{kind}", {key: value})
    elif act == "join":
        await chance.choice([bob, bob, carol]).raw("POST", f"{path}/join", {})
    elif act == "move":
        deed = chance.choice(["leave", "kick", "ban", "unban", "invite"])
        who = chance.choice([bob, bob, carol])
        by = who if deed == "leave" else alice
        await by.raw("POST", f"{path}/{deed}", {} if deed == "leave" else {"user_id": who.user_id})
    elif act == "rename":
        who = chance.choice([bob, carol])
        await who.put(f"/profile/{segment(who.user_id)}/displayname", {"displayname": f"name {number}"})
    else:
        newest = (await alice.messages(room, limit=5))["chunk"]
        await alice.raw("PUT", f"{path}/redact/{segment(chance.choice(newest)['event_id'])}/{number}", {})


async def check(follower: Follower) -> None:
    """Compare what the client knows of a room that it is in with what the server says of it."""
    user, room = follower.user, follower.room
    events = await user.get(f"/rooms/{segment(room)}/state")
    state = {(event["type"], event["state_key"]): event["event_id"] for event in events}
    known = follower.state
    if follower.lazy:
        assert known.items() <= state.items()
        assert {key for key in state if key[0] != MEMBER} <= known.keys()
    else:
        assert known == state
    assert set(await pages(user, room)) <= follower.timeline.keys()
    members = {event["state_key"]: event["content"]["membership"] for event in events if event["type"] == MEMBER}
    by = {name: {who for who, held in members.items() if held == name} for name in ("join", "invite")}
    assert follower.summary["m.joined_member_count"] == len(by["join"])
    assert follower.summary["m.invited_member_count"] == len(by["invite"])
    if not any(event["content"].get("name") for event in events if event["type"] == "m.room.name"):
        present = (by["join"] | by["invite"]) - {user.user_id}
        assert set(follower.summary["m.heroes"]) == (present or members.keys() - {user.user_id})


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_client_that_follows_knows_what_the_server_knows(hs: Homeserver, seed: int) -> None:
    """Also after leaving, being thrown out and coming back, between two answers or across them."""
    chance = random.Random(seed)
    alice, bob, carol = await people(hs, "alice", "bob", "carol")
    seen = {"history_visibility": chance.choice(VISIBILITIES)}
    visibility = {"type": "m.room.history_visibility", "content": seen}
    room = await alice.create_room(preset="public_chat", initial_state=[visibility])
    followers = [Follower(bob, room, limit=limit, after=after) for limit in (1, 3, 20) for after in (False, True)]
    followers += [Follower(bob, room, limit=3, after=after, lazy=True) for after in (False, True)]
    for number in range(STEPS):
        await step(chance, number, room, alice, bob, carol)
        is_in = room in (await bob.get("/joined_rooms"))["joined_rooms"]
        for follower in followers:
            if chance.random() < 0.4:
                await follower.sync()
                assert (follower.section == "join") is is_in
                if is_in:
                    await check(follower)
