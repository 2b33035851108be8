"""Whole states of rooms count by the number of members."""

from __future__ import annotations

import pytest

from conduit.config.schema import Rate, RateLimits
from tests.support.client import segment
from tests.support.federation import network
from tests.support.outgoing import enter
from tests.support.visitor import FEDERATION, Visitor

EVE = "@eve:peer.test"


@pytest.mark.parametrize("kind", ["state", "state_ids"])
async def test_advisory_25_states_of_large_rooms_count_as_many_requests(kind: str) -> None:
    """Who asks for one after the other is told to wait; single events can still be asked for."""
    rates = RateLimits(federation=Rate(per_second=0.1, burst=28))
    async with network("one.test", rate_limits=rates) as net:
        alice = await net["one.test"].register("alice")
        room = await alice.create_room(preset="public_chat")
        eve = Visitor(net.peer("peer.test"), "one.test")
        joined = await eve.join(room, EVE)
        target = f"{FEDERATION}/v1/{kind}/{segment(room)}?event_id={segment(joined.event.event_id)}"
        for _ in range(5):
            await eve.peer.get("one.test", target)
        for number in range(250):
            enter(net["one.test"], room, f"@u{number}:peer.test")
        await eve.peer.get("one.test", target)
        await eve.peer.get("one.test", target, "M_LIMIT_EXCEEDED")
        await eve.peer.get("one.test", f"{FEDERATION}/v1/event/{segment(joined.event.event_id)}")
        net.clock.jump(120)
        await eve.peer.get("one.test", target)


async def test_advisory_25_joins_that_want_the_whole_state_count_as_many_requests() -> None:
    """Those that leave members out do not."""
    rates = RateLimits(federation=Rate(per_second=0.1, burst=30))
    async with network("one.test", rate_limits=rates) as net:
        alice = await net["one.test"].register("alice")
        room = await alice.create_room(preset="public_chat")
        for number in range(250):
            enter(net["one.test"], room, f"@u{number}:peer.test")
        eve = Visitor(net.peer("peer.test"), "one.test")
        for number in range(2):
            await eve.join(room, f"@eve{number}:peer.test")
        last = await eve.signed("join", room, EVE)
        await eve.send("join", last, "M_LIMIT_EXCEEDED")
        await eve.send("join", last, query="?omit_members=true")
