"""Requests to other servers, and what becomes of their answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.service.outbound.errors import Refused, Unreachable
from conduit.service.outbound.federation import FederationClient, path, signed_bytes
from conduit.service.outbound.wire import WireAnswer
from tests.support.federation import Incoming, Network, network

HERE, THERE = "here.test", "there.test"
V1 = "/_matrix/federation/v1"


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """A homeserver that asks."""
    async with network(HERE) as net:
        yield net


@pytest.fixture
def federation(net: Network) -> FederationClient:
    """Its client."""
    return net[HERE].ctx.outbound.federation


def test_paths_are_encoded_segment_by_segment() -> None:
    """Whatever an identifier holds, it stays one segment."""
    assert path("/a", "!r:x", "$e/?#%", "ü") == "/a/%21r%3Ax/%24e%2F%3F%23%25/%C3%BC"


def test_signed_bytes_are_canonical() -> None:
    """Keys in order, nothing between, absent parts left out."""
    assert signed_bytes("PUT", "/x?y=\u00fc", "a.test", "b.test", b'{"a":1}') == (
        '{"content":{"a":1},"destination":"b.test","method":"PUT","origin":"a.test","uri":"/x?y=\u00fc"}'.encode()
    )
    assert signed_bytes("GET", "/x", "a.test", None, None) == b'{"method":"GET","origin":"a.test","uri":"/x"}'


async def test_requests_are_signed_as_servers_want(net: Network, federation: FederationClient) -> None:
    """Each method, with query and body; a homeserver at the other end has verified them in `test_server_auth`."""
    peer = net.peer(THERE)
    peer.on("GET", ".*", {"n": 1})
    peer.on("PUT", ".*", {"n": 2})
    peer.on("POST", ".*", {"n": 3})
    assert await federation.get(THERE, V1 + "/x", {"a": "1 2", "b": ["3", "4"]}) == {"n": 1}
    assert await federation.put(THERE, V1 + "/x", {"b": 1, "a": "ü"}) == {"n": 2}
    assert await federation.post(THERE, V1 + "/x", b'{"a":2}', {"c": "d"}) == {"n": 3}
    got, put, posted = peer.received
    assert got.query == [("a", "1 2"), ("b", "3"), ("b", "4")]
    assert put.body == '{"a":"ü","b":1}'.encode()
    assert (posted.body, posted.query) == (b'{"a":2}', [("c", "d")])
    key = net[HERE].ctx.signing_key
    for incoming in peer.received:
        content = incoming.body or None
        signature = key.sign(signed_bytes(incoming.method, incoming.target, HERE, THERE, content))
        assert incoming.headers["Authorization"] == (
            f'X-Matrix origin="{HERE}",destination="{THERE}",key="{key.key_id}",sig="{signature}"'
        )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (WireAnswer(200, {}, b"<html>"), "not understood"),
        (WireAnswer(200, {}, b""), "not understood"),
        (WireAnswer(200, {}, b"[]"), "no JSON object"),
        (WireAnswer(200, {}, b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"), "not understood"),
        (WireAnswer(200, {}, b'{"a":"' + b"x" * 1000 + b'"}'), "too large"),
        (WireAnswer(200, {}, b'{"a":[' + b",".join([b"[]"] * 1_000_000) + b"]}"), "too many values"),
        (WireAnswer(500, {}, b"{}"), "answered 500"),
        (WireAnswer(429, {}, b'{"errcode":"M_LIMIT_EXCEEDED"}'), "answered 429"),
        (WireAnswer(301, {}, b""), "answered 301"),
    ],
)
async def test_what_is_no_answer_is_unreachable(
    net: Network, federation: FederationClient, answer: WireAnswer, reason: str
) -> None:
    """No JSON object, too much of it, errors of the server, redirects."""
    net.peer(THERE).on("GET", ".*", answer)
    with pytest.raises(Unreachable, match=reason):
        await federation.get(THERE, V1 + "/x", max_bytes=900 if reason == "too large" else 10_000_000)


@pytest.mark.parametrize(
    ("status", "wanted", "seconds"),
    [
        (429, "120", 120),
        (429, " 7 ", 7),
        (429, "99999999999", 3600),
        (429, "Tue, 14 Nov 2023 22:14:20 GMT", 60),
        (429, "Tue, 14 Nov 1723 22:14:20 GMT", 1),
        (429, "soon", None),
        (429, "-1", None),
        (503, "120", None),
    ],
)
async def test_pause_that_a_busy_server_asks_for_is_kept(
    net: Network, federation: FederationClient, status: int, wanted: str, seconds: int | None
) -> None:
    """As seconds or a date, within an hour; what is not understood counts as a failure like others."""
    net.peer(THERE).on("GET", ".*", WireAnswer(status, {"retry-after": wanted}, b"{}"))
    with pytest.raises(Unreachable):
        await federation.get(THERE, V1 + "/x")
    failing = net[HERE].ctx.outbound.backoff.failing(THERE)
    assert failing is not None
    assert failing.asked == (seconds is not None)
    if seconds is not None:
        assert failing.retry_at == net.clock.now_ms() + seconds * 1000


@pytest.mark.parametrize(
    ("answer", "errcode"),
    [
        (WireAnswer(403, {}, b'{"errcode":"M_FORBIDDEN","error":"no"}'), "M_FORBIDDEN"),
        (WireAnswer(404, {}, b"not found"), "M_UNKNOWN"),
        (WireAnswer(400, {}, b'{"errcode":["M_X"],"error":{}}'), "M_UNKNOWN"),
        (WireAnswer(400, {}, b"[]"), "M_UNKNOWN"),
    ],
)
async def test_refusals_tell_what_the_server_said(
    net: Network, federation: FederationClient, answer: WireAnswer, errcode: str
) -> None:
    """Also if it said nonsense; the server is alive all the same."""
    net.peer(THERE).on("GET", ".*", answer)
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            await federation.get(THERE, V1 + "/x")
        assert (caught.value.status, caught.value.errcode, caught.value.server) == (answer.status, errcode, THERE)


@pytest.mark.parametrize("server", [HERE, "", "a b", "x/../y", "a.test:port", "denied.test"])
async def test_some_servers_are_never_asked(server: str) -> None:
    """Itself, what is no name, and whom the operator has denied."""
    async with network(HERE, federation_denied_servers=("denied.*",)) as net:
        with pytest.raises(Unreachable):
            await net[HERE].ctx.outbound.federation.get(server, V1 + "/version")
        assert net.board.requests == []


async def test_nobody_is_asked_while_federation_is_off() -> None:
    """Whatever asks for it."""
    async with network(HERE, THERE, allow_federation=False) as net:
        with pytest.raises(Unreachable, match="switched off"):
            await net[HERE].ctx.outbound.federation.get(THERE, V1 + "/version", now=True)


async def test_dead_server_is_left_alone_until_it_is_time(net: Network, federation: FederationClient) -> None:
    """After a failure requests fail at once, unless somebody insists; an answer ends that."""
    peer = net.peer(THERE)
    peer.on("GET", ".*", {})
    net.board.down(THERE)
    with pytest.raises(Unreachable, match="cannot be reached"):
        await federation.get(THERE, V1 + "/x")
    net.board.heal()
    with pytest.raises(Unreachable, match="a moment ago"):
        await federation.get(THERE, V1 + "/x")
    assert peer.received == []
    await federation.get(THERE, V1 + "/x", now=True)
    await federation.get(THERE, V1 + "/x")
    net.board.down(THERE)
    with pytest.raises(Unreachable):
        await federation.get(THERE, V1 + "/x")
    net.board.heal()
    net.clock.jump(7)
    await federation.get(THERE, V1 + "/x")


async def test_stream_gives_a_good_answer_piece_by_piece(net: Network, federation: FederationClient) -> None:
    """A refusal is raised as from any other request."""
    peer = net.peer(THERE)
    peer.on("GET", ".*", WireAnswer(200, {"content-type": "x/y"}, b"z" * 100_000))
    async with federation.stream(THERE, V1 + "/media", {"a": "b"}, max_bytes=100_000) as answer:
        assert answer.headers["content-type"] == "x/y"
        assert len(b"".join([piece async for piece in answer.pieces])) == 100_000
    with pytest.raises(Unreachable, match="too large"):
        async with federation.stream(THERE, V1 + "/media", max_bytes=99_999) as answer:
            async for _ in answer.pieces:
                pass
    peer.on("GET", ".*", (404, {"errcode": "M_NOT_FOUND", "error": "none"}))
    with pytest.raises(Refused):
        async with federation.stream(THERE, V1 + "/media", max_bytes=1000):
            pass
    net.board.down(THERE)
    with pytest.raises(Unreachable):
        async with federation.stream(THERE, V1 + "/media", max_bytes=1000):
            pass
    assert not net[HERE].ctx.outbound.backoff.may_try(THERE)


@pytest.mark.parametrize("names", [("slow.test",), tuple(f"h{number}.slow.test" for number in range(20))])
async def test_advisory_25_slow_server_does_not_take_all_places(names: tuple[str, ...]) -> None:
    """Requests to one that never answers leave room for those to others, under however many names it is asked."""
    async with network(HERE, max_concurrent_requests=8) as net:
        federation = net[HERE].ctx.outbound.federation
        go_on = asyncio.Event()

        async def slow(incoming: Incoming) -> Any:
            await go_on.wait()
            return {}

        peers = [net.peer(name) for name in names]
        for peer in peers:
            peer.on("GET", ".*", slow)
        net.peer("quick.test").on("GET", ".*", {"quick": True})
        asked = names * (20 // len(names))
        waiting = [asyncio.ensure_future(federation.get(name, V1 + "/x")) for name in asked]
        assert await federation.get("quick.test", V1 + "/x") == {"quick": True}
        assert sum(len(peer.received) for peer in peers) == 2
        go_on.set()
        assert await asyncio.gather(*waiting) == [{}] * 20
