"""Published keys, and the notary for those of others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.protocol import signing
from conduit.protocol.signing import SigningKey
from conduit.service.outbound.pauses import RENEWALS
from conduit.service.outbound.server_keys import read_document
from tests.support.federation import Network, network

HERE = "here.test"
QUERY = "/_matrix/key/v2/query"
HOUR = 3_600_000


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """A homeserver that vouches."""
    async with network(HERE) as net:
        yield net


async def ask(net: Network, server_keys: Any, expect: Any = 200) -> Any:
    """Return the objects that the notary gives."""
    answer = await net[HERE].client().post(QUERY, {"server_keys": server_keys}, expect)
    return answer.get("server_keys")


def is_signed_by(net: Network, document: Any) -> bool:
    """Tell whether the homeserver has signed."""
    key = net[HERE].ctx.signing_key
    return signing.verify(document, HERE, key.key_id, key.public_key)


@pytest.mark.parametrize("key", ["", "/", "/ed25519%3Ax"])
async def test_own_keys_are_published(net: Network, key: str) -> None:
    """Signed with the key that they hold; older servers name one in the path, or end it with a slash."""
    document = await net[HERE].client().get("/_matrix/key/v2/server" + key)
    now = net.clock.now_ms()
    keys = read_document(document, HERE, now_ms=now, ignored=())
    assert net[HERE].ctx.signing_key.key_id in keys.keys
    assert keys.valid_until >= now + HOUR


async def test_notary_signs_what_it_fetched(net: Network) -> None:
    """The server's own signature stays; the answer is kept."""
    peer = net.peer("a.test")
    for _ in range(3):
        (document,) = (await net[HERE].client().get(f"{QUERY}/a.test"))["server_keys"]
        assert is_signed_by(net, document)
        read_document(document, "a.test", now_ms=net.clock.now_ms(), ignored=())
        assert document["verify_keys"] == peer.key_document()["verify_keys"]
    assert net.board.deliveries.count("a.test") == 1


async def test_key_may_be_named_in_the_path(net: Network) -> None:
    """As the specification had it before, and older servers ask."""
    peer = net.peer("a.test")
    for key in (peer.key.key_id, ""):
        (document,) = (await net[HERE].client().get(f"{QUERY}/a.test/{key}"))["server_keys"]
        assert document["verify_keys"] == peer.key_document()["verify_keys"]


async def test_keys_that_have_run_out_are_asked_for_anew_but_not_without_end(net: Network) -> None:
    """Who wants them to hold longer lets the server be asked, some times at once; what it had stands if it has no better, or refuses."""
    peer = net.peer("a.test")
    peer.valid_until_ts = net.clock.now_ms() - 24 * HOUR
    wish = {peer.key.key_id: {"minimum_valid_until_ts": peer.valid_until_ts + 1000}}
    for number in range(20):
        if number == 2:
            peer.on("GET", "/_matrix/key/v2/server", (400, {}))
        (document,) = await ask(net, {"a.test": wish})
        assert document["valid_until_ts"] == peer.valid_until_ts
        assert number > 2 or net.board.deliveries.count("a.test") == number + 1
    assert net.board.deliveries.count("a.test") <= RENEWALS + 1


async def test_key_that_held_at_the_time_asked_for_is_given_without_asking(net: Network) -> None:
    """Who checks an old event wants to know of then, and then does not change: even if its server has forgotten the key."""
    peer = net.peer("a.test")
    old, held_until = peer.key, net.clock.now_ms() - 24 * HOUR
    peer.valid_until_ts = held_until
    await ask(net, {"a.test": {old.key_id: {"minimum_valid_until_ts": 0}}})
    peer.key, peer.valid_until_ts = SigningKey(bytes(32), "new"), held_until + 1000
    await ask(net, {"a.test": {old.key_id: {"minimum_valid_until_ts": net.clock.now_ms()}}})
    asked = net.board.deliveries.count("a.test")
    documents = await ask(net, {"a.test": {old.key_id: {"minimum_valid_until_ts": held_until}}})
    assert old.key_id in documents[0]["verify_keys"]
    assert net.board.deliveries.count("a.test") == asked


async def test_many_are_asked_about_at_once(net: Network) -> None:
    """Servers that cannot be reached are left out, names that are none too; this server is among those known."""
    net.peer("a.test"), net.peer("b.test")
    documents = await ask(net, {"a.test": {}, "b.test": {"ed25519:peer": {}}, "gone.test": {}, "no name": {}, HERE: {}})
    assert sorted(document["server_name"] for document in documents) == ["a.test", "b.test", HERE]
    assert all(is_signed_by(net, document) for document in documents)
    assert await ask(net, {}) == []


async def test_last_answer_stands_in_for_a_server_that_is_gone(net: Network) -> None:
    """So that signatures of old events can still be verified, even when the object has run out."""
    net.peer("a.test")
    await ask(net, {"a.test": {}})
    net.board.down("a.test")
    net.clock.jump(30 * 24 * 3600)
    (document,) = await ask(net, {"a.test": {}})
    assert document["server_name"] == "a.test"


async def test_key_that_the_server_no_longer_lists_is_still_vouched_for(net: Network) -> None:
    """Who asks for it by its id gets the former object, and the newest after it."""
    peer = net.peer("a.test")
    old = peer.key
    await ask(net, {"a.test": {old.key_id: {}}})
    peer.key = SigningKey(bytes(32), "new")
    net.clock.jump(60)
    later = {"minimum_valid_until_ts": net.clock.now_ms() + 30 * 24 * HOUR}
    documents = await ask(net, {"a.test": {old.key_id: later}})
    assert [set(document["verify_keys"]) for document in documents] == [{old.key_id}, {"ed25519:new"}]
    assert all(is_signed_by(net, document) for document in documents)


async def test_object_is_renewed_after_half_its_lifetime(net: Network) -> None:
    """Or when it does not hold for as long as asked, or lacks a key."""
    peer = net.peer("a.test")
    peer.valid_until_ts = net.clock.now_ms() + 4 * HOUR

    async def fetched(criteria: Any) -> int:
        await ask(net, {"a.test": criteria})
        count = net.board.deliveries.count("a.test")
        net.board.deliveries.clear()
        net.clock.jump(60)
        return count

    assert await fetched({}) == 1
    assert await fetched({}) == 0
    net.clock.jump(2 * 3600)
    assert await fetched({}) == 1
    assert await fetched({"ed25519:other": {}}) == 1
    assert await fetched({"ed25519:peer": {"minimum_valid_until_ts": net.clock.now_ms() + 3 * HOUR}}) == 1
    assert await fetched({"ed25519:peer": {"minimum_valid_until_ts": net.clock.now_ms()}}) == 0


@pytest.mark.parametrize(
    "server_keys",
    [
        [],
        None,
        {"a.test": []},
        {"a.test": {"ed25519:x": 1}},
        {"a.test": {"ed25519:x": {"minimum_valid_until_ts": "now"}}},
        {"a.test": {"ed25519:x": {"minimum_valid_until_ts": -1}}},
        {f"a{n}.test": {} for n in range(1001)},
    ],
)
async def test_malformed_queries_are_refused(net: Network, server_keys: Any) -> None:
    """Nothing is asked of anybody."""
    await ask(net, server_keys, 400)
    assert net.board.requests == []


async def test_name_in_the_path_is_checked(net: Network) -> None:
    """What is no server name, and what is no time."""
    client = net[HERE].client()
    await client.get(f"{QUERY}/a%20b", "M_INVALID_PARAM")
    await client.get(f"{QUERY}/a.test?minimum_valid_until_ts=x", "M_INVALID_PARAM")
    assert (await client.get(f"{QUERY}/gone.test"))["server_keys"] == []


async def test_nothing_is_told_while_federation_is_off() -> None:
    """Nor asked."""
    async with network(HERE, allow_federation=False) as net:
        await net[HERE].client().get("/_matrix/key/v2/server", "M_FORBIDDEN")
        await net[HERE].client().get(f"{QUERY}/a.test", "M_FORBIDDEN")
        await ask(net, {"a.test": {}}, "M_FORBIDDEN")
