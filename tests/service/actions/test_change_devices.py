"""Renaming and deleting devices."""

from __future__ import annotations

import pytest

from conduit.protocol.errors import NotFound
from conduit.protocol.ids import UserId
from conduit.service.actions import change_devices
from conduit.service.users import devices
from tests.support.homeserver import Homeserver

ALICE = UserId("@alice:localhost")


async def test_new_name_is_told_as_a_change_of_devices(hs: Homeserver) -> None:
    """Others see it with the keys; leaving it as it is tells nothing."""
    await hs.register("alice", device_id="A")
    before = devices.version(hs.ctx.db, ALICE)
    change_devices.rename(hs.ctx, ALICE, "A", None)
    assert devices.version(hs.ctx.db, ALICE) == before
    change_devices.rename(hs.ctx, ALICE, "A", "phone")
    assert devices.version(hs.ctx.db, ALICE) == before + 1
    with pytest.raises(NotFound):
        change_devices.rename(hs.ctx, ALICE, "B", "phone")


async def test_deleting_nothing_tells_nothing(hs: Homeserver) -> None:
    """Devices that are not there change no list."""
    await hs.register("alice", device_id="A")
    before = devices.version(hs.ctx.db, ALICE)
    change_devices.delete(hs.ctx, ALICE, ["B", "C"])
    assert devices.version(hs.ctx.db, ALICE) == before
    change_devices.delete(hs.ctx, ALICE, ["A", "A"])
    assert devices.version(hs.ctx.db, ALICE) == before + 1
    assert devices.ids(hs.ctx.db, ALICE) == []
