"""Jumping to a date that lies before this server was in the room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.service.browse import by_time_elsewhere
from tests.support.client import segment
from tests.support.federation import Network, network


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """Two homeservers."""
    async with network("one.test", "two.test") as found:
        yield found


async def jump(user: Any, room: str, ts: int, direction: str, expect: int = 200) -> Any:
    """Ask for the event closest to a time."""
    return await user.get(
        f"/_matrix/client/v1/rooms/{segment(room)}/timestamp_to_event?ts={ts}&dir={direction}", expect=expect
    )


async def test_event_from_before_the_join_is_found(net: Network) -> None:
    """The newcomer's server has none of that history yet, and gets it."""
    alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
    room = await alice.create_room(preset="public_chat")
    sent = []
    for number in range(5):
        net.clock.jump(60)
        sent.append((net.clock.now_ms(), await alice.send(room, str(number))))
    net.clock.jump(60)
    await bob.post(f"/join/{segment(room)}?via=one.test", {})
    for ts, event_id in sent:
        for direction, asked in (("f", ts - 1000), ("b", ts + 1000)):
            found = await jump(bob, room, asked, direction)
            assert found == {"event_id": event_id, "origin_server_ts": ts}
    shown = await bob.get(f"/rooms/{segment(room)}/context/{segment(sent[2][1])}")
    assert shown["event"]["content"]["body"] == "2"


async def test_event_that_is_too_far_off_is_named_by_another_server(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many events lie between: what the other server says is passed on. Of fewer all are fetched."""
    monkeypatch.setattr(by_time_elsewhere, "MAX_FETCHES", 2)
    alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
    room = await alice.create_room(preset="public_chat")
    net.clock.jump(60)
    first, ts = await alice.send(room, "first"), net.clock.now_ms()
    for number in range(350):
        net.clock.jump(1)
        await alice.send(room, str(number))
    await bob.post(f"/join/{segment(room)}?via=one.test", {})
    target = f"/rooms/{segment(room)}/event/{segment(first)}"
    assert await jump(bob, room, ts - 1000, "f") == {"event_id": first, "origin_server_ts": ts}
    await bob.get(target, expect=404)
    monkeypatch.undo()
    assert await jump(bob, room, ts - 1000, "f") == {"event_id": first, "origin_server_ts": ts}
    assert (await bob.get(target))["content"]["body"] == "first"


async def test_nothing_on_that_side_of_the_time_is_not_found(net: Network) -> None:
    """After the newest event there is nothing, however many are asked."""
    alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{segment(room)}?via=one.test", {})
    await jump(bob, room, net.clock.now_ms() + 10_000, "f", expect=404)
