"""Sending to devices as an act."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import MatrixError
from conduit.protocol.ids import DeviceId, UserId
from conduit.service.actions.send_to_device import send_to_device
from conduit.service.keys import to_device
from tests.support.homeserver import Homeserver
from tests.support.people import people


async def test_one_transaction_delivers_once(hs: Homeserver) -> None:
    """The row of the transaction and the messages are one batch."""
    alice, bob = await people(hs, "alice", "bob")
    sender, target = UserId(alice.user_id), UserId(bob.user_id)
    for _ in range(2):
        await send_to_device(
            hs.ctx,
            sender=sender,
            device_id=alice.device_id,
            event_type="org.example.x",
            txn_id="1",
            messages={target: {"*": {"n": 1}}},
        )
    found, _ = to_device.pending(hs.ctx.db, target, DeviceId(bob.device_id), 0, hs.ctx.db.current_count())
    assert found == [{"type": "org.example.x", "sender": sender, "content": {"n": 1}}]


@pytest.mark.parametrize("messages", [{"nobody": {}}, {"@a:localhost": []}, {"@a:localhost": {"D": 1}}])
async def test_malformed_messages_are_refused_before_anything_is_written(
    hs: Homeserver, messages: dict[str, Any]
) -> None:
    """The transaction is not remembered, so the corrected request may use its id."""
    alice, bob = await people(hs, "alice", "bob")
    sender, target = UserId(alice.user_id), UserId(bob.user_id)
    options: dict[str, Any] = {
        "sender": sender,
        "device_id": alice.device_id,
        "event_type": "org.example.x",
        "txn_id": "1",
    }
    with pytest.raises(MatrixError):
        await send_to_device(hs.ctx, messages={target: {"*": {}}, **messages}, **options)
    await send_to_device(hs.ctx, messages={target: {"*": {"n": 2}}}, **options)
    found, _ = to_device.pending(hs.ctx.db, target, DeviceId(bob.device_id), 0, hs.ctx.db.current_count())
    assert [message["content"] for message in found] == [{"n": 2}]
