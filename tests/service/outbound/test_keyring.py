"""Whose signatures count: keys fetched, kept, shared and expired."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import orjson
import pytest

from conduit.database import trees
from conduit.protocol.errors import LimitExceeded, Unauthorized
from conduit.protocol.hashes import essential_bytes
from conduit.protocol.ids import ServerName
from conduit.protocol.pdu import Event, countersign
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.protocol.signing import SigningKey
from conduit.service.outbound import keyring as module
from conduit.service.outbound.keyring import Keyring
from conduit.service.outbound.known_keys import KnownKeys
from tests.support.clock import settle
from tests.support.federation import Incoming, Network, Peer, network

HERE = "here.test"
HOUR = 3_600_000
DAY = 24 * HOUR


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """A homeserver without notaries."""
    async with network(HERE) as net:
        yield net


@pytest.fixture
def keyring(net: Network) -> Keyring:
    """Its keyring."""
    return net[HERE].ctx.outbound.keyring


def message(peer: Peer, version: str = "10", **more: Any) -> Any:
    """Return an event of the peer's and its version's rules, as `verify_pdus` takes them."""
    sender = f"@a:{peer.name}"
    event = peer.event(version, "m.room.message", sender=sender, room_id=f"!r:{peer.name}", content={}, **more)
    return event.pdu, event.version


def asked(net: Network, name: str) -> int:
    """How often a server was asked for anything."""
    return net.board.deliveries.count(name)


def rotate(peer: Peer, name: str = "next", *, listed: bool = True) -> SigningKey:
    """Let the peer sign with a new key from now on and return the old one."""
    assert peer.clock is not None
    old, peer.key = peer.key, SigningKey(hashlib.sha256(name.encode()).digest(), name)
    if listed:
        peer.old_keys[old.key_id] = {"key": old.public_key, "expired_ts": peer.clock.now_ms()}
    return old


# --- objects ----------------------------------------------------------------------------------------------------------


async def test_signed_object_is_verified(net: Network, keyring: Keyring) -> None:
    """With a key that is fetched once and stored."""
    peer = net.peer("a.test")
    for number in range(3):
        value = peer.key.sign_json({"n": number, "unsigned": {"x": 1}}, "a.test")
        await keyring.verify_json("a.test", value, valid_at_ms=net.clock.now_ms())
    assert asked(net, "a.test") == 1
    row = trees.server_signingkeys.get(net[HERE].ctx.db, ServerName("a.test"))
    assert isinstance(row, dict)
    assert row["verify_keys"] == peer.key_document()["verify_keys"]


@pytest.mark.parametrize(
    "change",
    [
        lambda value, peer: {**value, "n": 2},
        lambda value, peer: {**value, "signatures": {}},
        lambda value, peer: {**value, "signatures": []},
        lambda value, peer: {**value, "signatures": {"a.test": {"ed25519:none": "x" * 86}}},
        lambda value, peer: {**value, "signatures": {"a.test": {peer.key.key_id: 1}}},
        lambda value, peer: {**value, "signatures": {"a.test": {peer.key.key_id: "???"}}},
        lambda value, peer: {**value, "signatures": {"a.test": {"rsa:1": "x" * 86}}},
        lambda value, peer: {**value, "signatures": {"b.test": value["signatures"]["a.test"]}},
    ],
)
async def test_badly_signed_object_is_refused(net: Network, keyring: Keyring, change: Any) -> None:
    """Changed, unsigned, or signed by others."""
    peer = net.peer("a.test")
    value = change(peer.key.sign_json({"n": 1}, "a.test"), peer)
    with pytest.raises(Unauthorized):
        await keyring.verify_json("a.test", value, valid_at_ms=None)


async def test_own_signatures_are_verified_without_asking(net: Network, keyring: Keyring) -> None:
    """The server knows its own key."""
    value = net[HERE].ctx.signing_key.sign_json({"n": 1}, HERE)
    await keyring.verify_json(HERE, value, valid_at_ms=net.clock.now_ms())
    with pytest.raises(Unauthorized):
        await keyring.verify_json(HERE, {**value, "n": 2}, valid_at_ms=None)
    assert net.board.deliveries == []


# --- fetching ---------------------------------------------------------------------------------------------------------


async def test_those_who_need_a_key_at_once_share_one_fetch(net: Network, keyring: Keyring) -> None:
    """However many events arrive together."""
    peer = net.peer("a.test")
    faults = await asyncio.gather(*(keyring.verify_pdus([message(peer)]) for _ in range(50)))
    assert faults == [[None]] * 50
    assert asked(net, "a.test") == 1


async def test_server_that_does_not_answer_is_left_alone_for_ever_longer(net: Network, keyring: Keyring) -> None:
    """So that nobody can have this server knock on a dead door all the time."""
    net.peer("dead.test").on("GET", ".*", (500, {}))
    times: list[int] = []
    for second in range(0, 4000, 10):
        await keyring.public_key("dead.test", "ed25519:1", valid_at_ms=None)
        if asked(net, "dead.test") > len(times):
            times.append(second)
        net.clock.jump(10)
    assert [after - before for before, after in pairwise(times)] == [30, 60, 120, 240, 480] + [600] * 5


async def test_unknown_key_id_is_looked_for_again_after_a_while(net: Network, keyring: Keyring) -> None:
    """A new key is found; ids that do not exist cost one request in half a minute."""
    peer = net.peer("a.test")
    assert await keyring.public_key("a.test", "ed25519:next", valid_at_ms=None) is None
    rotate(peer)
    for _ in range(20):
        assert await keyring.public_key("a.test", "ed25519:next", valid_at_ms=None) is None
    assert asked(net, "a.test") == 1
    net.clock.jump(30)
    assert await keyring.public_key("a.test", "ed25519:next", valid_at_ms=None) is not None
    assert asked(net, "a.test") == 2


async def test_strangers_wait_in_a_line_of_their_own(net: Network, keyring: Keyring) -> None:
    """Requests in the names of a thousand slow servers do not hold up what this server needs itself."""
    go_on = asyncio.Event()

    async def slow(incoming: Incoming) -> Any:
        await go_on.wait()
        return 404, {}

    for number in range(module.MAX_STRANGERS + 1):
        net.peer(f"slow{number}.test").on("GET", ".*", slow)
    waiting = [
        asyncio.ensure_future(keyring.may_sign(f"slow{number}.test", "ed25519:1"))
        for number in range(module.MAX_STRANGERS)
    ]
    await asyncio.sleep(0)
    with pytest.raises(LimitExceeded):
        await keyring.may_sign(f"slow{module.MAX_STRANGERS}.test", "ed25519:1")
    assert await keyring.verify_pdus([message(net.peer("good.test"))]) == [None]
    go_on.set()
    assert not any(await asyncio.gather(*waiting))


async def test_keys_survive_a_restart(net: Network, keyring: Keyring) -> None:
    """They are read from the database, without asking anybody."""
    peer = net.peer("a.test")
    await keyring.verify_pdus([message(peer)])
    keyring.known = KnownKeys(net[HERE].ctx.db, net.clock, ignored=())
    net.board.down("a.test")
    assert await keyring.verify_pdus([message(peer)]) == [None]


# --- events -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", list(ROOM_VERSIONS))
async def test_events_of_every_room_version_are_verified(net: Network, keyring: Keyring, version: str) -> None:
    """What was signed passes; a changed essential part does not, a changed text does (the content hash notices that)."""
    peer = net.peer("a.test")
    pdu, rules = message(peer, version)
    faults = await keyring.verify_pdus(
        [(pdu, rules), ({**pdu, "depth": 99}, rules), ({**pdu, "content": {"body": "x"}}, rules)]
    )
    assert faults == [None, "the signature of a.test is wrong", None]


async def test_event_needs_every_signature_by_a_known_key_to_hold(net: Network, keyring: Keyring) -> None:
    """A server that signs well and badly at once would be believed by some others only. Keys that are not known do not matter."""
    peer = net.peer("a.test")
    pdu, rules = message(peer)
    old = rotate(peer)
    peer.old_keys = {old.key_id: {"key": old.public_key, "expired_ts": pdu["origin_server_ts"] + HOUR}}
    signatures = pdu["signatures"][peer.name]
    both = countersign(Event.from_pdu(pdu, rules), peer.name, peer.key).pdu["signatures"][peer.name]
    bad = {peer.key.key_id: signatures[old.key_id]}
    unknown = {"ed25519:unknown": signatures[old.key_id]}
    await keyring.public_key(peer.name, peer.key.key_id, valid_at_ms=None)
    variants = [both, {**signatures, **bad}, {**signatures, **unknown}]
    faults = await keyring.verify_pdus([({**pdu, "signatures": {peer.name: one}}, rules) for one in variants])
    assert faults == [None, "the signature of a.test is wrong", None]


async def test_many_events_are_verified_in_threads(net: Network, keyring: Keyring) -> None:
    """Each gets its own verdict, in order, whether or not the caller has the essential bytes already."""
    peer = net.peer("a.test")
    pairs = []
    for number in range(500):
        pdu, rules = message(peer, depth=number + 1)
        pairs.append(({**pdu, "depth": 0} if number % 7 == 3 else pdu, rules))
    expected = ["the signature of a.test is wrong" if number % 7 == 3 else None for number in range(500)]
    assert await keyring.verify_pdus(pairs) == expected
    assert await keyring.verify_pdus(pairs, [essential_bytes(*pair) for pair in pairs]) == expected
    assert asked(net, "a.test") == 1


async def test_every_required_server_must_have_signed(net: Network, keyring: Keyring) -> None:
    """A restricted join needs the authorising server too, and says whose signature is missing."""
    one, two = net.peer("one.test"), net.peer("two.test")
    join = one.event(
        "10",
        "m.room.member",
        sender="@a:one.test",
        state_key="@a:one.test",
        room_id="!r:one.test",
        content={"membership": "join", "join_authorised_via_users_server": "@b:two.test"},
    )
    both = countersign(join, "two.test", two.key)
    forged = countersign(join, "two.test", one.key)
    faults = await keyring.verify_pdus([(event.pdu, event.version) for event in (join, both, forged)])
    assert faults == [
        "it is not signed by two.test",
        None,
        "the signature of two.test is wrong",
    ]


async def test_event_of_an_unreachable_server_says_so(net: Network, keyring: Keyring) -> None:
    """Its key cannot be had; others' events of the same batch are not touched by that."""
    good, gone = net.peer("good.test"), net.peer("gone.test")
    net.board.down("gone.test")
    faults = await keyring.verify_pdus([message(gone), message(good)])
    assert faults == ["no valid key of gone.test is known for its signature", None]


async def test_advisory_24_events_after_a_keys_end_are_refused(net: Network, keyring: Keyring) -> None:
    """From room version 5 on; before, a key's validity does not matter."""
    peer = net.peer("a.test")
    old = rotate(peer)
    now = net.clock.now_ms()
    for version, late in (("4", None), ("5", "no valid key of a.test is known for its signature")):
        before = message(peer, version, key=old, origin_server_ts=now)
        after = message(peer, version, key=old, origin_server_ts=now + 1)
        assert await keyring.verify_pdus([before, after]) == [None, late]


async def test_event_of_a_time_that_the_known_keys_do_not_cover_has_them_renewed(
    net: Network, keyring: Keyring
) -> None:
    """Validity goes on when the server is asked again, at most a week into the future."""
    peer = net.peer("a.test")
    now = net.clock.now_ms()
    peer.valid_until_ts = now + HOUR
    assert await keyring.verify_pdus([message(peer, origin_server_ts=now)]) == [None]
    net.clock.jump(7200)
    peer.valid_until_ts = now + 100 * DAY
    assert await keyring.verify_pdus([message(peer, origin_server_ts=now + 2 * HOUR)]) == [None]
    assert asked(net, "a.test") == 2
    (fault,) = await keyring.verify_pdus([message(peer, origin_server_ts=now + 9 * DAY)])
    assert fault is not None


async def test_key_that_vanished_still_verifies_what_it_signed(net: Network, keyring: Keyring) -> None:
    """A server that forgets to list its old key does not lose its history here."""
    peer = net.peer("a.test")
    now = net.clock.now_ms()
    await keyring.verify_pdus([message(peer, origin_server_ts=now)])
    old = rotate(peer, listed=False)
    net.clock.jump(60)
    faults = await keyring.verify_pdus(
        [message(peer, origin_server_ts=now), message(peer, key=old, origin_server_ts=now)]
    )
    assert faults == [None, None]


# --- notaries ---------------------------------------------------------------------------------------------------------


async def test_notary_is_asked_where_the_server_is_silent() -> None:
    """Its answer must be signed by it and by the server itself."""
    async with network(HERE, trusted_servers=("notary.test", HERE)) as net:
        gone, notary = net.peer("gone.test"), net.peer("notary.test")
        net.board.down("gone.test")
        keyring = net[HERE].ctx.outbound.keyring
        document = gone.key_document()
        forged = SigningKey(bytes(32), "peer").sign_json({**document, "signatures": {}}, "gone.test")
        for answer in (document, notary.key.sign_json(forged, "notary.test"), 7, {"server_name": "gone.test"}):
            notary.on("POST", "/_matrix/key/v2/query", {"server_keys": [answer]})
            assert await keyring.public_key("gone.test", gone.key.key_id, valid_at_ms=None) is None
            net.clock.jump(4000)
        notary.on("POST", "/_matrix/key/v2/query", {"server_keys": [notary.key.sign_json(document, "notary.test")]})
        assert await keyring.public_key("gone.test", gone.key.key_id, valid_at_ms=None) is not None
        query = notary.received[-1].json()
        assert query == {"server_keys": {"gone.test": {gone.key.key_id: {"minimum_valid_until_ts": 0}}}}


async def test_notary_is_asked_first_about_many() -> None:
    """One request in place of one to each; those that it does not know are asked themselves."""
    async with network(HERE, "notary.test", trusted_servers=("notary.test",)) as net:
        peers = [net.peer(f"p{number}.test") for number in range(30)]
        net.board.cut("notary.test", "p7.test")
        faults = await net[HERE].ctx.outbound.keyring.verify_pdus([message(peer) for peer in peers])
        assert faults == [None] * 30
        ours = [
            name
            for incoming, name in zip(net.board.requests, net.board.deliveries, strict=True)
            if incoming.origin == HERE
        ]
        assert sorted(ours) == ["notary.test", "notary.test", "p7.test"]


async def test_hostile_notary_speaks_only_of_what_it_was_asked() -> None:
    """Keys of others that it slips in are not taken."""
    async with network(HERE, trusted_servers=("notary.test",)) as net:
        notary, victim = net.peer("notary.test"), net.peer("victim.test")
        slipped = notary.key.sign_json(victim.key_document(), "notary.test")
        notary.on("POST", "/_matrix/key/v2/query", {"server_keys": [slipped]})
        keyring = net[HERE].ctx.outbound.keyring
        assert await keyring.public_key("dead.test", "ed25519:x", valid_at_ms=None) is None
        assert keyring.document("victim.test") is None


async def test_notary_among_those_asked_about_holds_nobody_up() -> None:
    """Its own key comes from itself, first; two notaries that do not answer do not wait for each other."""
    async with network(HERE, "notary.test", trusted_servers=("notary.test", "gone.test")) as net:
        net.board.down("gone.test")
        peers = [net.peer(f"p{number}.test") for number in range(10)]
        key = net["notary.test"].ctx.signing_key
        pairs = [message(peer) for peer in peers]
        pairs += [message(net.peer("other.test"), key=key)]
        keyring = net[HERE].ctx.outbound.keyring
        async with asyncio.timeout(20):
            found = await asyncio.gather(
                keyring.public_key("notary.test", key.key_id, valid_at_ms=None),
                keyring.public_key("gone.test", "ed25519:x", valid_at_ms=None),
                keyring.verify_pdus(pairs),
            )
        assert found[0] is not None
        assert found[1] is None
        assert found[2][:10] == [None] * 10


async def test_dead_servers_do_not_hold_up_the_others(net: Network, keyring: Keyring) -> None:
    """Whoever waits for one key of many that are fetched together goes on when that one is there."""
    go_on = asyncio.Event()

    async def slow(incoming: Incoming) -> Any:
        await go_on.wait()
        return 404, {}

    for number in range(10):
        net.peer(f"slow{number}.test").on("GET", ".*", slow)
    peers = [net.peer(f"slow{number}.test") for number in range(10)] + [net.peer("good.test")]
    everything = asyncio.ensure_future(keyring.verify_pdus([message(peer) for peer in peers]))
    await settle()
    assert await keyring.verify_pdus([message(net.peer("good.test"))]) == [None]
    assert not everything.done()
    go_on.set()
    assert (await everything)[-1] is None


async def test_keys_for_a_large_answer_are_fetched_in_one_go(net: Network, keyring: Keyring) -> None:
    """From its bytes, whatever else they hold, and for no longer than allowed."""
    peers = [net.peer(f"p{number}.test") for number in range(40)]
    raw = orjson.dumps(
        {"state": [message(peer)[0] for peer in peers], "pad": "x" * 3_000_000, "more": message(peers[0])[0]}
    )
    await keyring.prefetch(raw + b'"signatures":{"a b":{"ed25519:x":')
    assert all(asked(net, peer.name) == 1 for peer in peers)
    assert await keyring.verify_pdus([message(peer) for peer in peers]) == [None] * 40
    assert all(asked(net, peer.name) == 1 for peer in peers)

    async def never(incoming: Incoming) -> Any:
        await asyncio.Event().wait()

    net.peer("never.test").on("GET", ".*", never)
    await keyring.prefetch(orjson.dumps(message(net.peer("never.test"))[0]), seconds=0.01)
    for task in net.board._tasks:
        task.cancel()
