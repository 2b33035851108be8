"""People on a server that is killed and started again: a world that lives on over any number of crashes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from random import Random
from typing import Any

import orjson
from benches.http import Connection

from tests.durability.actor import PASSWORD, Actor, C, segment
from tests.durability.ledger import Cell, Event, Ledger
from tests.support.process import ServerProcess

SETTINGS = """
log = "warn"
[global.rate_limits]
enabled = false
"""
"""Further lines of the configuration of a server that is to be loaded."""
_PAGE = 1000
_FILTER = orjson.dumps({"room": {"timeline": {"limit": 50}}, "presence": {"types": []}}).decode()
_SYNC_TOKEN = re.compile(r"s([0-9]+)_([0-9]+)")


class World:
    """Actors in a few rooms, somebody who only watches, and somebody whom messages between devices go to."""

    def __init__(self, seed: int) -> None:
        self.ledger = Ledger()
        self.random = Random(seed)
        self.actors: list[Actor] = []
        self.watcher: Actor
        self.collector: Actor
        self._others: list[Actor] = []
        self._since: dict[str, str] = {}
        self._start = 0

    async def people(self, url: str, actors: int = 8, rooms: int = 3) -> None:
        """Make the accounts and the rooms."""
        self._others = self.watcher, self.collector = [
            await self._register(url, name) for name in ("watcher", "collector")
        ]
        self.actors = [await self._register(url, f"actor{number}") for number in range(actors)]
        first = self.actors[0]
        body = {"preset": "public_chat", "power_level_content_override": {"state_default": 0}}
        made = [(await first.call("POST", f"{C}/createRoom", body))["room_id"] for _ in range(rooms + 1)]
        for actor in [*self.actors, self.watcher]:
            actor.peers = [other for other in self.actors if other is not actor]
            actor.lobby, actor.rooms = made[0], made[1:]
            actor.collector = self.collector.user_id
            for room in actor.rooms:
                await actor.call("POST", f"{C}/join/{segment(room)}", {})
        await first.call("POST", f"{C}/rooms/{segment(first.lobby)}/leave", {})
        await self.watcher.call("POST", f"{C}/join/{segment(first.lobby)}", {})

    async def _register(self, url: str, name: str) -> Actor:
        body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        connection = Connection(url)
        account = await connection.post(f"{C}/register", body)
        await connection.close()
        ids = account["user_id"], account["device_id"], account["access_token"]
        actor = Actor(self.ledger, Random(self.random.getrandbits(64)), name, *ids)
        actor.connect(url)
        given = await actor.call("GET", f"{C}/profile/{segment(actor.user_id)}/displayname")
        actor.cells["displayname",] = Cell(given["displayname"])
        return actor

    @property
    def everybody(self) -> list[Actor]:
        """All clients."""
        return [*self.actors, *self._others]

    async def connect(self, url: str) -> None:
        """Talk to the server at `url` from now on."""
        for actor in self.everybody:
            await actor.connection.close()
            actor.connect(url)

    async def close(self) -> None:
        """Close all connections."""
        for actor in self.everybody:
            await actor.connection.close()

    async def until_killed(self, server: ServerProcess, seconds: float) -> None:
        """Do everything at once, and kill the server after `seconds`."""
        asyncio.get_running_loop().call_later(seconds, os.kill, server.pid, signal.SIGKILL)
        async with asyncio.TaskGroup() as group:
            for actor in self.actors:
                group.create_task(self._live(actor))
            group.create_task(self._watch())
        server.kill()

    async def _live(self, actor: Actor) -> None:
        try:
            while True:
                await actor.act()
        except (OSError, EOFError):
            return

    async def _watch(self) -> None:
        try:
            while True:
                await self.sync(self.watcher, timeout_ms=5000)
        except (OSError, EOFError):
            return

    async def sync(self, actor: Actor, timeout_ms: int = 0) -> Any:
        """Return what is new for `actor`. What anybody was shown must be there from then on, acknowledged to its sender or not."""
        since = self._since.get(actor.name)
        path = f"{C}/sync?timeout={timeout_ms}&filter={segment(_FILTER)}" + (f"&since={since}" if since else "")
        answer = await actor.call("GET", path)
        self._since[actor.name] = answer["next_batch"]
        self._note_token(answer["next_batch"])
        for room, news in answer.get("rooms", {}).get("join", {}).items():
            for event in news.get("timeline", {}).get("events", ()):
                content = None if "redacted_because" in event.get("unsigned", {}) else event["content"]
                self.ledger.add_event(event["event_id"], Event(room, event["type"], event["sender"], content))
        for message in answer.get("to_device", {}).get("events", ()):
            self.ledger.delivered[message["content"]["note"]] += 1
        return answer

    def forget_sync(self, actor: Actor) -> None:
        """Let the next sync of `actor` be an initial one."""
        self._since.pop(actor.name, None)

    def _note_token(self, token: str) -> None:
        match = _SYNC_TOKEN.match(token)
        assert match is not None, token
        at, start = map(int, match.groups())
        ledger = self.ledger
        if start != self._start and start < ledger.newest_count:
            ledger.complain("a process began at", start, "although", ledger.newest_count, "had been told")
        if start < self._start:
            ledger.complain("an answer of an earlier process:", token)
        self._start = start
        ledger.newest_count = max(ledger.newest_count, at)

    async def history(self, reader: Actor, room: str, wanted: set[str] | None = None) -> dict[str, Any]:
        """Return the events of a room by id, newest first; only as many as hold all of `wanted`, if that is given."""
        found: dict[str, Any] = {}
        place = ""
        while wanted is None or not wanted <= found.keys():
            path = f"{C}/rooms/{segment(room)}/messages?dir=b&limit={_PAGE}{place}"
            page = await reader.call("GET", path)
            found |= {event["event_id"]: event for event in page["chunk"]}
            if "end" not in page:
                break
            place = f"&from={page['end']}"
        return found
