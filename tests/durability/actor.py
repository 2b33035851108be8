"""A client that does all that clients do, one request after another, and remembers what was acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any
from urllib.parse import quote

from benches.http import Connection

from tests.durability.ledger import Cell, Event, Ledger, Sent

C = "/_matrix/client/v3"
PASSWORD = "correct horse battery staple"


def segment(text: str) -> str:
    """Return `text` as one segment of a path."""
    return quote(text, safe="")


class Actor:
    """One user on one device."""

    def __init__(self, ledger: Ledger, random: Random, name: str, user_id: str, device_id: str, token: str) -> None:
        self.ledger = ledger
        self.random = random
        self.name = name
        self.user_id = user_id
        self.device_id = device_id
        self.token = token
        self.url = ""
        self.connection = Connection("http://127.0.0.1:1")
        self.rooms: list[str] = []
        """Where it talks."""
        self.lobby = ""
        self.peers: list[Actor] = []
        self.collector = ""
        """Whom messages between devices go to."""
        self.cells: dict[tuple[str, ...], Cell] = {("lobby",): Cell("leave")}
        self.in_doubt: list[Sent] = []
        """Requests with a transaction id that were not answered."""
        self.answered: deque[Sent] = deque(maxlen=4)
        """The last ones that were."""
        self.asked_rooms: set[str] = set()
        self.keys_uploaded = 0
        self.keys_asked = 0
        self.keys_claimed = 0
        self.claims_asked = 0
        self._own_events: list[tuple[str, str]] = []
        self._number = 0

    def connect(self, url: str) -> None:
        """Talk to the server at `url` from now on."""
        self.url = url
        self.connection = Connection(url, self.token)

    async def act(self) -> None:
        """Do one thing, chosen by chance. Raises `OSError` or `EOFError` when the server dies."""
        deed = self.random.choices(_DEEDS, _WEIGHTS)[0]
        await deed(self)
        self.ledger.counts[deed.__name__] += 1

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Return the decoded answer; anything but 200 fails the test."""
        return (await self.connection.request(method, path, body, **options)).json()

    async def repeat(self, sent: Sent) -> None:
        """Ask again for what may have been done already."""
        answer = await self.call("PUT", sent.path, sent.body)
        self._note(sent, answer)

    async def send(self) -> None:
        """Send a message."""
        room = self.random.choice(self.rooms)
        body = self._mark() + "x" * self.random.choice((0, 0, 0, 100, 8000))
        path = f"{C}/rooms/{segment(room)}/send/m.room.message/{self._mark()}"
        await self._send(Sent(path, {"msgtype": "m.text", "body": body}, room, "m.room.message"))

    async def set_state(self) -> None:
        """Set a piece of state that nobody else touches."""
        room = self.random.choice(self.rooms)
        content = {"note": self._mark()}
        path = f"{C}/rooms/{segment(room)}/state/org.example.note/{self.name}"
        event_id = await self._set(("state", room), content, "PUT", path, content)
        self._know(event_id["event_id"], Event(room, "org.example.note", self.user_id, content))

    async def redact(self) -> None:
        """Redact an own message."""
        if not self._own_events:
            return
        room, event_id = self._own_events.pop(self.random.randrange(len(self._own_events)))
        cell = self.ledger.redacted[event_id] = Cell(False)
        cell.ask(True)
        path = f"{C}/rooms/{segment(room)}/redact/{segment(event_id)}/{self._mark()}"
        answer = await self.call("PUT", path, {})
        cell.done()
        self._know(answer["event_id"], Event(room, "m.room.redaction", self.user_id, None))

    async def come_or_go(self) -> None:
        """Join the lobby, or leave it."""
        wanted = "leave" if self.cells["lobby",].value == "join" else "join"
        await self._set(("lobby",), wanted, "POST", f"{C}/rooms/{segment(self.lobby)}/{wanted}", {})

    async def make_room(self) -> None:
        """Create a room and invite somebody."""
        name = self._mark()
        self.asked_rooms.add(name)
        body = {"preset": "private_chat", "name": name, "invite": [self.random.choice(self.peers).user_id]}
        answer = await self.call("POST", f"{C}/createRoom", body)
        self.ledger.rooms[answer["room_id"]] = (self.name, name)

    async def set_account_data(self) -> None:
        """Set account data, global or of a room."""
        room = self.random.choice(["", *self.rooms])
        content = {"note": self._mark()}
        await self._set(("account_data", room), content, "PUT", self.account_data_path(room), content)

    def account_data_path(self, room: str) -> str:
        """Return where its account data is kept."""
        where = f"/rooms/{segment(room)}" if room else ""
        return f"{C}/user/{segment(self.user_id)}{where}/account_data/org.example.note"

    async def tag(self) -> None:
        """Tag a room."""
        room = self.random.choice(self.rooms)
        tag = {"order": self.random.randrange(1000) / 1000}
        path = f"{C}/user/{segment(self.user_id)}/rooms/{segment(room)}/tags/u.note"
        await self._set(("tag", room), {"u.note": tag}, "PUT", path, tag)

    async def read(self) -> None:
        """Tell the others how far it has read."""
        if not self._own_events:
            return
        room, event_id = self._own_events[-1]
        path = f"{C}/rooms/{segment(room)}/receipt/m.read/{segment(event_id)}"
        await self._set(("receipt", room), event_id, "POST", path, {})

    async def rename(self) -> None:
        """Take another display name."""
        name = self._mark()
        path = f"{C}/profile/{segment(self.user_id)}/displayname"
        await self._set(("displayname",), name, "PUT", path, {"displayname": name})

    async def upload(self) -> None:
        """Upload a file."""
        data = self.random.randbytes(self.random.choice((10, 3000, 60_000, 600_000)))
        answer = await self.call("POST", "/_matrix/media/v3/upload", data, content_type="application/octet-stream")
        self.ledger.files[answer["content_uri"]] = data
        self.ledger.fresh_files.add(answer["content_uri"])

    async def send_to_device(self) -> None:
        """Send a message to the collector's device."""
        content = {"note": self._mark()}
        path = f"{C}/sendToDevice/org.example.note/{self._mark()}"
        await self._send(Sent(path, {"messages": {self.collector: {"*": content}}}))

    async def upload_keys(self) -> None:
        """Upload one-time keys."""
        keys = {f"curve25519:{self._mark().replace('-', '')}": self._mark() for _ in range(4)}
        self.keys_asked += 4
        await self.call("POST", f"{C}/keys/upload", {"one_time_keys": keys})
        self.keys_uploaded += 4

    async def claim_key(self) -> None:
        """Claim a one-time key of somebody."""
        peer = self.random.choice(self.peers)
        peer.claims_asked += 1
        wanted = {peer.user_id: {peer.device_id: "curve25519"}}
        answer = await self.call("POST", f"{C}/keys/claim", {"one_time_keys": wanted})
        keys = answer["one_time_keys"].get(peer.user_id, {}).get(peer.device_id, {})
        self.ledger.claimed.update(f"{peer.name} {key_id}" for key_id in keys)
        peer.claims_asked -= 1
        peer.keys_claimed += len(keys)

    async def log_in_or_out(self) -> None:
        """Log in on another device, or log one out."""
        valid = [token for token, cell in self.ledger.tokens.items() if cell.value is self and not cell.asked]
        if len(valid) < 2:
            identifier = {"type": "m.id.user", "user": self.name}
            body = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
            answer = await self.call("POST", f"{C}/login", body)
            self.ledger.tokens[answer["access_token"]] = Cell(self)
            return
        cell = self.ledger.tokens[valid[0]]
        cell.ask(None)
        other = Connection(self.url, valid[0])
        try:
            await other.post(f"{C}/logout", {})
        finally:
            await other.close()
        cell.done()

    async def _set(self, what: tuple[str, ...], value: Any, method: str, path: str, body: Any) -> Any:
        cell = self.cells.setdefault(what, Cell())
        cell.ask(value)
        answer = await self.call(method, path, body)
        cell.done()
        return answer

    async def _send(self, sent: Sent) -> None:
        self.in_doubt.append(sent)
        answer = await self.call("PUT", sent.path, sent.body)
        self.in_doubt.remove(sent)
        self.answered.append(sent)
        self._note(sent, answer)

    def _note(self, sent: Sent, answer: Any) -> None:
        if not sent.room:
            (devices,) = sent.body["messages"].values()
            self.ledger.device_messages.add(devices["*"]["note"])
            return
        if sent.event_id and sent.event_id != answer["event_id"]:
            self.ledger.complain("a transaction was done twice:", sent.path)
        sent.event_id = answer["event_id"]
        if sent.event_id not in self.ledger.events:
            self._own_events.append((sent.room, sent.event_id))
        self._know(sent.event_id, Event(sent.room, sent.kind, self.user_id, sent.body))

    def _know(self, event_id: str, event: Event) -> None:
        self.ledger.add_event(event_id, event)

    def _mark(self) -> str:
        self._number += 1
        return f"{self.name}-{self._number}"


_CHANCES: dict[Callable[[Actor], Awaitable[None]], int] = {
    Actor.send: 40,
    Actor.set_state: 8,
    Actor.redact: 2,
    Actor.come_or_go: 6,
    Actor.make_room: 2,
    Actor.set_account_data: 8,
    Actor.tag: 3,
    Actor.read: 8,
    Actor.rename: 1,
    Actor.upload: 5,
    Actor.send_to_device: 8,
    Actor.upload_keys: 4,
    Actor.claim_key: 4,
    Actor.log_in_or_out: 1,
}
_DEEDS = list(_CHANCES)
_WEIGHTS = list(_CHANCES.values())
