"""Places go by turns of rooms, households and servers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from conduit.protocol.ids import RoomId, ServerName
from conduit.service.outbound.turns import Turns, household

ONE, TWO = RoomId("!one:a.test"), RoomId("!two:a.test")


class Crowd:
    """Who wants places, and in which order they got them."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.served: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._ends: dict[str, asyncio.Event] = {}

    async def wants(self, room: RoomId, *servers: str) -> None:
        """Let servers want a place each, and keep it."""
        for server in servers:
            self.tasks.append(asyncio.ensure_future(self._hold(room, server)))
        await asyncio.sleep(0)

    async def _hold(self, room: RoomId, server: str) -> None:
        async with self.turns.place(room, ServerName(server)):
            self.served.append(server)
            await self._ends.setdefault(server, asyncio.Event()).wait()

    async def ends(self, server: str) -> None:
        """Let all that a server holds end."""
        self._ends.pop(server).set()
        for _ in range(3):
            await asyncio.sleep(0)


def turns(most: int, *, of_room: int = 99, of_household: int = 99, of_server: int = 99) -> Turns:
    """Return places with only those bounds that matter."""
    return Turns(most, of_room=of_room, of_household=of_household, of_server=of_server)


async def test_advisory_25_one_owner_has_a_part_of_all_places_whatever_names_he_uses() -> None:
    """Forty names under one domain hold two places; another domain has the next at once."""
    crowd = Crowd(turns(4, of_household=2))
    await crowd.wants(ONE, *(f"h{number}.evil.test" for number in range(40)))
    await crowd.wants(ONE, "good.test")
    assert crowd.served == ["h0.evil.test", "h1.evil.test", "good.test"]


async def test_advisory_25_one_room_has_a_part_of_all_places_whoever_is_in_it() -> None:
    """Forty owners in one room hold two places; another room has the next at once."""
    crowd = Crowd(turns(4, of_room=2))
    await crowd.wants(ONE, *(f"evil{number}.test" for number in range(40)))
    await crowd.wants(TWO, "good.test")
    assert crowd.served == ["evil0.test", "evil1.test", "good.test"]


async def test_one_server_has_a_part_of_all_places() -> None:
    """It waits for its own, in their order."""
    crowd = Crowd(turns(4, of_server=2))
    await crowd.wants(ONE, "evil.test", "evil.test", "evil.test", "good.test")
    assert crowd.served == ["evil.test", "evil.test", "good.test"]
    await crowd.ends("evil.test")
    assert crowd.served[3:] == ["evil.test"]


async def test_advisory_25_who_waits_is_served_by_turns_of_rooms_and_owners() -> None:
    """All places are taken. Of those who wait the next is of the room, and there of the owner, whose turn was longest ago."""
    crowd = Crowd(turns(1))
    await crowd.wants(ONE, "first.test", *(f"h{number}.evil.test" for number in range(5)), "late.test")
    await crowd.wants(TWO, "other.test")
    for server in ("first.test", "h0.evil.test", "other.test", "late.test"):
        assert crowd.served[-1] == server
        await crowd.ends(server)
    assert crowd.served[-1] == "h1.evil.test"


async def test_who_gives_up_waiting_leaves_no_trace() -> None:
    """Neither while waiting nor with a place that has just been handed over."""
    places = turns(1)
    crowd = Crowd(places)
    await crowd.wants(ONE, "first.test", "waits.test", "next.test")
    assert places.is_wanted(ONE, ServerName("first.test"))
    crowd.tasks[1].cancel()
    await asyncio.sleep(0)
    crowd.tasks[0].cancel()
    crowd.tasks[2].cancel()
    await asyncio.gather(*crowd.tasks, return_exceptions=True)
    assert not places.is_wanted(ONE, ServerName("first.test"))
    async with AsyncExitStack() as stack, asyncio.timeout(5):
        await stack.enter_async_context(places.place(TWO, ServerName("last.test")))


async def test_place_is_wanted_by_others_only() -> None:
    """By those who would get it: not by servers of the same owner, nor by one that has its part, nor for a room that has its part."""
    places = turns(3, of_room=2, of_household=2)
    crowd = Crowd(places)
    await crowd.wants(ONE, "a.one.test", "two.test", "b.one.test")
    assert not places.is_wanted(ONE, ServerName("a.one.test"))
    assert places.is_wanted(ONE, ServerName("two.test"))
    await crowd.wants(TWO, "c.one.test", "d.one.test")
    assert not places.is_wanted(TWO, ServerName("c.one.test"))
    await crowd.wants(ONE, "three.test")
    assert places.is_wanted(ONE, ServerName("a.one.test"))
    assert not places.is_wanted(TWO, ServerName("c.one.test"))


@pytest.mark.parametrize(
    ("server", "owner"),
    [
        ("example.org", "example.org"),
        ("Matrix.Example.ORG:8448", "example.org"),
        ("a.b.c.example.org", "example.org"),
        ("matrix.example.co.uk", "example.co.uk"),
        ("example.co.uk", "example.co.uk"),
        ("m.uni.de", "m.uni.de"),
        ("localhost:8448", "localhost"),
        ("192.0.2.7:8448", "192.0.2"),
        ("[2001:db8:1:2::7]:8448", "2001:0db8:0001"),
        ("[2001:db8:1:2::7]", "2001:0db8:0001"),
    ],
)
def test_household_is_what_somebody_has_registered(server: str, owner: str) -> None:
    """Of a name the domain, with the registry's own part; of an address the network."""
    assert household(ServerName(server)) == owner
