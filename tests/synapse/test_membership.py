"""Memberships over federation with a real Synapse; each test with the room on either side."""

from __future__ import annotations

import pytest

from tests.support.client import Json
from tests.synapse.rooms import VERSIONS, allow, met, public_room, talk
from tests.synapse.sides import Side, agree

KNOCKING = tuple(version for version in VERSIONS if int(version) >= 7)
RESTRICTED = tuple(version for version in VERSIONS if int(version) >= 8)
KNOCK_RESTRICTED = tuple(version for version in VERSIONS if int(version) >= 10)


def content_of(stripped: list[Json], event_type: str, key: str = "") -> Json | None:
    """Return the content of a piece of stripped state."""
    for event in stripped:
        if (event["type"], event["state_key"]) == (event_type, key):
            content: Json = event["content"]
            return content
    return None


@pytest.mark.parametrize("version", VERSIONS)
async def test_join(version: str, host: Side, guest: Side) -> None:
    """A public room is joined from the other side; both talk there and have the same state."""
    room = await met(host, guest, version, name="A room", topic="All and sundry")
    await room.agree()
    await talk(room)
    assert (await room.guest.state(room.id, "m.room.create"))["room_version"] == version
    second = await guest.register("second")
    await second.join(room.id)
    await room.host.sees_member(room.id, second, "join")
    await agree(room.id, room.host, room.guest, second)


async def test_join_by_alias(host: Side, guest: Side) -> None:
    """An alias of the other side leads to the room, without a server being named."""
    owner, visitor = await host.register("owner"), await guest.register("visitor")
    name = owner.user_id[1:].partition(":")[0]
    room_id = await public_room(owner, room_alias_name=name)
    assert (await visitor.join(f"#{name}:{host.name}"))["room_id"] == room_id
    await owner.sees_member(room_id, visitor, "join")
    await agree(room_id, owner, visitor)


@pytest.mark.parametrize("version", VERSIONS)
async def test_invite_is_accepted(version: str, host: Side, guest: Side) -> None:
    """An invite tells what room it is to; the invited join, and invite somebody of the first side in turn."""
    owner, friend = await host.register("owner"), await guest.register("friend")
    room_id = await owner.create_room(
        preset="private_chat", name="Private", room_version=version, invite=[friend.user_id], is_direct=True
    )
    stripped = await friend.is_invited(room_id)
    assert content_of(stripped, "m.room.name") == {"name": "Private"}
    own = content_of(stripped, "m.room.member", friend.user_id)
    assert own is not None
    assert (own["membership"], own["is_direct"]) == ("invite", True)
    await friend.join(room_id)
    await owner.sees_member(room_id, friend, "join")
    await agree(room_id, owner, friend)
    another = await host.register("another")
    await friend.invite(room_id, another)
    await another.is_invited(room_id)
    await another.join(room_id)
    await friend.sees_member(room_id, another, "join")
    await agree(room_id, owner, friend, another)


@pytest.mark.parametrize("version", VERSIONS)
async def test_invite_is_rejected_or_withdrawn(version: str, host: Side, guest: Side) -> None:
    """A rejected invite is seen to be; one that is withdrawn goes away; a second one can be accepted."""
    owner, friend = await host.register("owner"), await guest.register("friend")
    room_id = await owner.create_room(preset="private_chat", room_version=version)
    await owner.invite(room_id, friend)
    await friend.is_invited(room_id)
    await friend.leave(room_id)
    await owner.sees_member(room_id, friend, "leave")
    await friend.until(lambda: room_id not in friend.seen.invited, "the end of the invite")
    await owner.invite(room_id, friend)
    await friend.is_invited(room_id)
    await owner.kick(room_id, friend)
    await friend.until(lambda: room_id not in friend.seen.invited, "the withdrawal")
    await friend.join_via(room_id, host, expect=403)
    await owner.invite(room_id, friend)
    await friend.is_invited(room_id)
    await friend.join(room_id)
    await agree(room_id, owner, friend)


@pytest.mark.parametrize("version", KNOCKING)
async def test_knock(version: str, host: Side, guest: Side) -> None:
    """Who knocks can be let in, can be refused, and can think better of it."""
    owner = await host.register("owner")
    room_id = await public_room(owner, version, name="Knock, please")
    await owner.set_state(room_id, "m.room.join_rules", {"join_rule": "knock"})
    welcome, refused, gone = [await guest.register(name) for name in ("welcome", "refused", "gone")]
    for person in (welcome, refused, gone):
        await person.join_via(room_id, host, expect=403)
        await person.knock_via(room_id, host)
        stripped = await person.until(lambda person=person: person.seen.knocked.get(room_id), "its own knock")  # type: ignore[misc]
        assert content_of(stripped, "m.room.name") == {"name": "Knock, please"}
        await owner.sees_member(room_id, person, "knock")
    await gone.leave(room_id)
    if guest.is_ours:
        # Synapse keeps that to itself.
        await owner.sees_member(room_id, gone, "leave")
    await owner.invite(room_id, welcome)
    await welcome.is_invited(room_id)
    await welcome.join(room_id)
    await owner.sees_member(room_id, welcome, "join")
    # Synapse does not tell a side that is not in the room, nor let itself be told.
    await owner.kick(room_id, refused)
    await refused.until(lambda: room_id not in refused.seen.knocked, "the refusal")
    await agree(room_id, owner, welcome)


@pytest.mark.parametrize("version", RESTRICTED)
async def test_restricted_join(version: str, host: Side, guest: Side) -> None:
    """Members of a room that is named may join another, also once the guests' side is in that one itself."""
    owner = await host.register("owner")
    club = await public_room(owner, version)
    hall = await public_room(owner, version)
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": club}]}
    await owner.set_state(hall, "m.room.join_rules", rule)
    first, second, stranger = [await guest.register(name) for name in ("first", "second", "stranger")]
    await first.join_via(hall, host, expect=403)
    for person in (first, second):
        await person.join_via(club, host)
        await owner.sees_member(club, person, "join")
        await person.join_via(hall, host)
        await owner.sees_member(hall, person, "join")
    await stranger.join_via(hall, host, expect=403)
    await agree(hall, owner, first, second)
    assert (await owner.state(hall, "m.room.member", second.user_id))["membership"] == "join"


@pytest.mark.parametrize("version", KNOCK_RESTRICTED)
async def test_knock_restricted_join(version: str, host: Side, guest: Side) -> None:
    """Members of the named room join, others knock."""
    owner = await host.register("owner")
    club = await public_room(owner, version)
    hall = await public_room(owner, version)
    rule = {"join_rule": "knock_restricted", "allow": [{"type": "m.room_membership", "room_id": club}]}
    await owner.set_state(hall, "m.room.join_rules", rule)
    member, stranger = await guest.register("member"), await guest.register("stranger")
    await member.join_via(club, host)
    await member.join_via(hall, host)
    await owner.sees_member(hall, member, "join")
    await stranger.join_via(hall, host, expect=403)
    await stranger.knock_via(hall, host)
    await owner.sees_member(hall, stranger, "knock")
    await agree(hall, owner, member)


@pytest.mark.parametrize("version", VERSIONS)
async def test_kick_and_ban(version: str, host: Side, guest: Side) -> None:
    """Both sides remove and ban people of the other; the banned stay out until that ends."""
    room = await met(host, guest, version)
    owner, moderator = room.host, room.guest
    await allow(room, moderator, 50)
    here, there = await host.register("here"), await guest.register("there")
    await here.join(room.id)
    await there.join(room.id)
    await moderator.sees_member(room.id, here, "join")
    await owner.sees_member(room.id, there, "join")

    await owner.kick(room.id, there)
    await there.until(lambda: room.id in there.seen.left, "being removed")
    await moderator.kick(room.id, here)
    await here.until(lambda: room.id in here.seen.left, "being removed")
    await there.join_via(room.id, host)
    await here.join(room.id)
    await there.until(lambda: room.id in there.seen.joined, "being back")
    await here.until(lambda: room.id in here.seen.joined, "being back")
    await agree(room.id, owner, moderator, here, there)

    await owner.ban(room.id, there)
    await there.until(lambda: room.id in there.seen.left, "being banned")
    await there.join_via(room.id, host, expect=403)
    await moderator.sees_member(room.id, there, "ban")
    await moderator.ban(room.id, here)
    await here.until(lambda: room.id in here.seen.left, "being banned")
    await here.join(room.id, expect=403)
    await owner.unban(room.id, there)
    await moderator.sees_member(room.id, there, "leave")
    await there.join_via(room.id, host)
    await agree(room.id, owner, moderator, there)


@pytest.mark.parametrize("version", VERSIONS)
async def test_banned_by_a_side_that_nobody_of_the_other_is_left_on(version: str, host: Side, guest: Side) -> None:
    """The only guest is banned: the ban reaches its side, which is no longer in the room, and holds there too."""
    room = await met(host, guest, version)
    await room.host.ban(room.id, room.guest)
    await room.guest.until(lambda: room.id in room.guest.seen.left, "being banned")
    await room.guest.join_via(room.id, host, expect=403)
    await room.host.unban(room.id, room.guest)
    await room.guest.join_via(room.id, host)
    await room.host.sees_member(room.id, room.guest, "join")
    await room.agree()


@pytest.mark.parametrize("version", VERSIONS)
async def test_leave_and_rejoin(version: str, host: Side, guest: Side) -> None:
    """A side that has left learns what happened when it comes back; so does the one that made the room."""
    room = await met(host, guest, version)
    await talk(room)
    await room.guest.leave(room.id)
    await room.host.sees_member(room.id, room.guest, "leave")
    await room.host.set_state(room.id, "m.room.topic", {"topic": "Without you"})
    await room.host.send(room.id, "nobody there")
    await room.guest.join_via(room.id, host)
    await room.host.sees_member(room.id, room.guest, "join")
    assert await room.guest.state(room.id, "m.room.topic") == {"topic": "Without you"}
    await room.agree()

    await room.host.leave(room.id)
    await room.guest.sees_member(room.id, room.host, "leave")
    said = await room.guest.send(room.id, "and now without you")
    await room.host.join_via(room.id, guest)
    await room.guest.sees_member(room.id, room.host, "join")
    await room.agree()
    await talk(room)
    history = await room.host.messages(room.id, limit=50)
    assert said in [event["event_id"] for event in history["chunk"]]
