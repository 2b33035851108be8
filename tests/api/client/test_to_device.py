"""Messages from device to device."""

from __future__ import annotations

from tests.support.homeserver import Homeserver
from tests.support.people import people


async def test_message_reaches_the_device_until_it_is_acknowledged(hs: Homeserver) -> None:
    """It comes with every /sync from an old token, and no more once a newer one is used."""
    alice, bob = await people(hs, "alice", "bob")
    content = {"n": 1}
    await alice.put("/sendToDevice/org.example.ping/1", {"messages": {bob.user_id: {bob.device_id: content}}})
    expected = [{"type": "org.example.ping", "sender": alice.user_id, "content": content}]
    first = await bob.sync()
    assert first["to_device"]["events"] == expected
    assert (await bob.sync())["to_device"]["events"] == expected
    second = await bob.sync(first["next_batch"])
    assert not second.get("to_device", {}).get("events")
    assert not (await bob.sync()).get("to_device", {}).get("events")


async def test_same_transaction_sends_once(hs: Homeserver) -> None:
    """A repeated request delivers nothing more; another device's same id is another transaction."""
    alice, bob = await people(hs, "alice", "bob")
    other = await hs.login("alice")
    body = {"messages": {bob.user_id: {"*": {"n": 1}}}}
    for sender in (alice, alice, other):
        await sender.put("/sendToDevice/org.example.ping/1", body)
    assert len((await bob.sync())["to_device"]["events"]) == 2


async def test_star_reaches_all_devices_and_unknown_ones_none(hs: Homeserver) -> None:
    """`*` is every device; a device that does not exist gets nothing and is no error."""
    alice, bob = await people(hs, "alice", "bob")
    second = await hs.login("bob")
    body = {"messages": {bob.user_id: {"*": {"n": 1}, "GONE": {"n": 2}}, "@nobody:localhost": {"*": {}}}}
    await alice.put("/sendToDevice/org.example.ping/1", body)
    for device in (bob, second):
        assert [event["content"] for event in (await device.sync())["to_device"]["events"]] == [{"n": 1}]


async def test_more_than_a_hundred_come_in_several_answers(hs: Homeserver) -> None:
    """One answer is bounded, nothing is lost and the order is kept."""
    alice, bob = await people(hs, "alice", "bob")
    for number in range(130):
        body = {"messages": {bob.user_id: {bob.device_id: {"n": number}}}}
        await alice.put(f"/sendToDevice/org.example.ping/{number}", body)
    first = await bob.sync()
    second = await bob.sync(first["next_batch"])
    numbers = [event["content"]["n"] for answer in (first, second) for event in answer["to_device"]["events"]]
    assert len(first["to_device"]["events"]) == 100
    assert numbers == list(range(130))


async def test_malformed_messages_are_refused_whole(hs: Homeserver) -> None:
    """A wrong shape anywhere means that nobody gets anything."""
    alice, bob = await people(hs, "alice", "bob")
    good = {bob.device_id: {"n": 1}}
    for messages in (
        {bob.user_id: good, "nonsense": good},
        {bob.user_id: good, alice.user_id: []},
        {bob.user_id: good, alice.user_id: {"D": "x"}},
        {bob.user_id: {**good, "D": {"x": "y" * 70_000}}},
    ):
        response = await alice.raw("PUT", "/sendToDevice/org.example.ping/1", {"messages": messages})
        assert response.status in (400, 413)
    assert not (await bob.sync()).get("to_device", {}).get("events")
