"""What is told between two servers as it is: who types, reads and is online."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.client import User
from tests.support.federation import Network, network
from tests.support.outgoing import quiet


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """Two homeservers."""
    async with network("one.test", "two.test") as net:
        yield net


@pytest.fixture
async def alice(net: Network) -> User:
    """A user of the first, who is online."""
    alice = await net["one.test"].register("alice")
    await alice.put(f"/presence/{alice.user_id}/status", {"presence": "online", "status_msg": "here"})
    return alice


@pytest.fixture
async def bob(net: Network) -> User:
    """A user of the second."""
    return await net["two.test"].register("bob")


@pytest.fixture
async def room(alice: User, bob: User) -> str:
    """A room with both."""
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{room_id}?via=one.test")
    await settled()
    return room_id


async def settled() -> None:
    """Let both servers do what they have to."""
    for _ in range(4):
        await quiet()


async def ephemeral(user: User, room_id: str) -> dict[str, Any]:
    """Return the ephemeral events of the room, content by type."""
    joined = (await user.sync())["rooms"]["join"][room_id]
    return {event["type"]: event["content"] for event in joined["ephemeral"]["events"]}


async def test_typing_is_seen_on_the_other_side_until_it_runs_out(
    net: Network, alice: User, bob: User, room: str
) -> None:
    """Exactly as long as here."""
    await alice.put(f"/rooms/{room}/typing/{alice.user_id}", {"typing": True, "timeout": 4000})
    await settled()
    assert (await ephemeral(bob, room))["m.typing"] == {"user_ids": [alice.user_id]}
    await net.clock.advance(4)
    await settled()
    assert (await ephemeral(bob, room)).get("m.typing", {"user_ids": []}) == {"user_ids": []}


async def test_receipts_are_seen_on_the_other_side(alice: User, bob: User, room: str) -> None:
    """In both directions."""
    event_id = await alice.send(room, "hello")
    await settled()
    for user in (alice, bob):
        await user.post(f"/rooms/{room}/receipt/m.read/{event_id}")
    await settled()
    for user in (alice, bob):
        read = (await ephemeral(user, room))["m.receipt"][event_id]["m.read"]
        assert set(read) == {alice.user_id, bob.user_id}


async def test_who_is_there_is_seen_by_who_comes(net: Network, alice: User, bob: User, room: str) -> None:
    """Though it may be told before the one who comes has taken the room in; and changes afterwards."""
    assert (await bob.get(f"/presence/{alice.user_id}/status"))["status_msg"] == "here"
    await alice.put(f"/presence/{alice.user_id}/status", {"presence": "unavailable"})
    await net.clock.advance(6)
    await settled()
    assert (await bob.get(f"/presence/{alice.user_id}/status"))["presence"] == "unavailable"


async def test_messages_to_devices_arrive_in_order(net: Network, alice: User, bob: User) -> None:
    """Without a room in common."""
    for number in range(130):
        await alice.put(f"/sendToDevice/test/{number}", {"messages": {bob.user_id: {"*": {"number": number}}}})
    await settled()
    first = await bob.sync()
    second = await bob.sync(first["next_batch"])
    events = first["to_device"]["events"] + second["to_device"]["events"]
    assert [event["content"]["number"] for event in events] == list(range(130))
