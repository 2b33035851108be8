"""A whole homeserver for a test: real HTTP on a free port, a clock that the test moves, nothing mocked.

async def test_something(hs):                # the fixture of tests/conftest.py
    alice = await hs.register("alice")
    room = await alice.create_room(preset="public_chat")

async with serve(allow_registration=False) as hs: ...         # other settings
async with serve(engine="lmdb", directory=tmp_path) as hs: ...  # an engine on disk; `restart` reopens it
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from conduit.api.app import App
from conduit.api.web import Route
from conduit.config.schema import Config
from conduit.database.check import Finding, check
from conduit.database.database import Database
from conduit.database.errors import EngineFault
from conduit.server import Server
from conduit.service.context import Context
from conduit.service.outbound.wire import Wire
from tests.support.build import run
from tests.support.client import Client, User
from tests.support.clock import ManualClock

PASSWORD = "correct horse battery staple"


class Homeserver:
    """A running homeserver, made by `serve`."""

    def __init__(
        self,
        config: Config,
        clock: ManualClock,
        extra: Iterable[Iterable[Route]] = (),
        db: Database | None = None,
        first_is_admin: bool = False,
        wire: Wire | None = None,
    ) -> None:
        self.config = config
        self.clock = clock
        self.bugs: list[Exception] = []
        """Every exception that became a 500. A test that means one clears the list; else it fails when the server stops."""
        self.checked = True
        """Whether the trees must agree with each other in the end."""
        self._extra = tuple(extra)
        self._db = db
        self._first_is_admin = first_is_admin
        self._wire = wire
        self._running: Server | None = None
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def running(self) -> Server:
        """The server itself."""
        assert self._running is not None
        return self._running

    @property
    def ctx(self) -> Context:
        """The server's context, to look at what is not to be seen from outside."""
        return self.running.ctx

    @property
    def app(self) -> App:
        """The web application."""
        return self.running.app

    @property
    def session(self) -> aiohttp.ClientSession:
        """The HTTP session that all clients of this server share."""
        assert self._session is not None
        return self._session

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return self.running.addresses[0]

    @property
    def server_name(self) -> str:
        """The server's name in identifiers."""
        return self.config.server_name

    @property
    def last_bug(self) -> Exception | None:
        """The newest exception that became a 500."""
        return self.bugs[-1] if self.bugs else None

    async def open(self) -> None:
        """Start."""
        self._running = await run(
            self.config,
            self.clock,
            self._extra,
            db=self._db,
            first_is_admin=self._first_is_admin,
            wire=self._wire,
        )
        self.app.on_bug = self.bugs.append
        # One session for all, with as many connections as a test's long polls need.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )

    async def close(self) -> None:
        """Stop. Raises if a request has met a bug, or if what was written does not agree with itself."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        disagreements: list[Finding] = []
        if self._running is not None:
            with contextlib.suppress(EngineFault):  # the test has broken or closed the database itself
                disagreements = check(self.ctx.db) if self.checked else []
            await self._running.stop(5)
            self._running = None
        if self.bugs:
            raise AssertionError("a request was answered with 500") from self.bugs[0]
        assert disagreements == [], "the database does not agree with itself"

    async def restart(self) -> None:
        """Stop and start again on the same data, which must lie on disk."""
        assert self.config.database_backend != "memory"
        await self.close()
        await self.open()

    def client(self, token: str | None = None) -> Client:
        """Return a client without an account, or with a bare token."""
        return Client(self, token)

    async def register(self, localpart: str, password: str = PASSWORD, **options: Any) -> User:
        """Make an account through the API and return its user; `options` are further keys of the request."""
        request = {"username": localpart, "password": password, **options}
        client = self.client()
        response = await client.raw("POST", "/register", request)
        if response.status == 401:
            session = response.json()["session"]
            auth = {"type": "m.login.dummy", "session": session}
            response = await client.raw("POST", "/register", {**request, "auth": auth})
        assert response.status == 200, response.body
        return self._user(response.json(), password)

    async def login(self, localpart: str, password: str = PASSWORD, **options: Any) -> User:
        """Log in on a new device and return its user."""
        identifier = {"type": "m.id.user", "user": localpart}
        request = {"type": "m.login.password", "identifier": identifier, "password": password, **options}
        return self._user(await self.client().post("/login", request), password)

    def _user(self, body: dict[str, Any], password: str) -> User:
        return User(self, body["user_id"], body.get("device_id", ""), body["access_token"], password)

    def start(self, coroutine: Any) -> asyncio.Task[Any]:
        """Return a task beside the test, which is cancelled with the server if it is still running then."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


@asynccontextmanager
async def serve(
    *,
    engine: str = "memory",
    directory: Path | None = None,
    clock: ManualClock | None = None,
    extra: Iterable[Iterable[Route]] = (),
    db: Database | None = None,
    first_is_admin: bool = False,
    checked: bool = True,
    wire: Wire | None = None,
    **settings: Any,
) -> AsyncIterator[Homeserver]:
    """Run a homeserver. `settings` are those of `Config`; `extra` are route tables for tests of the web layer itself;
    `db` is a database on an engine of the test's own; `wire` is its way to other servers (`tests.support.federation`).
    `checked=False` is for tests that damage the database. With `first_is_admin` the first account becomes the administrator's, as outside of tests; its user is then in the admin room.
    """
    with TemporaryDirectory(prefix="conduit-test-") as temporary:
        settings.setdefault("database_path", directory or Path(temporary))
        config = Config.for_tests(database_backend=engine, **settings)
        server = Homeserver(config, clock or ManualClock(), extra, db, first_is_admin, wire)
        server.checked = checked
        try:
            await server.open()
            yield server
        finally:
            await server.close()
