"""Every endpoint against bad input: the right error, never a 500, nothing written.

The requests are made from the specification: each path parameter, query parameter and body field of each endpoint in turn takes
values that it cannot have, beside bodies that are no JSON objects at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from conduit.api import routes
from conduit.api.web import Auth, Route
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES
from tests.support.client import Client, User, segment
from tests.support.contract import Broken, contract, current
from tests.support.homeserver import Homeserver, serve
from tests.support.openapi import Operation

ALL = [
    route
    for table in routes.tables()
    for route in table
    if current(route.path) == route.path and route.auth is not Auth.SERVER
]
"""The endpoints for clients; those for other servers have `tests/api/federation/test_bad_input.py`."""


def _operation(route: Route) -> Operation | None:
    judge = contract()
    return None if judge is None else judge.find(route.method, route.path)


def _choose(wanted: Callable[[Route, Operation], bool]) -> pytest.MarkDecorator:
    """Return the mark that runs a test for each endpoint that is `wanted`."""
    chosen = []
    for route in ALL:
        operation = _operation(route)
        if operation is not None and wanted(route, operation):
            chosen.append(pytest.param(route, id=f"{route.method} {route.path}"))
    return pytest.mark.parametrize("route", chosen)


pytestmark = pytest.mark.skipif(contract() is None, reason="MATRIX_SPEC names no specification")

BAD_SEGMENTS = (
    "%00",
    "a%00b",
    "%ff",
    "%ed%a0%80",
    "%F0%9F%98%80",
    "%2F..%2F",
    "..",
    "-1",
    "%D9%A3",
    "%20",
    "x" * 256,
    "x" * 4000,
    "%21unknown:localhost",
    "%40unknown:localhost",
    "%40" + "a" * 300 + ":localhost",
    "%23unknown:localhost",
    "%24unknown",
)
BAD_QUERIES = ("", "x", "-1", "1_0", "%D9%A3", "9" * 40, "%00", "%ff", "true", "{", "[1]", '%7B"a":' * 60, "x" * 3000)
BAD_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**53 - 1,
    1.5,
    "",
    "\0",
    "x" * 70_000,
    "\U0001f600" * 100,
    [],
    {},
    [None],
    [[[1]]],
    {"a": {"b": [None, 1.5]}},
    {"": {"\0": ""}},
)
BAD_BODIES = (
    (b"", ()),
    (b"{", ("M_NOT_JSON",)),
    (b'{"a": "\\ud800"}', ("M_NOT_JSON",)),
    (b'{"a": "\xff"}', ("M_NOT_JSON",)),
    (b"{'a': 1}", ("M_NOT_JSON",)),
    (b'{"a": NaN}', ("M_NOT_JSON",)),
    (b"[]", ("M_BAD_JSON",)),
    (b"null", ("M_BAD_JSON",)),
    (b'"text"', ("M_BAD_JSON",)),
    (b"17", ("M_BAD_JSON",)),
    (b'{"a":' * 240 + b"1" + b"}" * 240, ("M_BAD_JSON",)),
    (b'{"a": 9007199254740992}', ("M_BAD_JSON",)),
    (b'{"a": 123456789012345678901234567890}', ()),
    (b'{"a": 1e400}', ()),
)
REFUSALS = ("M_FORBIDDEN", "M_THREEPID_DENIED", "M_THREEPID_MEDIUM_NOT_SUPPORTED")
"""Errors of those who refuse whatever is asked."""
HARMLESS = {"global", "userdeviceid_metadata"}
"""Trees that a refused request may touch: the reservation of counts, and when the device was last seen."""
MOST_FIELDS = 40
"""How many places of a sample body are spoilt in turn."""


class Witness(MemoryEngine):
    """A memory engine that remembers which trees were written to."""

    def __init__(self) -> None:
        super().__init__(TREE_NAMES)
        self.touched: set[str] = set()

    def apply(self, writes: Mapping[str, Mapping[bytes, bytes | None]]) -> None:
        """Write, and remember where."""
        self.touched.update(tree for tree, entries in writes.items() if entries)
        super().apply(writes)


@dataclass
class Probe:
    """A server with something in it, and what went wrong so far."""

    hs: Homeserver
    engine: Witness
    alice: User
    names: dict[str, str]
    faults: list[str] = field(default_factory=list)

    async def send(self, client: Client, method: str, path: str, data: bytes | None, *errcodes: str) -> None:
        """Send a request and note whatever is wrong with the answer; with `errcodes` it must be one of these errors."""
        label = f"{method} {path[:200]} {(data or b'')[:200]!r}"
        self.engine.touched.clear()
        try:
            response = await client.raw(method, path, data=data)
        except (AssertionError, Broken, orjson.JSONDecodeError) as error:
            self.faults.append(f"{label}: {str(error)[:500]} ({error.__cause__!r})")
            self.hs.bugs.clear()
            return
        if response.status >= 500 and not (response.status == 502 and b"M_CONNECTION_FAILED" in response.body):
            self.faults.append(f"{label}: {response.status}")
        if response.status >= 400:
            written = self.engine.touched - HARMLESS
            if written and not (response.status == 401 and b"flows" in response.body):
                self.faults.append(f"{label}: refused with {response.body[:100]!r}, yet wrote to {sorted(written)}")
        if errcodes and (response.status < 400 or response.json().get("errcode") not in errcodes):
            self.faults.append(f"{label}: {response.body[:200]!r} in place of {errcodes[0]}")
        if response.status == 401 and b"M_UNKNOWN_TOKEN" in response.body:
            # The request before has ended the session, as it may.
            self.alice = await self.hs.register(f"alice{self.hs.ctx.db.next_count()}")

    def path(self, route: Route, bad: str = "", value: str = "") -> str:
        """Return the route's path with good names, but for `bad`."""
        parts = []
        for part in route.path.split("/"):
            name = part.strip("{}").partition(":")[0]
            if not part.startswith("{"):
                parts.append(part)
            elif name == bad:
                parts.append(value)
            else:
                parts.append(segment(self.names.get(name, "x")))
        return "/".join(parts)


@pytest.fixture
async def probe() -> Any:
    """A server with a user, a room and a message in it."""
    engine = Witness()
    async with serve(db=Database(engine), allow_guest_registration=True, max_request_size=200_000) as hs:
        alice = await hs.register("alice")
        room = await alice.create_room(preset="public_chat")
        names = {
            "roomId": room,
            "roomIdOrAlias": room,
            "userId": alice.user_id,
            "eventId": await alice.send(room, "hello"),
            "eventType": "m.room.topic",
            "stateKey": "",
            "roomAlias": "#x:localhost",
            "deviceId": alice.device_id,
            "serverName": "localhost",
            "receiptType": "m.read",
            "kind": "override",
            "relType": "m.annotation",
            "filterId": "0",
            "version": "1",
            "medium": "email",
            "keyName": "displayname",
        }
        yield Probe(hs, engine, alice, names)


def _data(route: Route) -> bytes | None:
    if route.method == "GET":
        return None
    operation = _operation(route)
    return orjson.dumps((_sample(operation) if operation is not None else None) or {})


def _sample(operation: Operation) -> Any:
    """Return a good body; the identity server that it names is one that nobody reaches."""
    body = operation.body
    for place in places_in(body):
        if place[-1] == "id_server":
            body = spoilt(body, place, "127.0.0.1:1")
    return body


@_choose(lambda route, operation: route.auth not in (Auth.NONE, Auth.OPTIONAL))
async def test_strangers_are_refused(route: Route, probe: Probe) -> None:
    """Without a token, or with one of nobody's, an endpoint for users does nothing."""
    path, data = probe.path(route), _data(route)
    await probe.send(probe.hs.client(), route.method, path, data, "M_MISSING_TOKEN")
    await probe.send(probe.hs.client("nobody's"), route.method, path, data, "M_UNKNOWN_TOKEN")
    assert probe.faults == []


@_choose(lambda route, operation: "{" in route.path)
async def test_bad_names_in_the_path_are_refused(route: Route, probe: Probe) -> None:
    """Whatever stands for a room, user or event: an error or an honest answer, never a crash."""
    for part in route.path.split("/"):
        if part.startswith("{"):
            for value in BAD_SEGMENTS:
                path = probe.path(route, part.strip("{}").partition(":")[0], value)
                await probe.send(probe.alice, route.method, path, _data(route))
    assert probe.faults == []


@_choose(lambda route, operation: bool(operation.query))
async def test_bad_queries_are_refused(route: Route, probe: Probe) -> None:
    """Numbers, flags, tokens and filters that are none."""
    operation = _operation(route)
    assert operation is not None
    for name in operation.query:
        if route.long_poll and name == "timeout":
            continue
        still = "&timeout=0" if route.long_poll else ""
        for value in BAD_QUERIES:
            path = f"{probe.path(route)}?{name}={value}{still}".replace('"', "%22")
            await probe.send(probe.alice, route.method, path, _data(route))
    assert probe.faults == []


@_choose(lambda route, operation: operation.body is not None and not route.stream_body)
async def test_bodies_that_are_no_objects_are_refused(route: Route, probe: Probe) -> None:
    """It must be a JSON object that Matrix can hold; no body at all may do. What is refused anyhow need not be read."""
    for body, errcodes in BAD_BODIES:
        await probe.send(probe.alice, route.method, probe.path(route), body, *(errcodes and (*errcodes, *REFUSALS)))
    assert probe.faults == []


@_choose(lambda route, operation: bool(operation.body))
async def test_bad_values_in_the_body_are_refused(route: Route, probe: Probe) -> None:
    """Each field takes each wrong value in turn."""
    operation = _operation(route)
    assert operation is not None
    body = _sample(operation)
    for place in list(places_in(body))[:MOST_FIELDS]:
        for value in BAD_VALUES:
            data = orjson.dumps(spoilt(body, place, value))
            await probe.send(probe.alice, route.method, probe.path(route), data)
    assert probe.faults == []


Place = tuple[str | int, ...]


def places_in(value: Any, before: Place = ()) -> Iterator[Place]:
    """Return all places within `value`, the upper ones first."""
    level: list[tuple[Place, Any]] = [(before, value)]
    while level:
        below: list[tuple[Place, Any]] = []
        for place, item in level:
            entries = item.items() if isinstance(item, dict) else enumerate(item[:1]) if isinstance(item, list) else ()
            below += [((*place, key), child) for key, child in entries]
        yield from (place for place, _ in below)
        level = below


def spoilt(value: Any, place: Place, new: Any) -> Any:
    """Return a copy of `value` with `new` at `place`."""
    if not place:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = spoilt(value[place[0]], place[1:], new)
    return copy
