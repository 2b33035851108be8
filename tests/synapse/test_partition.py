"""Two of our servers and a Synapse, split and joined again while their people quarrel, agree in the end."""

from __future__ import annotations

import os

import pytest

from tests.partition.schedule import Camp, Quarrel
from tests.support.client import User
from tests.support.synapse import Synapse
from tests.synapse.mixed import ours_beside
from tests.synapse.rooms import FULL
from tests.synapse.sides import Side

SCHEDULES = 20 if FULL else 2
FIRST_SEED = int(os.environ.get("QUARREL_SEED", "1"))
"""Set it to see other quarrels."""
VERSIONS = ("6", "7", "8", "9", "10", "11", "11", "12", "12")
"""Version 12 and those that Synapse resolves as it does the newest but one."""


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SCHEDULES))
async def test_all_agree_after_a_partition(seed: int, running_synapse: Synapse, synapse: Side) -> None:
    """Whatever is done on each side of a split, the state is the same on all once they hear each other again."""
    async with ours_beside(running_synapse, 2) as (servers, field):
        camps = [
            Camp(server.server_name, [await server.register(name) for name in ("ann", "ben", "cyd")])
            for server in servers
        ]
        outside: list[User] = [await synapse.register(name) for name in ("ann", "ben", "cyd")]
        camps.insert(seed % 3, Camp(synapse.name, outside, is_deaf=True))
        await Quarrel(seed, camps, field, versions=VERSIONS).run()
