"""Somebody who uses matrix-nio: syncs all the time, remembers what came, and waits for what is to come.

async with Person.new(server.url, "alice") as alice: ...

Every answer is held against the specification, as those of the other tests are, and against nio's own idea of each event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

import nio
import orjson
from aiohttp import ClientResponse
from nio.responses import ErrorResponse

from tests.support.contract import contract

T = TypeVar("T")
PASSWORD = "correct horse battery staple"
PATIENCE_SECONDS = 30.0
"""How long something that is to come may take on a machine with much else to do."""
POLL_MS = 20_000


class Refused(AssertionError):
    """The server has answered a request with an error; `args[0]` is nio's form of it."""


def good(answer: Any) -> Any:
    """Return nio's form of an answer; raise `Refused` if it is that of an error."""
    if isinstance(answer, ErrorResponse):
        raise Refused(answer)
    return answer


class Person(nio.AsyncClient):
    """A client of nio that is logged in on one device. With a store it encrypts."""

    sync_filter: ClassVar[dict[str, Any] | None] = None
    """What it asks of /sync; nothing in particular."""

    def __init__(self, url: str, name: str, store: Path | None = None) -> None:
        config = nio.AsyncClientConfig(
            max_limit_exceeded=0,
            max_timeouts=0,
            encryption_enabled=store is not None,
            store_sync_tokens=False,
        )
        super().__init__(url, name, store_path="" if store is None else str(store), config=config)
        self.timeline: list[tuple[str, nio.Event]] = []
        """All events of all rooms in the order in which they came, each with its room."""
        self.invites: list[nio.InviteEvent] = []
        self.to_device_events: list[nio.ToDeviceEvent] = []
        self.left: dict[str, list[nio.Event]] = {}
        """The last events of each room that /sync has told to be left; nio itself makes nothing of them."""
        self.answers: list[nio.Response] = []
        """nio's form of all answers but those of /sync."""
        self._news = asyncio.Event()
        self._syncing: asyncio.Task[None] | None = None
        self.add_event_callback(self._remember, (nio.Event, nio.BadEvent, nio.UnknownBadEvent))
        self.add_event_callback(self._remember_invite, (nio.InviteEvent,))
        self.add_to_device_callback(self._remember_to_device, (nio.ToDeviceEvent,))
        self.add_response_callback(self._wake)

    @classmethod
    @asynccontextmanager
    async def new(cls, url: str, name: str, store: Path | None = None) -> AsyncIterator[Person]:
        """Make an account and sync until the block ends."""
        person = cls(url, name, store)
        async with person._online(await person.register(name, PASSWORD, "desk")):
            yield person

    @classmethod
    @asynccontextmanager
    async def login_again(cls, url: str, name: str, device: str, store: Path | None = None) -> AsyncIterator[Person]:
        """Log in to an existing account on a new device of that name and sync until the block ends."""
        person = cls(url, name, store)
        async with person._online(await person.login(PASSWORD, device)):
            yield person

    @asynccontextmanager
    async def _online(self, answer: Any) -> AsyncIterator[None]:
        try:
            good(answer)
            self.resume()
            await self.until(lambda: self.next_batch, "the first sync")
            yield
        finally:
            await self.rest()
            await self.close()

    def resume(self) -> None:
        """Sync on from where it has come to."""
        self._syncing = asyncio.create_task(self.sync_forever(timeout=POLL_MS, sync_filter=self.sync_filter))

    async def rest(self) -> None:
        """Sync no more."""
        if self._syncing is not None:
            self._syncing.cancel()
            await asyncio.gather(self._syncing, return_exceptions=True)

    async def send(self, method: str, path: str, *arguments: Any, **options: Any) -> ClientResponse:
        """Send a request as nio does, and judge the answer."""
        answer = await super().send(method, path, *arguments, **options)
        if answer.content_type == "application/json":
            body = orjson.loads(await answer.read())
            assert answer.status not in (429, 500), body
            if (judge := contract()) is not None:
                judge.check(method, urlsplit(path).path, answer.status, body)
        return answer

    async def receive_response(self, response: nio.Response) -> None:
        """Take in an answer as nio does, and remember it."""
        await super().receive_response(response)
        if not isinstance(response, nio.SyncResponse):
            self.answers.append(response)

    def answers_of(self, kind: type[T]) -> list[T]:
        """Return the answers of that kind so far."""
        return [answer for answer in self.answers if isinstance(answer, kind)]

    async def _remember(self, room: nio.MatrixRoom, event: nio.Event) -> None:
        assert not isinstance(event, nio.BadEvent | nio.UnknownBadEvent), f"nio cannot read {event.source}"
        self.timeline.append((room.room_id, event))

    async def _remember_invite(self, _room: nio.MatrixRoom, event: nio.InviteEvent) -> None:
        self.invites.append(event)

    async def _remember_to_device(self, event: nio.ToDeviceEvent) -> None:
        self.to_device_events.append(event)

    async def _wake(self, response: Any) -> None:
        if isinstance(response, nio.SyncResponse):
            self.left.update((room_id, room.timeline.events) for room_id, room in response.rooms.leave.items())
        self._news.set()

    async def until(self, found: Callable[[], T | None], what: str) -> T:
        """Return what `found` returns once that is true; it is asked after every sync."""
        assert self._syncing is not None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (value := found()):
                    self._news.clear()
                    news = asyncio.create_task(self._news.wait())
                    await asyncio.wait({news, self._syncing}, return_when=asyncio.FIRST_COMPLETED)
                    if self._syncing.done():
                        news.cancel()
                        await self._syncing
        except TimeoutError:
            raise AssertionError(f"{self.user_id} waits in vain for {what}; came: {self.timeline}") from None
        return value

    async def event(self, room_id: str, event_id: str) -> Any:
        """Return an event once it has come by /sync."""
        return await self.until(
            lambda: next(
                (event for room, event in self.timeline if (room, event.event_id) == (room_id, event_id)), None
            ),
            f"the event {event_id}",
        )

    async def member(self, room_id: str, user_id: str, is_there: bool = True) -> Any:
        """Return the room once the user is in it, or no longer in it, as this client sees it."""
        return await self.until(
            lambda: room if (room := self.rooms.get(room_id)) and (user_id in room.users) == is_there else None,
            f"{user_id} to be {'in' if is_there else 'out of'} {room_id}",
        )

    async def say(self, room_id: str, body: str, **more: Any) -> str:
        """Send a text message; return the event's id."""
        return await self.put(room_id, {"msgtype": "m.text", "body": body, **more})

    async def put(self, room_id: str, content: dict[str, Any], event_type: str = "m.room.message") -> str:
        """Send an event; return its id."""
        return str(good(await self.room_send(room_id, event_type, content)).event_id)


async def meet(host: Person, *guests: Person, **options: Any) -> str:
    """Let the host create a room and the guests, invited, join it; return the room's id once everybody sees all."""
    created = await host.room_create(invite=[guest.user_id for guest in guests], **options)
    room_id = str(good(created).room_id)
    for guest in guests:
        await guest.until(lambda guest=guest: room_id in guest.invited_rooms, "the invite")
        good(await guest.join(room_id))
    for person in (host, *guests):
        for other in (host, *guests):
            await person.member(room_id, other.user_id)
    return room_id
