"""Both sides change the same things at once, and agree on what holds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.client import segment
from tests.synapse.rooms import FULL, VERSIONS, Room, allow, met
from tests.synapse.sides import Person, Side, agree

ROUNDS = 12 if FULL else 4


async def put_state(person: Person, room_id: str, event_type: str, content: Any, key: str = "") -> None:
    """Set a piece of state; it may be refused, as somebody else has just changed what is allowed."""
    path = f"/_matrix/client/v3/rooms/{segment(room_id)}/state/{segment(event_type)}/{segment(key)}"
    answer = await person.raw("PUT", path, content)
    assert answer.status in (200, 403), answer.body


async def both_topics(room: Room, number: int) -> None:
    """Topic and name from both sides."""
    await asyncio.gather(
        *(
            put_state(person, room.id, f"m.room.{kind}", {kind: f"{number} of {person.user_id}"})
            for person in (room.host, room.guest)
            for kind in ("topic", "name")
        )
    )


@pytest.mark.parametrize("version", VERSIONS)
async def test_topics_at_once(version: str, host: Side, guest: Side) -> None:
    """Topics and names set by both sides at the same time, again and again."""
    room = await met(host, guest, version)
    await allow(room, room.guest, 50)
    for number in range(ROUNDS):
        await both_topics(room, number)
    await room.agree()


@pytest.mark.parametrize("version", VERSIONS)
async def test_power_levels_at_once(version: str, host: Side, guest: Side) -> None:
    """Power levels set by both sides at the same time, with topics that one or the other then forbids."""
    room = await met(host, guest, version)
    await allow(room, room.guest, 90)
    here, there = await host.register("here"), await guest.register("there")
    await here.join(room.id)
    await there.join(room.id)
    await room.guest.sees_member(room.id, here, "join")
    await room.host.sees_member(room.id, there, "join")
    for number in range(ROUNDS):
        levels = await room.host.state(room.id, "m.room.power_levels")
        of_host = {**levels, "users": {**levels["users"], there.user_id: 10 + number, room.guest.user_id: 90}}
        of_guest = {**levels, "users": {**levels["users"], here.user_id: 50 + number}, "state_default": 50 - number}
        await asyncio.gather(
            put_state(room.host, room.id, "m.room.power_levels", of_host),
            put_state(room.guest, room.id, "m.room.power_levels", of_guest),
            put_state(here, room.id, "m.room.topic", {"topic": f"here {number}"}),
            put_state(there, room.id, "m.room.topic", {"topic": f"there {number}"}),
        )
        await both_topics(room, number)
    await agree(room.id, room.host, room.guest, here, there)


@pytest.mark.parametrize("version", VERSIONS)
async def test_one_side_demotes_while_the_other_acts(version: str, host: Side, guest: Side) -> None:
    """What somebody does while losing the right to do so holds on both sides or on none."""
    room = await met(host, guest, version)
    target = await host.register("target")
    await target.join(room.id)
    await room.guest.sees_member(room.id, target, "join")
    for number in range(ROUNDS):
        await allow(room, room.guest, 60)
        levels = await room.host.state(room.id, "m.room.power_levels")
        demoted = {**levels, "users": {**levels["users"], room.guest.user_id: 0}}
        membership = "ban" if number % 2 else "leave"
        await asyncio.gather(
            put_state(room.host, room.id, "m.room.power_levels", demoted),
            put_state(room.guest, room.id, "m.room.member", {"membership": membership}, target.user_id),
            put_state(room.guest, room.id, "m.room.join_rules", {"join_rule": "invite" if number % 2 else "public"}),
        )
        await room.agree()
        await put_state(room.host, room.id, "m.room.member", {"membership": "leave"}, target.user_id)
        await room.host.set_state(room.id, "m.room.join_rules", {"join_rule": "public"})
        await target.join(room.id)
        await room.agree()
