"""Every endpoint for other servers against bad input: the right error, never a 500, nothing written.

The asking server is in a room here, and signs whatever it sends: malformed paths, queries and bodies, and events that are well signed and wrong in
every other way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson
import pytest

from conduit.api import routes
from conduit.api.web import Auth, Route
from conduit.database.database import Database
from conduit.protocol.hashes import essential_bytes
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.service.outbound.errors import Unreachable
from conduit.utils import base64
from tests.api.test_bad_input import (
    BAD_BODIES,
    BAD_QUERIES,
    BAD_SEGMENTS,
    BAD_VALUES,
    MOST_FIELDS,
    REFUSALS,
    Witness,
    places_in,
    spoilt,
)
from tests.support.client import Response, User, segment
from tests.support.contract import Broken, contract
from tests.support.federation import Incoming, Network, Peer, network
from tests.support.foreign_room import ForeignRoom
from tests.support.openapi import Operation
from tests.support.visitor import Visitor

Json = dict[str, Any]
EVE, VERSION = "@eve:peer.test", ROOM_VERSIONS["10"]
ALL = [route for table in routes.tables() for route in table if route.auth is Auth.SERVER]

pytestmark = pytest.mark.skipif(contract() is None, reason="MATRIX_SPEC names no specification")

HARMLESS = {"global", "destination_state", "server_signingkeys"}
"""Trees that a refused request may touch: the reservation of counts, when a server was last alive, and its keys."""
KEPT = {"eventid_outlierpdu", "eventid_shorteventid", "shorteventid_eventid", "shorteventid_meta", "room_events"} | {
    "shorteventid_shortstatehash",
    "shorteventid_stateafter",
}
"""Trees in which an event is kept that the rules reject: others may build on it."""
HUGE = (10**30, -(2**63), 2**64)
ODD_EVENTS = (*BAD_VALUES, *HUGE, {"a": 2**53}, {"$": None}, ["$x"] * 100, "$" + "x" * 300, "@a:" + "b" * 300, "!x")


def _operation(route: Route) -> Operation | None:
    judge = contract()
    return None if judge is None else judge.find(route.method, route.path)


def _choose(wanted: Callable[[Route], bool]) -> pytest.MarkDecorator:
    """Return the mark that runs a test for each endpoint that is `wanted`."""
    chosen = [pytest.param(route, id=f"{route.method} {route.path}") for route in ALL if wanted(route)]
    return pytest.mark.parametrize("route", chosen)


@dataclass
class Probe:
    """A server with a room that a peer is in, and what went wrong so far."""

    net: Network
    engine: Witness
    alice: User
    room: str
    visitor: Visitor
    names: dict[str, str]
    faults: list[str] = field(default_factory=list)

    @property
    def peer(self) -> Peer:
        """The server that asks."""
        return self.visitor.peer

    async def send(
        self, method: str, target: str, content: bytes | None, *errcodes: str, kept: bool = False
    ) -> Response | None:
        """Send a signed request and note whatever is wrong with the answer; with `errcodes` it must be one of these errors.

        `kept` says that an event which is forbidden may be kept as rejected.
        """
        label = f"{method} {target[:200]} {(content or b'')[:300]!r}"
        self.engine.touched.clear()
        headers = {"Authorization": self.peer.authorization("one.test", method, target, _canonical(content))}
        incoming = Incoming(self.peer.name, method, target, headers, content or b"")
        try:
            answer = await self.peer.board.deliver("one.test", incoming)
        except (AssertionError, Broken, Unreachable, orjson.JSONDecodeError) as error:
            self.faults.append(f"{label}: {str(error)[:500]} ({error.__cause__!r})")
            self.net["one.test"].bugs.clear()
            return None
        response = Response(answer.status, answer.headers, answer.body)
        if response.status >= 500:
            self.faults.append(f"{label}: {response.status} {response.body[:200]!r}")
        written = self.engine.touched - HARMLESS
        if kept and b"M_FORBIDDEN" in response.body:
            written -= KEPT
        if response.status >= 400 and written:
            self.faults.append(f"{label}: refused with {response.body[:100]!r}, yet wrote to {sorted(written)}")
        if errcodes and (response.status < 400 or response.json().get("errcode") not in errcodes):
            self.faults.append(f"{label}: {response.body[:200]!r} in place of {errcodes[0]}")
        return response

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


def _canonical(content: bytes | None) -> bytes | None:
    if content is None:
        return None
    try:
        return orjson.dumps(orjson.loads(content), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, TypeError):
        return content


@pytest.fixture
async def probe() -> Any:
    """A server with a user, and a room that the peer has joined."""
    engine = Witness()
    async with network("one.test", db=Database(engine), max_request_size=200_000) as net:
        alice = await net["one.test"].register("alice")
        room = await alice.create_room(preset="public_chat", room_version="10")
        visitor = Visitor(net.peer("peer.test"), "one.test")
        visitor.peer.on("PUT", "/_matrix/federation/v1/send/.*", {"pdus": {}})
        joined = await visitor.join(room, EVE)
        names = {
            "roomId": room,
            "userId": EVE,
            "eventId": joined.event.event_id,
            "txnId": "1",
            "mediaId": "media",
            "queryType": "profile",
            "serverName": "one.test",
        }
        yield Probe(net, engine, alice, room, visitor, names)


def _data(route: Route) -> bytes | None:
    if route.method == "GET":
        return None
    operation = _operation(route)
    return orjson.dumps((operation.body if operation is not None else None) or {})


@_choose(lambda route: True)
async def test_strangers_are_refused(route: Route, probe: Probe) -> None:
    """Without a signature, with a wrong one, or with an access token an endpoint for servers does nothing."""
    path, data = probe.path(route), _data(route)
    wrong = {"Authorization": f'X-Matrix origin="peer.test",key="{probe.peer.key.key_id}",sig="{"a" * 86}"'}
    token = {"Authorization": f"Bearer {probe.alice.token}"}
    for headers in ({}, wrong, token):
        probe.engine.touched.clear()
        answer = await probe.peer.board.deliver(
            "one.test", Incoming("peer.test", route.method, path, headers, data or b"")
        )
        assert answer.status in (401, 403), answer.body
        assert probe.engine.touched <= HARMLESS


@_choose(lambda route: "{" in route.path)
async def test_bad_names_in_the_path_are_refused(route: Route, probe: Probe) -> None:
    """Whatever stands for a room, user or event: an error or an honest answer, never a crash."""
    for part in route.path.split("/"):
        if part.startswith("{"):
            for value in BAD_SEGMENTS:
                path = probe.path(route, part.strip("{}").partition(":")[0], value)
                await probe.send(route.method, path, _data(route))
    assert probe.faults == []


@_choose(lambda route: bool((found := _operation(route)) and found.query))
async def test_bad_queries_are_refused(route: Route, probe: Probe) -> None:
    """Numbers, flags, ids and versions that are none."""
    operation = _operation(route)
    assert operation is not None
    for name in operation.query:
        for value in BAD_QUERIES:
            path = f"{probe.path(route)}?{name}={value}".replace('"', "%22")
            await probe.send(route.method, path, _data(route))
    assert probe.faults == []


@_choose(lambda route: route.method != "GET")
async def test_bodies_that_are_no_objects_are_refused(route: Route, probe: Probe) -> None:
    """It must be a JSON object that Matrix can hold. What is refused anyhow need not be read."""
    for body, errcodes in BAD_BODIES:
        if route.holds_events and b"9007199254740992" in body:
            continue  # events of old room versions may hold such numbers
        await probe.send(route.method, probe.path(route), body, *(errcodes and (*errcodes, *REFUSALS)))
    assert probe.faults == []


@_choose(lambda route: bool((found := _operation(route)) and found.body))
async def test_bad_values_in_the_body_are_refused(route: Route, probe: Probe) -> None:
    """Each field takes each wrong value in turn."""
    operation = _operation(route)
    assert operation is not None
    for place in list(places_in(operation.body))[:MOST_FIELDS]:
        for value in BAD_VALUES:
            data = orjson.dumps(spoilt(operation.body, place, value))
            await probe.send(route.method, probe.path(route), data)
    assert probe.faults == []


# --- well signed, and wrong otherwise ------------------------------------------------------------------------------


def resealed(peer: Peer, pdu: Json) -> tuple[Json, str] | None:
    """Return an event of any shape, hashed and signed as its version wants, and the id that it then has; `None` if it cannot be signed."""
    body = {key: value for key, value in pdu.items() if key not in ("hashes", "signatures")}
    try:
        digest = sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()
        body["hashes"] = {"sha256": base64.encode(digest)}
        essence = essential_bytes(body, VERSION)
    except (TypeError, AttributeError, KeyError, orjson.JSONEncodeError):
        return None
    body["signatures"] = {peer.name: {peer.key.key_id: peer.key.sign(essence)}}
    return body, "$" + base64.encode_urlsafe(sha256(essence).digest())


def spoilt_events(peer: Peer, pdu: Json) -> Iterator[tuple[Json, str]]:
    """Yield an event with each of its keys wrong or missing in turn, all well signed."""
    for place in places_in({key: value for key, value in pdu.items() if key not in ("hashes", "signatures")}):
        for value in ODD_EVENTS:
            found = resealed(peer, spoilt(pdu, place, value))
            if found is not None:
                yield found
    for key in pdu:
        found = resealed(peer, {name: value for name, value in pdu.items() if name != key})
        if found is not None:
            yield found


def _is_written(value: Any) -> bytes | None:
    try:
        return orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        return None


@pytest.mark.parametrize(
    ("membership", "form"), [("join", "v1"), ("join", "v2"), ("leave", "v1"), ("leave", "v2"), ("knock", "v1")]
)
async def test_advisory_07_well_signed_events_of_any_shape_are_refused_or_harmless(
    membership: str, form: str, probe: Probe
) -> None:
    """What a server may sign about its own user with any key of any type: never a 500, and written only if it is accepted."""
    if membership == "knock":
        await probe.alice.set_state(probe.room, "m.room.join_rules", {"join_rule": "knock"})
    user_id = EVE if membership == "leave" else "@new:peer.test"
    event = await probe.visitor.signed(membership, probe.room, user_id)
    for pdu, event_id in spoilt_events(probe.peer, event.pdu):
        data = _is_written(pdu)
        target = f"/_matrix/federation/{form}/send_{membership}/{segment(probe.room)}/{segment(event_id)}"
        if data is not None:
            await probe.send("PUT", target, data, kept=True)
    assert probe.faults == []
    # The room still works, for everybody.
    await probe.alice.send(probe.room, "still here")
    await probe.alice.sync()


@pytest.mark.parametrize("form", ["v1", "v2"])
async def test_advisory_11_well_signed_invites_of_any_shape_are_refused_or_harmless(form: str, probe: Probe) -> None:
    """So that the invited user's /sync works afterwards."""
    room = ForeignRoom(probe.peer, EVE, version="1" if form == "v1" else "10")
    event = room.build("m.room.member", {"membership": "invite"}, key=probe.alice.user_id)
    for pdu, event_id in spoilt_events(probe.peer, event.pdu):
        target = f"/_matrix/federation/{form}/invite/{segment(room.id)}/{segment(event_id)}"
        body = pdu if form == "v1" else {"room_version": "10", "event": pdu, "invite_room_state": room.told()}
        data = _is_written(body)
        if data is not None:
            await probe.send("PUT", target, data)
    assert probe.faults == []
    await probe.alice.sync()


async def test_advisory_11_invite_state_of_any_shape_is_refused_or_pruned(probe: Probe) -> None:
    """Each part of what comes along with an invite takes each wrong value."""
    room = ForeignRoom(probe.peer, EVE)
    event = room.build("m.room.member", {"membership": "invite"}, key=probe.alice.user_id)
    target = f"/_matrix/federation/v2/invite/{segment(room.id)}/{segment(event.event_id)}"
    body = {"room_version": "10", "event": event.pdu, "invite_room_state": room.told()[:2]}
    for place in places_in({"invite_room_state": body["invite_room_state"], "room_version": "10"}):
        for value in ODD_EVENTS:
            data = _is_written(spoilt(body, place, value))
            if data is not None:
                await probe.send("PUT", target, data)
    assert probe.faults == []
    await probe.alice.sync()


async def test_advisory_07_foreign_and_circular_references_are_refused(probe: Probe) -> None:
    """A join that cites events of another room, itself, nothing, or what nobody knows changes nothing."""
    other = await probe.alice.create_room(preset="public_chat", room_version="10")
    elsewhere = (await probe.visitor.template("join", other, "@new:peer.test"))["event"]
    template = await probe.visitor.template("join", probe.room, "@new:peer.test")
    unknown = ["$" + "z" * 43]
    changes: list[Json] = [
        {"auth_events": elsewhere["auth_events"]},
        {"prev_events": elsewhere["prev_events"]},
        {"prev_events": []},
        {"auth_events": []},
        {"prev_events": unknown},
        {"auth_events": unknown},
        {"auth_events": template["event"]["auth_events"] * 3},
        {"depth": 2**53 - 1, "prev_events": unknown},
    ]
    for change in changes:
        event = probe.visitor.seal(template, **change)
        target = probe.visitor.target("join", event)
        response = await probe.send("PUT", target, event.federation(), kept=True)
        assert response is not None
        assert response.status in (400, 403), (change, response.body)
    assert probe.faults == []
    members = await probe.alice.get(f"/rooms/{segment(probe.room)}/joined_members")
    assert "@new:peer.test" not in members["joined"]
