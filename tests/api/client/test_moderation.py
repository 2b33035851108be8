"""Inviting, kicking, banning and unbanning by their endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.homeserver import Homeserver
from tests.support.people import people

PATHS = ("invite", "kick", "ban", "unban")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"user_id": None}, "M_MISSING_PARAM"),
        ({"user_id": 5}, "M_BAD_JSON"),
        ({"user_id": "bob"}, "M_INVALID_PARAM"),
        ({"user_id": "@bob"}, "M_INVALID_PARAM"),
        ({"user_id": "@" + "b" * 300 + ":c"}, "M_INVALID_PARAM"),
        ({"user_id": "@bob:localhost", "reason": 5}, "M_BAD_JSON"),
    ],
)
async def test_moderation_of_nonsense_is_refused(hs: Homeserver, path: str, body: dict[str, Any], errcode: str) -> None:
    """Wrong types and malformed users have the fitting code."""
    (alice,) = await people(hs, "alice")
    room_id = await alice.create_room()
    await alice.post(f"/rooms/{room_id}/{path}", body, errcode)


@pytest.mark.parametrize("path", PATHS)
async def test_moderation_in_rooms_one_is_not_in_is_refused(hs: Homeserver, path: str) -> None:
    """Neither strangers nor former members act in a room, and unknown rooms look the same."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/rooms/{room_id}/{path}", {"user_id": "@carol:localhost"}, "M_FORBIDDEN")
    await bob.post(f"/rooms/!nowhere:localhost/{path}", {"user_id": "@carol:localhost"}, "M_FORBIDDEN")
    await bob.post(f"/rooms/nowhere/{path}", {"user_id": "@carol:localhost"}, "M_INVALID_PARAM")
    await bob.join(room_id)
    await bob.leave(room_id)
    await bob.post(f"/rooms/{room_id}/{path}", {"user_id": "@carol:localhost"}, "M_FORBIDDEN")


async def test_invite_by_third_party_identifier_is_read_with_care(hs: Homeserver) -> None:
    """A malformed one is told what it lacks; an identity server that cannot be reached is no fault of this one."""
    (alice,) = await people(hs, "alice")
    room_id = await alice.create_room()
    body = {"medium": "email", "address": "a@b.c", "id_server": "x.y", "id_access_token": "z"}
    await alice.post(f"/rooms/{room_id}/invite", {**body, "id_server": "127.0.0.1:1"}, "M_CONNECTION_FAILED")
    for bad in ({"id_server": "https://x.y"}, {"address": "nobody"}, {"medium": ""}, {"id_access_token": "a\nb: c"}):
        await alice.post(f"/rooms/{room_id}/invite", {**body, **bad}, "M_INVALID_PARAM")
    for name in body:
        await alice.post(f"/rooms/{room_id}/invite", {key: body[key] for key in body if key != name}, "M_MISSING_PARAM")


async def test_reasons_reach_the_member_event(hs: Homeserver) -> None:
    """Each act carries its reason."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room()
    for path, membership in (("invite", "invite"), ("kick", "leave"), ("ban", "ban"), ("unban", "leave")):
        await alice.post(f"/rooms/{room_id}/{path}", {"user_id": bob.user_id, "reason": f"because of {path}"})
        member = await alice.state(room_id, "m.room.member", bob.user_id)
        assert (member["membership"], member["reason"]) == (membership, f"because of {path}")
