"""Rooms of both sides, for tests that need one to begin with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from tests.synapse.sides import Person, Side, agree

FULL = os.environ.get("TEST_DEPTH") == "full"
VERSIONS = ("6", "9", "10", "11", "12")
ONE_VERSION = VERSIONS if FULL else ("12",)
"""For what depends little on the version and takes long."""


@dataclass
class Room:
    """A room with one person of each side in it; the host has made it."""

    id: str
    host: Person
    guest: Person

    async def agree(self) -> None:
        """Wait until both sides have the same state."""
        await agree(self.id, self.host, self.guest)


async def public_room(host: Person, version: str = "12", **options: Any) -> str:
    """Return a new room that everybody may join."""
    return await host.create_room(preset="public_chat", room_version=version, **options)


async def met(host: Side, guest: Side, version: str = "12", **options: Any) -> Room:
    """Return a room where somebody of the guests has joined, and both know."""
    host_person, guest_person = await host.register("host"), await guest.register("guest")
    room_id = await public_room(host_person, version, **options)
    await guest_person.join_via(room_id, host)
    room = Room(room_id, host_person, guest_person)
    await host_person.sees_member(room_id, guest_person, "join")
    await guest_person.sees_member(room_id, guest_person, "join")
    return room


async def allow(room: Room, person: Person, level: int) -> None:
    """Give somebody a power level, and wait until both sides know."""
    levels = await room.host.state(room.id, "m.room.power_levels")
    levels["users"] = {**levels.get("users", {}), person.user_id: level}
    event_id = await room.host.set_state(room.id, "m.room.power_levels", levels)
    await room.guest.sees(room.id, event_id)


async def talk(room: Room) -> None:
    """Let each person say something, and the other see it."""
    await room.guest.sees(room.id, await room.host.send(room.id, "from the host"))
    await room.host.sees(room.id, await room.guest.send(room.id, "from the guest"))
