"""Servers that exist only as names, a key and answers: what the server under test talks with in the workloads of federation.

They listen with TLS on addresses 127.0.1.1, 127.0.1.2, … of one port, all in the process of the load. All share one signing key.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
from tests.support.certificates import Authority

from benches.http import Answer, Connection
from benches.peers import free_port
from conduit.protocol.canonical_json import dump
from conduit.protocol.pdu import Event, seal
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.protocol.signing import SigningKey

VERSION = ROOM_VERSIONS["10"]
KEY = SigningKey(b"k" * 32, "bench")
FEDERATION = "/_matrix/federation"
_BEGAN_MS = 1_700_000_000_000


def pdu_list(events: Iterable[Event]) -> bytes:
    """Return events as a JSON list in the form that servers exchange."""
    return b"[" + b",".join([event.federation() for event in events]) + b"]"


class Room:
    """A room of many events that simulated servers hold: `state` now, `chain` for what stands in auth chains only."""

    def __init__(self, name: str, *, room: str = "large") -> None:
        self.name = name
        self.room_id = f"!{room}:{name}"
        self.creator = creator = f"@creator:{name}"
        self.chain: list[Event] = []
        self._last: Event | None = None
        create = self.add("m.room.create", "", {"creator": creator, "room_version": VERSION.id}, [])
        joined = self.add("m.room.member", creator, {"membership": "join"}, [create], sender=creator)
        levels = {"users": {creator: 100}, "events_default": 0, "state_default": 50, "users_default": 0}
        power = self.add("m.room.power_levels", "", levels, [create, joined])
        rules = self.add("m.room.join_rules", "", {"join_rule": "public"}, [create, power, joined])
        shared = {"history_visibility": "shared"}
        visibility = self.add("m.room.history_visibility", "", shared, [create, power, joined])
        title = self.add("m.room.name", "", {"name": "A large room"}, [create, power, joined])
        self.state = [create, joined, power, rules, visibility, title]
        self.joined = 1
        self.auth = [create, power, rules]

    @classmethod
    def large(cls, name: str, members: int, events: int) -> Room:
        """Return a room with so many joined members, and so many events in its state and auth chains."""
        room = cls(name)
        create, power, _ = room.auth
        number = 0
        while len(room.state) + len(room.chain) + 2 <= events:
            user = f"@user{number}:{name}"
            content = {"membership": "join", "displayname": f"User {number}"}
            first = room.add("m.room.member", user, content, room.auth, sender=user)
            room.chain.append(first)
            if number < members - 1:
                content = {**content, "avatar_url": f"mxc://{name}/avatar{number}"}
                room.state.append(room.add("m.room.member", user, content, [*room.auth, first], sender=user))
                room.joined += 1
            else:
                leave = {"membership": "leave"}
                room.state.append(room.add("m.room.member", user, leave, [create, power, first], sender=user))
            number += 1
        return room

    @classmethod
    def spread(cls, name: str, others: Sequence[str]) -> Room:
        """Return a room with a member on each of the other servers."""
        room = cls(name, room="spread")
        for other in others:
            user = f"@user:{other}"
            room.state.append(room.add("m.room.member", user, {"membership": "join"}, room.auth, sender=user))
            room.joined += 1
        return room

    def add(self, kind: str, state_key: str, content: dict[str, Any], auth: list[Event], *, sender: str = "") -> Event:
        """Return a state event that follows the newest."""
        last, sender = self._last, sender or self.creator
        pdu = {
            "type": kind,
            "state_key": state_key,
            "sender": sender,
            "room_id": self.room_id,
            "content": content,
            "prev_events": [] if last is None else [last.event_id],
            "auth_events": [event.event_id for event in auth],
            "depth": 1 if last is None else last.depth + 1,
            "origin_server_ts": _BEGAN_MS if last is None else last.origin_server_ts + 1,
        }
        self._last = seal(pdu, VERSION, sender.partition(":")[2], KEY)
        return self._last

    @property
    def last(self) -> Event:
        """The newest event."""
        assert self._last is not None
        return self._last


class RoomAnswers:
    """What the server that holds a room answers to one that joins it."""

    def __init__(self, room: Room, *, omits: bool) -> None:
        self.room = room
        few = [event for event in room.state if event.type != "m.room.member" or event.state_key == room.creator]
        head = b'{"origin":"' + room.name.encode() + b'",'
        whole, chain = pdu_list(room.state), pdu_list(room.chain)
        if omits:
            servers = b'"members_omitted":true,"servers_in_room":["' + room.name.encode() + b'"],'
            joined = head + servers + b'"auth_chain":[],"state":' + pdu_list(few) + b"}"
        else:
            joined = head + b'"auth_chain":' + chain + b',"state":' + whole + b"}"
        ids = {
            "pdu_ids": [event.event_id for event in room.state],
            "auth_chain_ids": [event.event_id for event in room.chain],
        }
        self._bodies = {
            "send_join": joined,
            "state": b'{"auth_chain":' + chain + b',"pdus":' + whole + b"}",
            "state_ids": orjson.dumps(ids),
        }

    def answer(self, act: str, rest: list[str]) -> bytes | None:
        """Return the body of an answer, or `None` if there is none."""
        if act != "make_join":
            return self._bodies.get(act)
        user = unquote(rest[1].partition("?")[0])
        event = {
            "type": "m.room.member",
            "room_id": self.room.room_id,
            "sender": user,
            "state_key": user,
            "content": {"membership": "join"},
            "prev_events": [self.room.last.event_id],
            "auth_events": [event.event_id for event in self.room.auth],
            "depth": self.room.last.depth + 1,
            "origin_server_ts": int(time.time() * 1000),
        }
        return orjson.dumps({"room_version": VERSION.id, "event": event})


def published_keys(name: str) -> bytes:
    """Return the answer of a simulated server to who asks for its keys."""
    keys = {
        "server_name": name,
        "verify_keys": {KEY.key_id: {"key": KEY.public_key}},
        "old_verify_keys": {},
        "valid_until_ts": int(time.time() * 1000) + 86_400_000,
    }
    return orjson.dumps(KEY.sign_json(keys, name))


class Simulated:
    """All simulated servers. Dead ones refuse connections (the first half) or take requests and never answer."""

    def __init__(self, authority: Authority, count: int) -> None:
        self.authority = authority
        self.port = free_port()
        self._hosts = [f"127.0.1.{number + 1}" for number in range(count)]
        self.names = [f"{host}:{self.port}" for host in self._hosts]
        self.rooms: dict[str, RoomAnswers] = {}
        """By room id."""
        self.received: Counter[str] = Counter()
        """How many PDUs each server has got."""
        self.asked: Counter[str] = Counter()
        """How often was asked for what."""
        self.got = asyncio.Event()
        """Set whenever one has got PDUs."""
        self._mute: set[str] = set()
        self._listening: dict[str, asyncio.Server] = {}
        self._open: dict[str, set[asyncio.StreamWriter]] = {}

    async def start(self) -> None:
        """Listen on all addresses."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.authority.issue("simulated", *self._hosts))
        for host, name in zip(self._hosts, self.names, strict=True):
            self._open[name] = set()

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str = name) -> None:
                self._open[name].add(writer)
                try:
                    await self._serve(name, reader, writer)
                except (OSError, EOFError):
                    pass
                finally:
                    self._open[name].discard(writer)
                    writer.close()

            self._listening[name] = await asyncio.start_server(serve, host, self.port, ssl=context)

    def kill(self, names: Sequence[str]) -> None:
        """Let servers be dead."""
        for number, name in enumerate(names):
            if number < len(names) // 2:
                self._listening.pop(name).close()
                for writer in self._open[name]:
                    writer.transport.abort()
            else:
                self._mute.add(name)

    async def stop(self) -> None:
        """Close everything."""
        for server in self._listening.values():
            server.close()
        for writers in self._open.values():
            for writer in writers:
                writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            path = head.split(b" ")[1].decode()
            length = 0
            while (line := await reader.readline()) not in (b"\r\n", b""):
                field, _, value = line.partition(b":")
                if field.lower() == b"content-length":
                    length = int(value)
            body = await reader.readexactly(length)
            if name in self._mute:
                continue
            status, answer = self._answer(name, path, body)
            first = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
            writer.write(first.encode() + answer)
            await writer.drain()

    def _answer(self, name: str, path: str, body: bytes) -> tuple[int, bytes]:
        if path.startswith("/_matrix/key/v2/server"):
            self.asked["key"] += 1
            return 200, published_keys(name)
        parts = path.split("/")
        if len(parts) < 6 or parts[2] != "federation":
            return 404, b'{"errcode":"M_UNRECOGNIZED","error":""}'
        act, *rest = parts[4:]
        self.asked[act] += 1
        if act == "send":
            pdus = orjson.loads(body).get("pdus", [])
            if pdus:
                self.received[name] += len(pdus)
                self.got.set()
            return 200, b'{"pdus":{}}'
        room = self.rooms.get(unquote(rest[0].partition("?")[0]))
        found = None if room is None else room.answer(act, rest)
        return (404, b'{"errcode":"M_NOT_FOUND","error":""}') if found is None else (200, found)


class PeerConnection(Connection):
    """A connection of a simulated server to the one under test; every request is signed."""

    def __init__(self, origin: str, destination: str, authority: Authority) -> None:
        super().__init__(f"https://{destination}")
        self.origin = origin
        self.destination = destination
        self._tls = ssl.create_default_context(cafile=authority.file)
        self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT

    async def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json"
    ) -> Answer:
        """Send one request, signed; `body` is something to be sent as JSON."""
        signed = {"method": method, "uri": path, "origin": self.origin, "destination": self.destination}
        data = b""
        if body is not None:
            signed["content"] = body
            data = orjson.dumps(body)
        claim = (
            f'origin="{self.origin}",destination="{self.destination}",key="{KEY.key_id}",sig="{KEY.sign(dump(signed))}"'
        )
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self.destination}\r\nAuthorization: X-Matrix {claim}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        started = time.perf_counter()
        if self._streams is None:
            parts = urlsplit(f"https://{self.destination}")
            self._streams = await asyncio.open_connection(parts.hostname, parts.port, ssl=self._tls, limit=1 << 24)
        reader, writer = self._streams
        writer.write(head.encode() + data)
        status, answer = await self._read(reader)
        return Answer(status, answer, time.perf_counter() - started)


class Member:
    """A user of a simulated server who has joined a room of the server under test, and makes events there, each after the other."""

    def __init__(self, user: str, connection: PeerConnection) -> None:
        self.user = user
        self._connection = connection
        self._auth: list[str] = []
        self._last: Event
        self._txn = 0

    async def join(self, room_id: str) -> None:
        """Join through make_join and send_join."""
        template = (await self._connection.get(f"{FEDERATION}/v1/make_join/{room_id}/{self.user}?ver={VERSION.id}"))[
            "event"
        ]
        template.setdefault("origin_server_ts", int(time.time() * 1000))
        template.pop("origin", None)
        self._last = seal(template, VERSION, self._connection.origin, KEY)
        path = f"{FEDERATION}/v2/send_join/{room_id}/{self._last.event_id}"
        answer = await self._connection.put(path, self._last.pdu)
        state = [Event.from_pdu(pdu, VERSION) for pdu in answer["state"]]
        kinds = {"m.room.create", "m.room.power_levels"}
        self._auth = [event.event_id for event in state if event.type in kinds] + [self._last.event_id]

    def message(self, text: str) -> Event:
        """Return the next message; it is not sent."""
        last = self._last
        pdu = {
            "type": "m.room.message",
            "sender": self.user,
            "room_id": last.room_id,
            "content": {"msgtype": "m.text", "body": text},
            "prev_events": [last.event_id],
            "auth_events": self._auth,
            "depth": last.depth + 1,
            "origin_server_ts": int(time.time() * 1000),
        }
        self._last = seal(pdu, VERSION, self._connection.origin, KEY)
        return self._last

    async def send(self, events: Sequence[Event]) -> Answer:
        """Send events in one transaction; raise unless all are taken."""
        self._txn += 1
        body = {
            "origin": self._connection.origin,
            "origin_server_ts": int(time.time() * 1000),
            "pdus": [event.pdu for event in events],
        }
        answer = await self._connection.request("PUT", f"{FEDERATION}/v1/send/{self.user[1:4]}{self._txn}", body)
        faults = [result["error"] for result in answer.json()["pdus"].values() if "error" in result]
        if faults:
            raise RuntimeError(f"not taken: {faults[0]}")
        return answer


def authority_in(folder: Path) -> Authority:
    """Return a certificate authority that both servers under test are told to trust."""
    folder.mkdir(exist_ok=True)
    return Authority.in_folder(folder)
