"""Requests of other servers: who signs is believed, nobody else."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict

from conduit.api.app import MAX_CLAIMED
from conduit.api.web import Auth, Json, Request, Routes
from conduit.config.schema import Rate, RateLimits
from conduit.protocol.signing import SigningKey
from conduit.service.context import Context
from tests.support.clock import settle
from tests.support.federation import Incoming, Network, Peer, Switchboard, network

routes = Routes()
HERE = "here.test"
PATH = "/_conduit/echo/a%2Fb?c=d%20e"


@routes.get("/_conduit/echo/{x}", auth=Auth.SERVER)
async def get_echo(ctx: Context, req: Request) -> Json:
    """Tell who asks."""
    return {"origin": req.origin, "x": req.params["x"], "c": req.query.text("c")}


@routes.put("/_conduit/echo/{x}", auth=Auth.SERVER)
async def put_echo(ctx: Context, req: Request) -> Json:
    """Tell who asks, and what."""
    return {"origin": req.origin, "body": req.json()}


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """A homeserver that tells servers who they are."""
    async with network(HERE, extra=[routes]) as net:
        yield net


async def test_signed_request_is_believed(net: Network) -> None:
    """With path, query and body; its keys are fetched once."""
    peer = net.peer("peer.test")
    assert await peer.get(HERE, PATH) == {"origin": "peer.test", "x": "a/b", "c": "d e"}
    body = {"z": ["ü", {"b": 1, "a": None}], "a": True}
    assert await peer.put(HERE, PATH, body) == {"origin": "peer.test", "body": body}
    assert net.board.deliveries.count("peer.test") == 1


async def test_body_need_not_be_canonical(net: Network) -> None:
    """What counts is the canonical form of what was sent."""
    peer = net.peer("peer.test")
    header = peer.authorization(HERE, "PUT", PATH, b'{"a":1,"b":2}')
    answer = await _raw(peer, "PUT", header, b' {"b": 2,\n "a": 1}')
    assert answer == {"origin": "peer.test", "body": {"a": 1, "b": 2}}


async def test_older_servers_sign_no_destination(net: Network) -> None:
    """Neither in the header nor under the signature."""
    peer = net.peer("peer.test")
    assert (await _raw(peer, "GET", peer.authorization(None, "GET", PATH, None)))["origin"] == "peer.test"


async def test_one_good_signature_of_several_suffices(net: Network) -> None:
    """A server that changes its key may sign with both, each in a header of its own."""
    peer = net.peer("peer.test")
    good = peer.authorization(HERE, "GET", PATH, None)
    headers = CIMultiDict([("Authorization", good.replace(":peer", ":other")), ("Authorization", good)])
    answer = await peer.board.deliver(HERE, Incoming(peer.name, "GET", PATH, headers, b""))
    assert answer.status == 200


@pytest.mark.parametrize("what", ["method", "uri", "content", "destination", "origin", "key", "sig", "no body"])
async def test_signature_covers_everything(net: Network, what: str) -> None:
    """A request that differs in anything from what was signed is refused."""
    peer, other = net.peer("peer.test"), net.peer("other.test")
    header = {
        "method": lambda: peer.authorization(HERE, "POST", PATH, b'{"a":1}'),
        "uri": lambda: peer.authorization(HERE, "PUT", PATH + "&x=y", b'{"a":1}'),
        "content": lambda: peer.authorization(HERE, "PUT", PATH, b'{"a":2}'),
        "no body": lambda: peer.authorization(HERE, "PUT", PATH, None),
        "destination": lambda: peer.authorization("there.test", "PUT", PATH, b'{"a":1}').replace("there", "here"),
        "origin": lambda: other.authorization(HERE, "PUT", PATH, b'{"a":1}').replace("other.test", "peer.test"),
        "key": lambda: peer.authorization(HERE, "PUT", PATH, b'{"a":1}').replace("ed25519:peer", "ed25519:x"),
        "sig": lambda: peer.authorization(HERE, "PUT", PATH, b'{"a":1}').replace('sig="', 'sig="AA'),
    }[what]()
    assert (await _raw(peer, "PUT", header, b'{"a":1}', expect="M_UNAUTHORIZED"))["errcode"] == "M_UNAUTHORIZED"


async def test_request_for_another_server_is_refused(net: Network) -> None:
    """A hostile server cannot pass on what it was sent."""
    peer = net.peer("peer.test")
    header = peer.authorization("there.test", "GET", PATH, None)
    await _raw(peer, "GET", header, expect="M_UNAUTHORIZED")


async def test_request_in_the_name_of_this_server_is_refused(net: Network) -> None:
    """Even with its own key nobody is this server but itself."""
    peer = net.peer("peer.test")
    peer.key, peer.name = net[HERE].ctx.signing_key, HERE
    await _raw(peer, "GET", peer.authorization(HERE, "GET", PATH, None), expect="M_UNAUTHORIZED")


async def test_advisory_24_expired_key_signs_nothing(net: Network) -> None:
    """A key that is old, or whose validity is over and was not renewed, is not believed."""
    peer = net.peer("peer.test")
    now = net.clock.now_ms()
    peer.valid_until_ts = now + 3_600_000
    await peer.get(HERE, PATH)
    net.clock.jump(3601)
    await peer.get(HERE, PATH, "M_UNAUTHORIZED")
    net.clock.jump(60)
    peer.valid_until_ts = net.clock.now_ms() + 3_600_000
    await peer.get(HERE, PATH)
    net.clock.jump(60)
    old, peer.key = peer.key, SigningKey(hashlib.sha256(b"new").digest(), "new")
    peer.old_keys = {old.key_id: {"key": old.public_key, "expired_ts": net.clock.now_ms()}}
    await peer.get(HERE, PATH)
    peer.key = old
    await peer.get(HERE, PATH, "M_UNAUTHORIZED")


async def test_advisory_24_leaked_key_signs_nothing() -> None:
    """What `ignored_keys` lists is nobody's key."""
    async with network(HERE, extra=[routes], ignored_keys=(Peer("peer.test", Switchboard()).key.public_key,)) as net:
        await net.peer("peer.test").get(HERE, PATH, "M_UNAUTHORIZED")


async def test_unsigned_request_is_refused_before_its_body_is_read(net: Network) -> None:
    """The body is no JSON, and nobody has looked at it."""
    peer = net.peer("peer.test")
    await _raw(peer, "PUT", "Bearer abc", b"{", expect="M_UNAUTHORIZED")


@pytest.mark.parametrize(
    ("body", "errcode"), [(b"{", "M_NOT_JSON"), (b"[]", "M_BAD_JSON"), (b'{"a":1e400}', "M_NOT_JSON")]
)
async def test_signed_nonsense_is_called_so(net: Network, body: bytes, errcode: str) -> None:
    """Also when the signature fits."""
    peer = net.peer("peer.test")
    await _raw(peer, "PUT", peer.authorization(HERE, "PUT", PATH, body), body, expect=errcode)


async def test_large_body_is_verified_too(net: Network) -> None:
    """In a thread; with one letter changed it is refused."""
    peer = net.peer("peer.test")
    body = {"a": "x" * 1_000_000}
    assert (await peer.put(HERE, PATH, body))["body"] == body
    content = b'{"a":"' + b"x" * 1_000_000 + b'"}'
    header = peer.authorization(HERE, "PUT", PATH, content)
    await _raw(peer, "PUT", header, content.replace(b"x", b"y", 1), expect="M_UNAUTHORIZED")


async def test_server_without_keys_is_not_asked_again_at_once(net: Network) -> None:
    """A flood of requests in the name of a server that does not exist costs one look for its keys."""
    peer = net.peer("peer.test")
    peer.on("GET", "/_matrix/key/v2/server", (500, {}))
    for _ in range(20):
        await peer.get(HERE, PATH, "M_UNAUTHORIZED")
    assert net.board.deliveries.count("peer.test") == 1


async def test_denied_servers_are_refused() -> None:
    """Before anything is asked about them."""
    async with network(HERE, extra=[routes], federation_denied_servers=("*.evil.test",)) as net:
        await net.peer("a.evil.test").get(HERE, PATH, "M_FORBIDDEN")
        await net.peer("b.test").get(HERE, PATH)
        assert net.board.deliveries.count("a.evil.test") == 0


async def test_nobody_is_served_while_federation_is_off() -> None:
    """The endpoints are there and refuse."""
    async with network(HERE, extra=[routes], allow_federation=False) as net:
        await net.peer("a.test").get(HERE, PATH, "M_FORBIDDEN")
        await net.peer("a.test").get(HERE, "/_matrix/key/v2/server", "M_FORBIDDEN")


async def test_each_server_has_a_rate_of_its_own() -> None:
    """One that asks too much is slowed down, others are not."""
    limits = RateLimits(federation=Rate(per_second=1, burst=3))
    async with network(HERE, extra=[routes], rate_limits=limits) as net:
        for _ in range(3):
            await net.peer("busy.test").get(HERE, PATH)
        await net.peer("busy.test").get(HERE, PATH, "M_LIMIT_EXCEEDED")
        await net.peer("calm.test").get(HERE, PATH)


async def test_signed_request_is_a_sign_of_life(net: Network) -> None:
    """A server that was given up is asked again at once."""
    backoff = net[HERE].ctx.outbound.backoff
    backoff.failed("peer.test", "no connection")
    await net.peer("peer.test").get(HERE, PATH)
    assert backoff.may_try("peer.test")


async def test_advisory_25_slow_bodies_take_few_places(net: Network) -> None:
    """Whoever says to be a server and then sends no body holds up itself, at its address, and nobody for ever."""
    hs, peer = net[HERE], net.peer("peer.test")
    await peer.get(HERE, PATH)
    host, _, port = hs.url.removeprefix("http://").partition(":")
    head = (
        f"PUT {PATH} HTTP/1.1\r\nHost: {HERE}\r\nContent-Length: 10\r\n"
        f"Authorization: {peer.authorization(HERE, 'PUT', PATH, b'{}')}\r\n\r\n{{"
    ).encode()
    reading = hs.app._reading
    connections = []
    for number in range(MAX_CLAIMED):
        connection = await asyncio.open_connection(host, int(port))
        connection[1].write(head)
        connections.append(connection)
        async with asyncio.timeout(10):
            while reading["127.0.0.1"] <= number:
                await settle()
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head)
    assert b" 429 " in await reader.readline()
    for _, other in [*connections, (reader, writer)]:
        other.close()
    async with asyncio.timeout(10):
        while reading:
            await settle()


async def _raw(peer: Peer, method: str, header: str, body: bytes | None = None, expect: Any = 200) -> Any:
    """Send a request with just this header and body."""
    incoming = Incoming(peer.name, method, PATH, {"Authorization": header}, body or b"")
    answer = await peer.board.deliver(HERE, incoming)
    decoded = orjson.loads(answer.body)
    assert decoded.get("errcode", answer.status) == expect if isinstance(expect, str) else answer.status == expect
    return decoded
