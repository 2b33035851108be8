"""A transaction takes effect once, its events and its ephemeral data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from conduit.protocol.errors import InvalidParam, LimitExceeded
from conduit.protocol.ids import ServerName
from conduit.service.actions import receive_transaction
from conduit.service.rooms import timeline
from tests.support.client import segment
from tests.support.federation import Network, network
from tests.support.foreign_room import ForeignRoom
from tests.support.guest import Guest, room_of, worked_off


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


async def test_events_and_ephemeral_data_of_one_transaction_both_count(net: Network) -> None:
    """A message, and that its sender is typing the next."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    ctx = net["one.test"].ctx
    event = guest.message("hello")
    typing = {"edu_type": "m.typing", "content": {"room_id": room, "user_id": guest.user_id, "typing": True}}
    for _ in range(2):
        answer = await receive_transaction.receive(ctx, guest.join.server_name, "1", [event.pdu], [typing])
        assert answer == {event.event_id: {}}
    await worked_off(net["one.test"])
    assert timeline.position(ctx.db, event.event_id) is not None
    assert ctx.typing.users(guest.room_id) == [guest.user_id]


async def test_oversized_transaction_id_is_refused(net: Network) -> None:
    """It would be kept."""
    origin = (await Guest.enter(net, (await room_of(net))[1])).join.server_name
    with pytest.raises(InvalidParam):
        await receive_transaction.receive(net["one.test"].ctx, origin, "x" * 256, [], [])


async def test_invite_that_is_taken_back_is_answered_as_taken(net: Network) -> None:
    """Nobody here is in the room, and yet the event has had its effect."""
    alice = await net["one.test"].register("alice")
    room = ForeignRoom(net.peer("peer.test"), "@eve:peer.test")
    invite = room.add("m.room.member", {"membership": "invite"}, key=alice.user_id)
    told = [known.pdu for known in room.state.values()]
    target = f"/_matrix/federation/v2/invite/{segment(room.id)}/{segment(invite.event_id)}"
    body = {"room_version": room.version.id, "event": invite.pdu, "invite_room_state": told}
    await room.peer.put("one.test", target, body)
    end = room.add("m.room.member", {"membership": "leave"}, key=alice.user_id)
    other = room.build("m.room.message", {"body": "of no interest", "msgtype": "m.text"}, key=None)
    answer = (await room.peer.send("one.test", [end, other]))["pdus"]
    assert answer[end.event_id] == {}
    assert "error" in answer[other.event_id]


async def test_advisory_25_one_server_has_few_transactions_under_way(net: Network) -> None:
    """Their ephemeral data takes effect one transaction after the other; who sends too many at a time is told to come back, and another server has its turn."""
    guest = await Guest.enter(net, (await room_of(net))[1])
    ctx = net["one.test"].ctx
    edus = [{"edu_type": "m.presence", "content": {"push": []}}] * 10
    many = [
        asyncio.ensure_future(receive_transaction.receive(ctx, guest.join.server_name, str(number), [], edus))
        for number in range(30)
    ]
    await asyncio.sleep(0)
    await receive_transaction.receive(ctx, ServerName("other.test"), "1", [], edus[:1])
    assert sum(task.done() and task.exception() is None for task in many) == 0
    results = await asyncio.gather(*many, return_exceptions=True)
    assert sum(isinstance(result, LimitExceeded) for result in results) == 30 - receive_transaction.MAX_AT_A_TIME
    assert await receive_transaction.receive(ctx, guest.join.server_name, "99", [], edus) == {}


async def test_transaction_that_is_sent_again_while_it_is_under_way_has_no_effect_twice(net: Network) -> None:
    """Both are answered alike."""
    guest = await Guest.enter(net, (await room_of(net))[1])
    ctx = net["one.test"].ctx
    event = guest.message("hello")
    edus = [{"edu_type": "m.presence", "content": {"push": []}}] * 3
    origin = guest.join.server_name
    both = [receive_transaction.receive(ctx, origin, "1", [event.pdu], edus) for _ in range(2)]
    assert await asyncio.gather(*both) == [{event.event_id: {}}] * 2
    await worked_off(net["one.test"])
