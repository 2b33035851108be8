"""Leaves of a room are kept few."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from conduit.protocol.ids import UserId
from conduit.protocol.visibility import DUMMY
from conduit.service.rooms import leaves, members, timeline
from tests.support.federation import Network, network
from tests.support.guest import Guest, room_of, until


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


async def test_many_leaves_are_folded(net: Network) -> None:
    """A server that always cites the same old event makes many leaves: one event of ours takes their place."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    root = guest.tip
    branches = [guest.message(str(number), prev=[root]) for number in range(15)]
    await guest.send(*branches)
    ctx = net["one.test"].ctx
    await until(lambda: len(leaves.of(ctx.db, guest.room_id)) <= 10)
    assert members.is_joined(ctx.db, guest.room_id, guest.join.sender)


async def test_advisory_09_leaves_are_folded_where_nobody_here_may_speak(net: Network) -> None:
    """In a room for announcements everybody can still change their profile, and cite the same old event each time."""
    alice, room = await room_of(net)
    await alice.set_state(room, "m.room.power_levels", {"users": {alice.user_id: 50}, "events_default": 60})
    guest = await Guest.enter(net, room)
    root = guest.tip
    await guest.send(
        *(
            guest.state_event(
                "m.room.member", {"membership": "join", "displayname": str(number)}, key=guest.user_id, prev=[root]
            )
            for number in range(15)
        )
    )
    ctx = net["one.test"].ctx
    await until(lambda: len(leaves.of(ctx.db, guest.room_id)) <= 10)
    assert members.is_joined(ctx.db, guest.room_id, UserId(alice.user_id))


async def test_what_folds_is_shown_to_servers_only(net: Network) -> None:
    """The event that folds a room reaches other servers; no client gets it, hears of it, or has read the room by it."""
    alice, room = await room_of(net)
    guest = await Guest.enter(net, room)
    root = guest.tip
    await guest.send(*(guest.message(str(number), prev=[root]) for number in range(15)))
    ctx = net["one.test"].ctx
    await until(lambda: len(leaves.of(ctx.db, guest.room_id)) <= 10)
    dummy = next(event for _, event in timeline.scan(ctx.db, guest.room_id, reverse=True) if event.type == DUMMY)
    assert dummy.sender == alice.user_id
    synced = (await alice.get("/_matrix/client/v3/sync"))["rooms"]["join"][room]
    assert DUMMY not in {event["type"] for event in synced["timeline"]["events"]}
    assert synced["unread_notifications"]["notification_count"] == 15
    page = await alice.get(f"/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=100")
    assert DUMMY not in {event["type"] for event in page["chunk"]}
    await alice.get(f"/_matrix/client/v3/rooms/{room}/event/{dummy.event_id}", expect=404)
    await alice.get(f"/_matrix/client/v3/rooms/{room}/context/{dummy.event_id}", expect=404)
    told = await guest.peer.get("one.test", f"/_matrix/federation/v1/event/{dummy.event_id}")
    assert told["pdus"][0]["type"] == DUMMY
