"""Sending messages to devices, once a transaction."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from conduit.database import trees
from conduit.protocol.errors import BadJson, InvalidParam, MatrixError, TooLarge
from conduit.protocol.ids import DeviceId
from conduit.service.actions.send_to_device import MAX_MESSAGE_BYTES, send_to_device
from conduit.service.context import Context
from conduit.service.keys import to_device
from conduit.service.sending import queue
from conduit.service.users import devices
from tests.support.rooms import ALICE, BOB, context


@pytest.fixture
def ctx() -> Context:
    """A server on which Bob has two devices."""
    ctx = context()
    with ctx.db.batch() as batch:
        for device_id in ("B1", "B2"):
            devices.create(batch, BOB, device_id)
    return ctx


async def send(ctx: Context, messages: Any, *, txn_id: str = "t", device_id: str = "A1", kind: str = "a") -> None:
    """Send messages from a device of Alice's."""
    await send_to_device(ctx, sender=ALICE, device_id=device_id, event_type=kind, txn_id=txn_id, messages=messages)


def received(ctx: Context, device_id: str) -> int:
    """Count what waits for a device of Bob's."""
    return len(to_device.pending(ctx.db, BOB, DeviceId(device_id), 0, ctx.db.current_count())[0])


async def test_transaction_sends_once(ctx: Context) -> None:
    """The same id of another device, or for another type, is another transaction."""
    for device_id, kind in (("A1", "a"), ("A1", "a"), ("A2", "a"), ("A1", "b"), ("A1", "b")):
        await send(ctx, {BOB: {"B1": {}}}, device_id=device_id, kind=kind)
    assert received(ctx, "B1") == 3
    await send(ctx, {BOB: {"*": {}}}, txn_id="t2")
    assert (received(ctx, "B1"), received(ctx, "B2")) == (4, 1)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"bob": {}}, InvalidParam),
        ({"@x:localhost": []}, BadJson),
        ({"@x:localhost": {"*": "x"}}, BadJson),
        ({"@x:localhost": {"*": {"x": "y" * MAX_MESSAGE_BYTES}}}, TooLarge),
        ({"@x:localhost": {"*": {"x": 1.5}}}, BadJson),
        ({"@x:localhost": {f"D{number}": {} for number in range(10_001)}}, TooLarge),
        ({f"@x{number}:localhost": {} for number in range(10_001)}, TooLarge),
    ],
)
async def test_refused_request_delivers_nothing(ctx: Context, wrong: dict[str, Any], error: type[MatrixError]) -> None:
    """Nor is its transaction used up: mended, it goes through."""
    with pytest.raises(error):
        await send(ctx, {BOB: {"B1": {}}, **wrong})
    assert received(ctx, "B1") == 0
    await send(ctx, {BOB: {"B1": {}}})
    assert received(ctx, "B1") == 1


async def test_unknown_targets_are_passed_over(ctx: Context) -> None:
    """Devices and users nobody knows, and other servers' users, keep the rest from nothing."""
    await send(ctx, {"@nobody:localhost": {"*": {}}, "@far:away.example": {"*": {}}, BOB: {"NONE": {}, "B2": {}}})
    assert (received(ctx, "B1"), received(ctx, "B2")) == (0, 1)


def queued(ctx: Context, server: str) -> list[dict[str, Any]]:
    """Return the EDUs that wait for a server."""
    return [orjson.loads(raw) for _, raw in trees.destination_queue.scan(ctx.db, (server, queue.EDU))]


async def test_messages_for_other_servers_are_queued_with_the_transaction() -> None:
    """One EDU a server, with an id of its own; the same transaction again queues nothing; denied servers get nothing."""
    ctx = context(allow_federation=True, federation_denied_servers=("denied.test",))
    messages = {
        "@far:away.test": {"F1": {"x": 1}, "*": {"x": 2}},
        "@too:away.test": {"T1": {"x": 3}},
        "@x:other.test": {"X": {}},
        "@x:denied.test": {"X": {}},
    }
    for _ in range(2):
        await send(ctx, messages)
    (edu,) = queued(ctx, "away.test")
    assert edu["edu_type"] == "m.direct_to_device"
    content = edu["content"]
    assert len(content.pop("message_id")) <= 32
    wanted = {user: messages[user] for user in ("@far:away.test", "@too:away.test")}
    assert content == {"sender": ALICE, "type": "a", "messages": wanted}
    assert len(queued(ctx, "other.test")) == 1
    assert queued(ctx, "denied.test") == []


async def test_many_messages_are_split_into_edus_of_bearable_size() -> None:
    """Each device's message stands in one of them."""
    ctx = context(allow_federation=True)
    messages = {"@far:away.test": {f"D{n}": {"x": "y" * 30_000} for n in range(5)}}
    await send(ctx, messages)
    edus = queued(ctx, "away.test")
    assert len(edus) == 3
    assert len({edu["content"]["message_id"] for edu in edus}) == 3
    sent = {device for edu in edus for device in edu["content"]["messages"]["@far:away.test"]}
    assert sent == set(messages["@far:away.test"])
