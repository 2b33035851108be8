"""HTTP clients for tests. Every answer that one receives is held against the contract, and a 500 fails the test."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import orjson
from yarl import URL

from tests.support.contract import contract

if TYPE_CHECKING:
    from tests.support.homeserver import Homeserver

Json = dict[str, Any]
Expect = int | str
"""A status (200), or an error code ("M_FORBIDDEN") with whatever status it has."""

CLIENT_API = "/_matrix/client/v3"


@dataclass(frozen=True)
class Response:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the decoded body."""
        return orjson.loads(self.body)


def segment(text: str) -> str:
    """Return `text` percent-encoded as one path segment."""
    return quote(text, safe="")


class Client:
    """A client without an account. Paths that do not begin with `/_` or `/.` are below `/_matrix/client/v3`."""

    def __init__(self, server: Homeserver, token: str | None = None) -> None:
        self.server = server
        self.token = token

    async def raw(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        data: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Return the answer to a request. `json` is encoded; `data` (bytes or an async iterator of them) is sent as it is."""
        if not path.startswith(("/_", "/.")):
            path = CLIENT_API + path
        if params:
            path += ("&" if "?" in path else "?") + urlencode({k: _plain(v) for k, v in params.items()}, doseq=True)
        sent = dict(headers or {})
        if self.token is not None:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        if json is not None:
            data = orjson.dumps(json)
            sent.setdefault("Content-Type", "application/json")
        url = URL(self.server.url + path, encoded=True)
        async with self.server.session.request(method, url, data=data, headers=sent, allow_redirects=False) as got:
            response = Response(got.status, got.headers.copy(), await got.read())
        self._judge(method, path, response)
        return response

    def _judge(self, method: str, path: str, response: Response) -> None:
        if response.status == 500:
            raise AssertionError(f"{method} {path} -> 500 {response.body!r}") from self.server.last_bug
        judge = contract()
        if judge is None:
            return
        is_json = response.headers.get("Content-Type") == "application/json"
        if is_json or (response.status >= 400 and response.body):
            judge.check(method, path, response.status, response.json() if method != "HEAD" else None)

    async def request(self, method: str, path: str, json: Any = None, expect: Expect = 200, **options: Any) -> Any:
        """Return the decoded JSON of an answer that has the expected status or error code."""
        response = await self.raw(method, path, json, **options)
        body = response.json() if response.body else {}
        got: Expect = body.get("errcode", response.status) if isinstance(expect, str) else response.status
        if got != expect:
            raise AssertionError(f"{method} {path}: expected {expect}, got {response.status} {body}")
        return body

    async def get(self, path: str, expect: Expect = 200, **options: Any) -> Any:
        """GET; `params` is the query."""
        return await self.request("GET", path, None, expect, **options)

    async def put(self, path: str, json: Any = None, expect: Expect = 200, **options: Any) -> Any:
        """PUT `json`."""
        return await self.request("PUT", path, {} if json is None else json, expect, **options)

    async def post(self, path: str, json: Any = None, expect: Expect = 200, **options: Any) -> Any:
        """POST `json`."""
        return await self.request("POST", path, {} if json is None else json, expect, **options)

    async def delete(self, path: str, json: Any = None, expect: Expect = 200, **options: Any) -> Any:
        """DELETE."""
        return await self.request("DELETE", path, json, expect, **options)


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    return value


class User(Client):
    """A logged-in user on one device, with shorthands for what most tests need."""

    def __init__(self, server: Homeserver, user_id: str, device_id: str, token: str, password: str = "") -> None:
        super().__init__(server, token)
        self.user_id = user_id
        self.device_id = device_id
        self.password = password
        self._transactions = 0

    def __repr__(self) -> str:
        return f"<{self.user_id} on {self.device_id}>"

    def next_txn(self) -> str:
        """Return a transaction id that this device has not used yet."""
        self._transactions += 1
        return f"t{self._transactions}"

    async def create_room(self, expect: Expect = 200, **options: Any) -> str:
        """Create a room (`preset="public_chat"`, `name=`, `invite=[...]`, ...); return its id."""
        body = await self.post("/createRoom", options, expect)
        return str(body.get("room_id", ""))

    async def join(self, room: str, expect: Expect = 200) -> Any:
        """Join a room by id or alias."""
        return await self.post(f"/join/{segment(room)}", {}, expect)

    async def leave(self, room_id: str, expect: Expect = 200) -> Any:
        """Leave a room."""
        return await self.post(f"/rooms/{segment(room_id)}/leave", {}, expect)

    async def invite(self, room_id: str, user: User | str, expect: Expect = 200) -> Any:
        """Invite somebody."""
        user_id = user.user_id if isinstance(user, User) else user
        return await self.post(f"/rooms/{segment(room_id)}/invite", {"user_id": user_id}, expect)

    async def send(
        self,
        room_id: str,
        content: Json | str = "hello",
        event_type: str = "m.room.message",
        *,
        txn: str | None = None,
        expect: Expect = 200,
    ) -> str:
        """Send an event (a text message, if `content` is a string); return its id."""
        body = {"msgtype": "m.text", "body": content} if isinstance(content, str) else content
        path = f"/rooms/{segment(room_id)}/send/{segment(event_type)}/{segment(txn or self.next_txn())}"
        return str((await self.put(path, body, expect)).get("event_id", ""))

    async def set_state(
        self, room_id: str, event_type: str, content: Json, state_key: str = "", *, expect: Expect = 200
    ) -> str:
        """Set a piece of state; return the event's id."""
        path = f"/rooms/{segment(room_id)}/state/{segment(event_type)}/{segment(state_key)}"
        return str((await self.put(path, content, expect)).get("event_id", ""))

    async def state(self, room_id: str, event_type: str, state_key: str = "", *, expect: Expect = 200) -> Any:
        """Return the content of a piece of state."""
        return await self.get(f"/rooms/{segment(room_id)}/state/{segment(event_type)}/{segment(state_key)}", expect)

    async def redact(self, room_id: str, event_id: str, reason: str | None = None, *, expect: Expect = 200) -> str:
        """Redact an event; return the redaction's id."""
        path = f"/rooms/{segment(room_id)}/redact/{segment(event_id)}/{segment(self.next_txn())}"
        return str((await self.put(path, {} if reason is None else {"reason": reason}, expect)).get("event_id", ""))

    async def sync(self, since: str | None = None, *, timeout_ms: int = 0, **params: Any) -> Any:
        """Return a /sync answer; it does not wait unless told to. `filter` may be an object."""
        query: dict[str, Any] = {"timeout": timeout_ms, **params}
        if since is not None:
            query["since"] = since
        return await self.get("/sync", params=query)

    async def messages(self, room_id: str, **params: Any) -> Any:
        """Return a page of the room's history, backwards unless told otherwise."""
        return await self.get(f"/rooms/{segment(room_id)}/messages", params={"dir": "b", **params})

    def start(self, coroutine: Any) -> asyncio.Task[Any]:
        """Return a task for a request that is to run beside the test, such as a long poll."""
        return self.server.start(coroutine)
