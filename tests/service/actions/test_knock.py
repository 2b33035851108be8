"""Knocking: where one can, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.homeserver import Homeserver
from tests.support.people import people


def knockable(rule: str = "knock") -> list[dict[str, Any]]:
    """Return initial state of a room to knock on."""
    return [{"type": "m.room.join_rules", "content": {"join_rule": rule}}]


@pytest.mark.parametrize(("version", "rule"), [("7", "knock"), ("10", "knock_restricted"), ("12", "knock")])
async def test_knock_then_invite_then_join_enters(hs: Homeserver, version: str, rule: str) -> None:
    """A knock that is answered by an invite leads into the room."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(room_version=version, initial_state=knockable(rule))
    await bob.post(f"/knock/{room_id}", {"reason": "Please"})
    await bob.join(room_id, expect="M_FORBIDDEN")
    await alice.invite(room_id, bob)
    await bob.join(room_id)


@pytest.mark.parametrize(("version", "rule"), [("6", "knock"), ("9", "knock_restricted"), ("11", "invite")])
async def test_knock_where_the_version_or_rule_forbids_is_refused(hs: Homeserver, version: str, rule: str) -> None:
    """A room must know knocking and allow it."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(room_version=version, initial_state=knockable(rule))
    await bob.post(f"/knock/{room_id}", {}, "M_FORBIDDEN")


async def test_knock_by_members_invited_and_banned_is_refused(hs: Homeserver) -> None:
    """Who is in, invited or banned cannot knock."""
    alice, bob, carol = await people(hs, "alice", "bob", "carol")
    room_id = await alice.create_room(initial_state=knockable())
    await alice.invite(room_id, bob)
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": carol.user_id})
    for user in (alice, bob, carol):
        await user.post(f"/knock/{room_id}", {}, "M_FORBIDDEN")


async def test_knock_is_denied_by_a_kick(hs: Homeserver) -> None:
    """A moderator turns a knock away by kicking."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(initial_state=knockable())
    await bob.post(f"/knock/{room_id}")
    await alice.post(f"/rooms/{room_id}/kick", {"user_id": bob.user_id})
    assert (await alice.state(room_id, "m.room.member", bob.user_id))["membership"] == "leave"
