"""What other servers tell beside events, and what they may not tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.database import trees
from conduit.protocol.ids import ServerName
from conduit.service.actions import receive_edus, receive_presence, receive_receipts, receive_to_device
from tests.support.client import User
from tests.support.federation import Network, Peer, network
from tests.support.guest import Guest, until
from tests.support.outgoing import enter, member, quiet
from tests.support.visitor import Visitor

Json = dict[str, Any]
BOB, EVE = "@bob:two.test", "@eve:evil.test"


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver, and servers that tests script."""
    async with network("one.test") as net:
        yield net


@pytest.fixture
async def alice(net: Network) -> User:
    """A user of the homeserver."""
    return await net["one.test"].register("alice")


@pytest.fixture
async def room(net: Network, alice: User) -> str:
    """A room of Alice's with Bob and Eve of other servers in it."""
    room_id = await alice.create_room(preset="public_chat")
    enter(net["one.test"], room_id, BOB)
    enter(net["one.test"], room_id, EVE)
    return room_id


@pytest.fixture
def two(net: Network) -> Peer:
    """Bob's server."""
    return net.peer("two.test")


@pytest.fixture
def evil(net: Network) -> Peer:
    """Eve's server."""
    return net.peer("evil.test")


async def tell(peer: Peer, edu_type: str, content: Any) -> None:
    """Let a server tell something."""
    await peer.send("one.test", edus=[{"edu_type": edu_type, "content": content}])
    await quiet()


def typing(room_id: str, user_id: str, is_typing: bool = True) -> Json:
    """Return the content of a typing notice."""
    return {"room_id": room_id, "user_id": user_id, "typing": is_typing}


def receipt(room_id: str, user_id: str, event_id: str, **data: Any) -> Json:
    """Return the content of a receipt."""
    return {room_id: {"m.read": {user_id: {"event_ids": [event_id], "data": {"ts": 1_600_000_000_000, **data}}}}}


async def shown(alice: User, room_id: str, kind: str) -> Any:
    """Return the content of the room's ephemeral event of a kind, as Alice's client sees it."""
    joined = (await alice.sync())["rooms"]["join"][room_id]
    found = [event["content"] for event in joined["ephemeral"]["events"] if event["type"] == kind]
    return found[0] if found else None


async def comes(alice: User, room_id: str, kind: str) -> Any:
    """Return what `shown` returns, once there is such an event."""
    for _ in range(100):
        content = await shown(alice, room_id, kind)
        if content is not None:
            return content
        await quiet()
    raise AssertionError(f"{kind} does not come")


# --- typing --------------------------------------------------------------------------------------------------------


async def test_typing_of_others_is_seen_until_it_ends(net: Network, alice: User, room: str, two: Peer) -> None:
    """By their word, or when nothing more is heard."""
    since = (await alice.sync())["next_batch"]
    waiting = alice.start(alice.sync(since, timeout_ms=30_000))
    await quiet()
    await tell(two, "m.typing", typing(room, BOB))
    news = (await waiting)["rooms"]["join"][room]["ephemeral"]["events"]
    assert news == [{"type": "m.typing", "content": {"user_ids": [BOB]}}]
    await tell(two, "m.typing", typing(room, BOB, False))
    assert await shown(alice, room, "m.typing") in (None, {"user_ids": []})
    await tell(two, "m.typing", typing(room, BOB))
    await net.clock.advance(59)
    assert await shown(alice, room, "m.typing") == {"user_ids": [BOB]}
    await net.clock.advance(1)
    assert await shown(alice, room, "m.typing") in (None, {"user_ids": []})


async def test_typing_of_who_leaves_ends(net: Network, alice: User, room: str, two: Peer) -> None:
    """Also if their server says it when they are gone."""
    await tell(two, "m.typing", typing(room, BOB))
    member(net["one.test"], room, BOB, BOB, "leave")
    assert await shown(alice, room, "m.typing") in (None, {"user_ids": []})
    await tell(two, "m.typing", typing(room, BOB))
    assert await shown(alice, room, "m.typing") in (None, {"user_ids": []})
    await tell(two, "m.typing", typing(room, BOB, False))


async def test_advisory_25_few_type_in_a_room_at_a_time(
    net: Network, alice: User, room: str, two: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many a server names."""
    monkeypatch.setattr(receive_edus, "MAX_TYPING", 3)
    users = [f"@u{number}:two.test" for number in range(6)]
    for user in users:
        enter(net["one.test"], room, user)
        await tell(two, "m.typing", typing(room, user))
    assert await shown(alice, room, "m.typing") == {"user_ids": users[:3]}
    await tell(two, "m.typing", typing(room, users[0], False))
    await tell(two, "m.typing", typing(room, users[5]))
    assert await shown(alice, room, "m.typing") == {"user_ids": [*users[1:3], users[5]]}


# --- receipts ------------------------------------------------------------------------------------------------------


async def test_advisory_04_receipts_in_threads_that_the_event_is_not_in_are_passed_over(
    net: Network, alice: User, room: str, two: Peer
) -> None:
    """A server cannot have as many receipts kept of one user as it can name threads."""
    event_id = await alice.send(room, "hello")
    for number in range(5):
        await tell(two, "m.receipt", receipt(room, BOB, event_id, thread_id=f"$made-up-{number}:two.test"))
    assert not any(user == BOB for (_, user, _, _), _ in trees.receipt.scan(net["one.test"].ctx.db))
    await tell(two, "m.receipt", receipt(room, BOB, event_id, thread_id=event_id))
    assert (await shown(alice, room, "m.receipt"))[event_id]["m.read"][BOB]["thread_id"] == event_id


async def test_receipts_of_others_are_seen(alice: User, room: str, two: Peer) -> None:
    """In the whole room and in threads; a private one is no server's business."""
    event_id = await alice.send(room, "hello")
    waiting = alice.start(alice.sync((await alice.sync())["next_batch"], timeout_ms=30_000))
    await quiet()
    await tell(two, "m.receipt", receipt(room, BOB, event_id))
    read = {event_id: {"m.read": {BOB: {"ts": 1_600_000_000_000}}}}
    events = (await waiting)["rooms"]["join"][room]["ephemeral"]["events"]
    assert events == [{"type": "m.receipt", "content": read}]
    assert await shown(alice, room, "m.receipt") == read
    second = await alice.send(room, "again")
    await tell(two, "m.receipt", receipt(room, BOB, second, thread_id="main"))
    assert (await shown(alice, room, "m.receipt"))[second]["m.read"][BOB]["thread_id"] == "main"
    secret = await alice.send(room, "secret")
    content = receipt(room, BOB, secret)
    content[room]["m.read.private"] = content[room].pop("m.read")
    await tell(two, "m.receipt", content)
    assert secret not in await shown(alice, room, "m.receipt")


async def test_receipt_before_its_event_waits_for_it(alice: User, two: Peer) -> None:
    """Events take longer than what is told beside them; a newer receipt counts whichever comes first."""
    room_id = await alice.create_room(preset="public_chat", room_version="11")
    joined = await Visitor(two, "one.test").join(room_id, BOB)
    auth = [event for event in joined.state if event.type in ("m.room.create", "m.room.power_levels")]
    event = two.event(
        "11",
        "m.room.message",
        sender=BOB,
        content={"msgtype": "m.text", "body": "hello"},
        room_id=room_id,
        prev=[joined.event],
        auth=[*auth, joined.event],
    )
    await tell(two, "m.receipt", receipt(room_id, BOB, event.event_id))
    assert await shown(alice, room_id, "m.receipt") is None
    await alice.send(room_id, "something else")
    await quiet()
    assert await shown(alice, room_id, "m.receipt") is None
    await two.send("one.test", pdus=[event])
    assert set(await comes(alice, room_id, "m.receipt")) == {event.event_id}


async def test_receipt_before_the_join_of_its_user_waits_for_it(net: Network, alice: User, two: Peer) -> None:
    """Who joins reads at once: both come in one transaction, and the join takes longer."""
    room_id = await alice.create_room(preset="public_chat")
    event_id = await alice.send(room_id, "hello")
    await Visitor(two, "one.test").join(room_id, "@bert:two.test")
    await tell(two, "m.receipt", receipt(room_id, BOB, event_id))
    await quiet()
    assert await shown(alice, room_id, "m.receipt") is None
    enter(net["one.test"], room_id, BOB)
    assert set((await comes(alice, room_id, "m.receipt"))[event_id]["m.read"]) == {BOB}


async def test_advisory_25_receipts_for_events_that_never_come_push_out_no_others(
    net: Network, alice: User, evil: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server tells of more than may wait; that of another one still waits for its event."""
    monkeypatch.setattr(receive_receipts, "MAX_WAITING", 20)
    monkeypatch.setattr(receive_receipts, "MAX_WAITING_OF_SERVER", 5)
    room_id = await alice.create_room(preset="public_chat")
    guest = await Guest.enter(net, room_id, name="two.test", user="bob")
    enter(net["one.test"], room_id, EVE)
    for number in range(30):
        await tell(evil, "m.receipt", receipt(room_id, EVE, f"${number:043d}"))
    event = guest.message("hello")
    await tell(guest.peer, "m.receipt", receipt(room_id, BOB, event.event_id))
    await guest.send(event)
    assert set(await comes(alice, room_id, "m.receipt")) == {event.event_id}


async def test_advisory_25_receipts_wait_for_minutes_only_in_a_quiet_room_too(
    net: Network, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those whose events never come make room for others, though nothing happens in their room any more."""
    monkeypatch.setattr(receive_receipts, "MAX_WAITING_OF_SERVER", 5)
    quiet_room, room_id = [await alice.create_room(preset="public_chat") for _ in range(2)]
    await Visitor(net.peer("two.test"), "one.test").join(quiet_room, BOB)
    guest = await Guest.enter(net, room_id, name="two.test", user="bob")
    for number in range(5):
        await tell(guest.peer, "m.receipt", receipt(quiet_room, BOB, f"${number:043d}"))
    await quiet()
    await net.clock.advance(receive_receipts.WAIT_MS / 1000)
    event = guest.message("hello")
    await tell(guest.peer, "m.receipt", receipt(room_id, BOB, event.event_id))
    await guest.send(event)
    assert set(await comes(alice, room_id, "m.receipt")) == {event.event_id}


# --- presence ------------------------------------------------------------------------------------------------------


async def test_presence_of_others_is_seen(net: Network, alice: User, room: str, two: Peer) -> None:
    """As their server says, until it has said nothing for long."""
    push = {"user_id": BOB, "presence": "online", "last_active_ago": 1000, "currently_active": True, "status_msg": "x"}
    waiting = alice.start(alice.sync((await alice.sync())["next_batch"], timeout_ms=30_000))
    await quiet()
    await tell(two, "m.presence", {"push": [push]})
    (event,) = (await waiting)["presence"]["events"]
    assert event["sender"] == BOB
    assert event["content"] == {
        "presence": "online",
        "last_active_ago": 1000,
        "currently_active": True,
        "status_msg": "x",
    }
    await tell(two, "m.presence", {"push": [{**push, "currently_active": False}]})
    assert (await alice.get(f"/presence/{BOB}/status"))["currently_active"] is False
    for _ in range(180):
        await net.clock.advance(10)
    assert (await alice.get(f"/presence/{BOB}/status"))["presence"] == "offline"


async def test_presence_of_strangers_is_not_kept(net: Network, alice: User, room: str, two: Peer) -> None:
    """Nobody here could see it, and a server could make up any number of users."""
    pushes = [{"user_id": f"@u{n}:two.test", "presence": "online", "last_active_ago": 0} for n in range(10)]
    await tell(two, "m.presence", {"push": pushes})
    presence = net["one.test"].ctx.presence
    assert [user for user in presence.changes(0, 10**9) if user.endswith(":two.test")] == []


async def test_advisory_25_presence_of_made_up_users_pushes_out_no_others(
    net: Network, alice: User, evil: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server tells of more users than may wait; somebody of another one is seen once they have come into sight. Of each server the newest wait."""
    monkeypatch.setattr(receive_presence, "MAX_WAITING", 20)
    monkeypatch.setattr(receive_presence, "MAX_WAITING_OF_SERVER", 5)
    room_id = await alice.create_room(preset="public_chat")
    two = net.peer("two.test")
    await tell(two, "m.presence", {"push": [{"user_id": BOB, "presence": "online"}]})
    for number in range(30):
        await tell(evil, "m.presence", {"push": [{"user_id": f"@u{number}:evil.test", "presence": "online"}]})
    await Visitor(two, "one.test").join(room_id, BOB)
    await Visitor(evil, "one.test").join(room_id, "@u0:evil.test")
    await Visitor(evil, "one.test").join(room_id, "@u29:evil.test")
    await quiet()
    seen = {user: (await alice.get(f"/presence/{user}/status"))["presence"] for user in (BOB, "@u29:evil.test")}
    assert set(seen.values()) == {"online"}
    first = await alice.raw("GET", "/presence/@u0:evil.test/status")
    assert first.json().get("presence") != "online"


# --- to-device messages --------------------------------------------------------------------------------------------


def message(number: int, sender: str = BOB, device: str = "*", message_id: str | None = None) -> Json:
    """Return the content of a to-device message for Alice."""
    return {
        "sender": sender,
        "type": "test",
        "message_id": message_id or f"id{number}",
        "messages": {"@alice:one.test": {device: {"number": number}}},
    }


async def numbers(alice: User) -> list[int]:
    """Return what Alice's device has been sent."""
    return [event["content"]["number"] for event in (await alice.sync()).get("to_device", {}).get("events", [])]


async def test_to_device_messages_are_delivered_once_and_in_order(net: Network, alice: User, two: Peer) -> None:
    """A message that comes again in another transaction is known by its id; ids of other servers are others."""
    edus = [{"edu_type": "m.direct_to_device", "content": message(number)} for number in range(3)]
    await two.send("one.test", edus=edus)
    await two.send("one.test", edus=edus[1:])
    other = net.peer("three.test")
    await tell(other, "m.direct_to_device", message(7, "@carol:three.test", message_id="id1"))
    assert await numbers(alice) == [0, 1, 2, 7]


async def test_messages_for_one_device_and_for_strangers(net: Network, alice: User, two: Peer) -> None:
    """Devices and users who are not here are passed over."""
    content = message(1, device=alice.device_id)
    content["messages"] |= {"@carol:three.test": {"*": {}}, "@nobody:one.test": {"*": {}}, "nonsense": {"*": {}}}
    content["messages"]["@alice:one.test"] |= {"ELSEWHERE": {"number": 2}, "*wrong": 3}
    await tell(two, "m.direct_to_device", content)
    assert await numbers(alice) == [1]


# --- what a server may not do --------------------------------------------------------------------------------------


async def test_advisory_04_typing_of_other_servers_users(net: Network, alice: User, room: str, evil: Peer) -> None:
    """Neither of local users nor of third servers', nor the end of it."""
    net["one.test"].ctx.typing.start(room, BOB, 50_000)  # type: ignore[arg-type]
    for user_id in (alice.user_id, BOB):
        await tell(evil, "m.typing", typing(room, user_id))
        await tell(evil, "m.typing", typing(room, user_id, False))
    assert await shown(alice, room, "m.typing") == {"user_ids": [BOB]}


async def test_advisory_04_receipts_of_other_servers_users(alice: User, room: str, evil: Peer) -> None:
    """They are passed over, and the others of the same EDU are taken."""
    event_id = await alice.send(room, "hello")
    content = receipt(room, BOB, event_id)
    content[room]["m.read"] |= receipt(room, alice.user_id, event_id)[room]["m.read"]
    content[room]["m.read"] |= receipt(room, EVE, event_id)[room]["m.read"]
    await tell(evil, "m.receipt", content)
    assert set((await shown(alice, room, "m.receipt"))[event_id]["m.read"]) == {EVE}


async def test_advisory_04_presence_of_other_servers_users(alice: User, room: str, evil: Peer) -> None:
    """Bob is not known to be anywhere, and Alice is where she was."""
    await alice.put(f"/presence/{alice.user_id}/status", {"presence": "online", "status_msg": "mine"})
    pushes = [{"user_id": user, "presence": "unavailable", "last_active_ago": 0} for user in (BOB, alice.user_id)]
    await tell(evil, "m.presence", {"push": pushes})
    assert (await alice.get(f"/presence/{alice.user_id}/status"))["status_msg"] == "mine"
    assert (
        "presence" not in (await alice.raw("GET", f"/presence/{BOB}/status")).json()
        or (await alice.get(f"/presence/{BOB}/status"))["presence"] == "offline"
    )


async def test_advisory_04_to_device_messages_of_other_servers_users(alice: User, room: str, evil: Peer) -> None:
    """Nothing arrives in the name of somebody else."""
    await tell(evil, "m.direct_to_device", message(1, BOB))
    await tell(evil, "m.direct_to_device", message(2, alice.user_id))
    assert await numbers(alice) == []


@pytest.mark.parametrize("edu_type", ["m.device_list_update", "m.signing_key_update"])
async def test_advisory_04_device_lists_of_other_servers_users(
    alice: User, room: str, evil: Peer, edu_type: str
) -> None:
    """Nobody is told to look for anything."""
    since = (await alice.sync())["next_batch"]
    content = {"user_id": BOB, "device_id": "X", "stream_id": 1, "prev_id": []}
    await tell(evil, edu_type, content)
    assert "changed" not in (await alice.sync(since)).get("device_lists", {})


async def test_server_shut_out_of_a_room_tells_nothing_of_it(alice: User, room: str, evil: Peer, two: Peer) -> None:
    """By the access control list, whatever the case of its name; the others go on."""
    event_id = await alice.send(room, "hello")
    await alice.set_state(room, "m.room.server_acl", {"allow": ["*"], "deny": ["EVIL.*"]})
    await tell(evil, "m.typing", typing(room, EVE))
    await tell(evil, "m.receipt", receipt(room, EVE, event_id))
    assert await shown(alice, room, "m.typing") in (None, {"user_ids": []})
    assert await shown(alice, room, "m.receipt") is None
    await tell(two, "m.receipt", receipt(room, BOB, event_id))
    assert await shown(alice, room, "m.receipt")


async def test_users_outside_of_the_room_tell_nothing_of_it(alice: User, room: str, two: Peer) -> None:
    """Their server is in the room; they are not."""
    event_id = await alice.send(room, "hello")
    await tell(two, "m.typing", typing(room, "@bert:two.test"))
    await tell(two, "m.receipt", receipt(room, "@bert:two.test", event_id))
    await tell(two, "m.typing", typing("!elsewhere:two.test", BOB))
    assert await shown(alice, room, "m.typing") in (None, {"user_ids": []})
    assert await shown(alice, room, "m.receipt") is None


NONSENSE: list[Any] = [None, 1, "x", [], {}, [[]], {"push": 3}, {"push": [None, 1, {}]}, {"": 1}]


@pytest.mark.parametrize(
    "edu_type",
    [
        "m.typing",
        "m.receipt",
        "m.presence",
        "m.direct_to_device",
        "m.device_list_update",
        "m.signing_key_update",
        "org.unknown",
    ],
)
async def test_nonsense_is_passed_over(alice: User, room: str, two: Peer, edu_type: str) -> None:
    """Whatever is wrong with it: what follows is taken."""
    event_id = await alice.send(room, "hello")
    odd: list[Any] = [
        *NONSENSE,
        typing(room, BOB, None),  # type: ignore[arg-type]
        typing(BOB, room),
        {room: {"m.read": 1}},
        {room: {"m.read": {BOB: 1}}},
        {room: {"m.read": {BOB: {"event_ids": [], "data": {}}}}},
        {room: {"m.read": {BOB: {"event_ids": [1], "data": {}}}}},
        receipt(room, BOB, "$" + "B" * 43, thread_id=3),
        receipt(room, BOB, event_id, thread_id="nonsense"),
        {"push": [{"user_id": BOB, "presence": "asleep"}, {"user_id": 1, "presence": "online"}]},
        {"push": [{"user_id": BOB, "presence": "online", "last_active_ago": "x", "status_msg": 3}]},
        {**message(1), "messages": 3},
        {**message(1), "message_id": 3},
        {**message(1), "type": None},
        {**message(1), "sender": ["x"]},
        {**message(1, message_id="odd"), "messages": {"@alice:one.test": 7}},
        {"user_id": BOB, "device_id": 3, "stream_id": "x"},
        {"user_id": BOB, "master_key": 3},
    ]
    for content in odd:
        await two.send("one.test", edus=[{"edu_type": edu_type, "content": content}])
    await two.send("one.test", edus=[*NONSENSE, {"edu_type": 3, "content": {}}, {"edu_type": edu_type}])
    await tell(two, "m.direct_to_device", message(9))
    assert await numbers(alice) == [9]
    assert await shown(alice, room, "m.receipt") is None


async def test_advisory_25_one_message_to_everybody_costs_no_more_than_a_bound(alice: User, two: Peer) -> None:
    """The rest of it is passed over."""
    # In canonical JSON these come before every id that a device is given.
    devices = {f"!{number}": {"number": number} for number in range(6000)}
    content = {**message(1), "messages": {"@alice:one.test": {**devices, alice.device_id: {"number": 1}}}}
    await tell(two, "m.direct_to_device", content)
    assert await numbers(alice) == []
    await tell(two, "m.direct_to_device", message(2))
    assert await numbers(alice) == [2]


async def test_advisory_25_notes_of_delivered_messages_are_bounded(
    net: Network, alice: User, two: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a server that sends without end the newest are known to have come; others' are not touched."""
    monkeypatch.setattr(receive_to_device, "MAX_REMEMBERED", 10)
    db = net["one.test"].ctx.db
    with db.batch() as batch:
        trees.todevice_received.put(batch, (ServerName("two.testing"), bytes(32)), net.clock.now_ms())
    for number in range(35):
        await tell(two, "m.direct_to_device", message(number))
        net.clock.jump(1)
    await until(lambda: sum(1 for _ in trees.todevice_received.keys(db, (ServerName("two.test"),))) < 20)
    await tell(two, "m.direct_to_device", message(34))
    assert len(await numbers(alice)) == 35
    assert sum(1 for _ in trees.todevice_received.keys(db, (ServerName("two.testing"),))) == 1
    await receive_to_device.sweep(db, net.clock.now_ms() + receive_to_device.REMEMBER_MS)
    assert trees.todevice_received.first(db) is None
