"""Claiming one-time keys as an act."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import BadJson, InvalidParam
from conduit.protocol.ids import DeviceId, UserId
from conduit.service.actions import claim_keys as act
from conduit.service.keys import one_time_keys
from tests.support.rooms import context

OWNER = UserId("@owner:localhost")


async def test_each_device_gets_one_key_and_other_servers_fail() -> None:
    """Devices without keys are left out, servers out of reach stand in failures."""
    ctx = context()
    with ctx.db.batch() as batch:
        one_time_keys.upload(batch, OWNER, DeviceId("A"), {"curve25519:1": "one", "curve25519:2": "two"})
    wanted = act.parse({OWNER: {"A": "curve25519", "B": "curve25519"}, "@far:away.example": {"C": "curve25519"}})
    answer = await act.claim_keys(ctx, wanted)
    assert list(answer["one_time_keys"]) == [OWNER]
    assert list(answer["one_time_keys"][OWNER]) == ["A"]
    assert list(answer["failures"]) == ["away.example"]
    assert one_time_keys.counts(ctx.db, OWNER, DeviceId("A"))["curve25519"] == 1


@pytest.mark.parametrize("value", [{OWNER: []}, {OWNER: {"A": 1}}, {"owner": {"A": "curve25519"}}])
def test_parse_refuses_other_forms(value: dict[str, Any]) -> None:
    """Users to devices to algorithms, nothing else."""
    with pytest.raises((BadJson, InvalidParam)):
        act.parse(value)
