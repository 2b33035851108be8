"""Three of our own servers, split and joined again while their people quarrel, agree in the end."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.partition.schedule import Camp, Quarrel
from tests.support.federation import Network, network

SCHEDULES = 200 if os.environ.get("TEST_DEPTH") == "full" else 6
FIRST_SEED = int(os.environ.get("QUARREL_SEED", "1"))
"""Set it to see other quarrels."""
NAMES = ("one.test", "two.test", "three.test")


class Board:
    """The switchboard as the field of a quarrel."""

    def __init__(self, net: Network) -> None:
        self._net = net

    def split(self, groups: list[list[str]]) -> None:
        """Let servers reach only those of their own group."""
        self._net.board.split(*groups)

    def heal(self) -> None:
        """Let everybody reach everybody."""
        self._net.board.heal()

    async def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        await self._net.clock.advance(seconds)

    async def rest(self) -> None:
        """Let threads come to an end."""
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SCHEDULES))
async def test_all_agree_after_a_partition(seed: int) -> None:
    """Whatever is done on each side of a split, the state is the same on all once they hear each other again."""
    async with network(*NAMES) as net:
        camps = [Camp(name, [await net[name].register(user) for user in ("ann", "ben", "cyd")]) for name in NAMES]
        await Quarrel(seed, camps, Board(net)).run()
