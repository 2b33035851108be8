"""The network of tests itself: servers reach each other, and no longer when it is cut."""

from __future__ import annotations

import pytest

from conduit.service.outbound.errors import Refused, Unreachable
from tests.support.federation import network


async def test_two_homeservers_reach_each_other_until_they_are_split() -> None:
    """A signed request arrives, is verified with keys fetched on the way, and fails while the network is split."""
    async with network("one.test", "two.test") as net:
        federation = net["one.test"].ctx.outbound.federation
        answer = await federation.get("two.test", "/_matrix/federation/v1/version")
        assert answer["server"]["name"] == "Conduit-py"
        net.board.split(["one.test"], ["two.test"])
        with pytest.raises(Unreachable):
            await federation.get("two.test", "/_matrix/federation/v1/version")
        net.board.heal()
        assert await federation.get("two.test", "/_matrix/federation/v1/version", now=True) == answer


async def test_peer_is_believed_when_it_signs() -> None:
    """A scripted server's signed request is answered by the route, and what it does not script is refused."""
    async with network("one.test") as net:
        peer = net.peer("peer.test")
        await peer.get("one.test", "/_matrix/federation/v1/version")
        with pytest.raises(Refused) as caught:
            await net["one.test"].ctx.outbound.federation.get("peer.test", "/_matrix/federation/v1/event/x")
        assert (caught.value.status, caught.value.errcode) == (404, "M_UNRECOGNIZED")
        assert peer.received[0].path == "/_matrix/federation/v1/event/x"
