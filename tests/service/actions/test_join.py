"""Joining: who is let in, restricted rooms, guests, idempotence."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import GuestAccessForbidden
from conduit.protocol.ids import RoomId, ServerName, UserId
from conduit.service import events
from conduit.service.actions import membership
from conduit.service.actions.join import join
from conduit.service.rooms import members, timeline
from conduit.service.users import accounts
from tests.support.client import User
from tests.support.federation import Network, network
from tests.support.homeserver import Homeserver
from tests.support.outgoing import until
from tests.support.people import people

REJOIN = ("m.room.member", {"membership": "join"})


def rules(join_rule: str, *rooms: str) -> dict[str, Any]:
    """Return an initial join rule; `rooms` are those whose members may join."""
    allow = [{"type": "m.room_membership", "room_id": room_id} for room_id in rooms]
    return {"type": "m.room.join_rules", "content": {"join_rule": join_rule, **({"allow": allow} if allow else {})}}


async def members_of(user: User, room_id: str) -> set[str]:
    """Return who is in a room."""
    return set((await user.get(f"/rooms/{room_id}/joined_members"))["joined"])


async def test_join_twice_changes_nothing(hs: Homeserver) -> None:
    """Joining once more leaves the member event as it is, even under a name for this room only."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{room_id}", {"displayname": "Bobby"})
    before = await bob.get(f"/rooms/{room_id}/state/m.room.member/{bob.user_id}", params={"format": "event"})
    await bob.join(room_id)
    after = await bob.get(f"/rooms/{room_id}/state/m.room.member/{bob.user_id}", params={"format": "event"})
    assert before == after


async def test_join_of_an_invite_room_needs_an_invite(hs: Homeserver) -> None:
    """Who is not invited is refused; who is, gets in."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room()
    await bob.join(room_id, expect="M_FORBIDDEN")
    await alice.invite(room_id, bob)
    await bob.join(room_id)


async def test_join_while_banned_is_refused(hs: Homeserver) -> None:
    """A public room does not let the banned in."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": bob.user_id})
    await bob.join(room_id, expect="M_FORBIDDEN")


async def test_join_restricted_room_with_membership_elsewhere_is_vouched_for(hs: Homeserver) -> None:
    """A member of an allowed room gets in, in the name of a local member who may invite."""
    alice, bob, carol = await people(hs, "alice", "bob", "carol")
    club = await alice.create_room(preset="public_chat")
    for version in ("8", "10", "12"):
        room_id = await alice.create_room(room_version=version, initial_state=[rules("restricted", club)])
        await bob.join(room_id, expect="M_FORBIDDEN")
        await carol.join(club)
        await carol.join(room_id)
        member = await alice.state(room_id, "m.room.member", carol.user_id)
        assert member["join_authorised_via_users_server"] == alice.user_id


async def test_join_restricted_room_after_leaving_the_allowed_one_is_refused(hs: Homeserver) -> None:
    """The condition is checked at the time of the join; who is in already stays."""
    alice, bob = await people(hs, "alice", "bob")
    club = await alice.create_room(preset="public_chat")
    room_id = await alice.create_room(room_version="10", initial_state=[rules("knock_restricted", club)])
    await bob.join(club)
    await bob.join(room_id)
    await bob.leave(club)
    assert bob.user_id in await members_of(alice, room_id)
    await bob.leave(room_id)
    await bob.join(room_id, expect="M_FORBIDDEN")


async def test_join_restricted_room_by_invite_needs_no_condition(hs: Homeserver) -> None:
    """An invite suffices, and nobody vouches."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(room_version="10", initial_state=[rules("restricted", "!nowhere:localhost")])
    await alice.invite(room_id, bob)
    await bob.join(room_id)
    assert "join_authorised_via_users_server" not in await alice.state(room_id, "m.room.member", bob.user_id)


async def test_join_restricted_room_where_nobody_may_invite_is_refused(hs: Homeserver) -> None:
    """Without a local member of sufficient power nobody can be vouched for."""
    alice, bob = await people(hs, "alice", "bob")
    club = await alice.create_room(preset="public_chat")
    room_id = await alice.create_room(
        room_version="10",
        initial_state=[rules("restricted", club)],
        power_level_content_override={"invite": 101},
    )
    await bob.join(club)
    await bob.join(room_id, expect="M_FORBIDDEN")


async def test_join_restricted_room_with_senseless_conditions_is_refused(hs: Homeserver) -> None:
    """Conditions of any shape are no way in, and no error of the server."""
    alice, bob = await people(hs, "alice", "bob")
    for allow in ("x", 5, {"a": 1}, [5, "x", {}, {"type": "m.room_membership"}, {"type": 5, "room_id": []}]):
        event = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
        room_id = await alice.create_room(room_version="10", initial_state=[event])
        await bob.join(room_id, expect="M_FORBIDDEN")


async def test_join_restricted_rule_in_a_version_without_it_is_refused(hs: Homeserver) -> None:
    """Version 7 does not know `restricted`; nobody gets in by it."""
    alice, bob = await people(hs, "alice", "bob")
    club = await alice.create_room(preset="public_chat")
    room_id = await alice.create_room(room_version="7", initial_state=[rules("restricted", club)])
    await bob.join(club)
    await bob.join(room_id, expect="M_FORBIDDEN")


async def test_join_of_a_deserted_room_lets_people_back_in(hs: Homeserver) -> None:
    """A public room of this server stays open after the last member has left."""
    (alice,) = await people(hs, "alice")
    room_id = await alice.create_room(preset="public_chat")
    await alice.leave(room_id)
    await alice.join(room_id)
    assert await members_of(alice, room_id) == {alice.user_id}


async def make_guest(hs: Homeserver, user: User) -> None:
    """Let an account be a guest's."""
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, user.user_id, kind="guest")  # type: ignore[arg-type]


async def test_join_as_guest_needs_guest_access(hs: Homeserver) -> None:
    """Guests enter only where the room says that they can."""
    alice, guest = await people(hs, "alice", "guest")
    await make_guest(hs, guest)
    closed = await alice.create_room(preset="public_chat")
    guests = {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}}
    open_room = await alice.create_room(preset="public_chat", initial_state=[guests])
    await guest.join(closed, expect="M_GUEST_ACCESS_FORBIDDEN")
    await guest.join(open_room)
    joining = {"membership": "join"}
    await guest.set_state(closed, "m.room.member", joining, guest.user_id, expect="M_GUEST_ACCESS_FORBIDDEN")


async def test_join_as_guest_of_a_room_elsewhere_asks_there() -> None:
    """Of a room that welcomes guests, be it by invite; and who says so wrongly has the guest leave again."""
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        guest = await net["two.test"].register("guest")
        await make_guest(net["two.test"], guest)
        welcome = [{"type": "m.room.guest_access", "content": {"guest_access": "can_join"}}]
        opened = await alice.create_room(preset="private_chat", initial_state=welcome)
        closed = await alice.create_room(preset="public_chat")
        await guest.post(f"/join/{opened}?via=one.test", {}, "M_GUEST_ACCESS_FORBIDDEN")
        await guest.post(f"/join/{closed}?via=one.test", {}, "M_GUEST_ACCESS_FORBIDDEN")
        # What was said of a room is remembered for a while.
        await net["two.test"].clock.advance(600)
        await alice.post(f"/rooms/{opened}/invite", {"user_id": guest.user_id})
        await guest.post(f"/join/{opened}", {})
        who, via = UserId(guest.user_id), [ServerName("one.test")]
        with pytest.raises(GuestAccessForbidden):
            await join(net["two.test"].ctx, who, RoomId(closed), via=via, is_guest=True, guests_welcome=True)
        two = net["two.test"].ctx.db
        assert members.is_joined(two, RoomId(opened), UserId(guest.user_id))
        assert not members.is_joined(two, RoomId(closed), UserId(guest.user_id))


async def test_join_by_two_requests_at_once_makes_one_event(hs: Homeserver) -> None:
    """Two equal joins at the same time leave one member event in the timeline."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    tasks = [bob.start(bob.join(room_id)) for _ in range(5)]
    for task in tasks:
        await task

    events = [event for _, event in timeline.scan(hs.ctx.db, RoomId(room_id))]
    assert sum(event.state_key == bob.user_id for event in events) == 1


async def deserted(net: Network) -> tuple[User, User, str]:
    """Return alice, bob of another server, and a public room of alice's that bob was in and both have left, alice the last to know."""
    alice = await net["one.test"].register("alice")
    bob = await net["two.test"].register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{room_id}?via=one.test", {})
    await bob.leave(room_id)
    ctx = net["one.test"].ctx
    await until(lambda: members.membership(ctx.db, RoomId(room_id), UserId(bob.user_id)) == "leave")
    await alice.leave(room_id)
    return alice, bob, room_id


async def test_join_of_a_deserted_room_that_others_do_not_know_either_is_local() -> None:
    """Who was in it before is asked; as nobody is in it any more it is here."""
    async with network("one.test", "two.test") as net:
        alice, _, room_id = await deserted(net)
        await alice.join(room_id)
        assert any("/make_join/" in incoming.path for incoming in net.board.requests)
        assert await members_of(alice, room_id) == {alice.user_id}


async def test_join_of_a_deserted_room_whose_servers_are_silent_is_refused() -> None:
    """It may go on there: a join here would be one into the past."""
    async with network("one.test", "two.test") as net:
        alice, _, room_id = await deserted(net)
        net.board.down("two.test")
        await alice.join(room_id, expect=502)
        assert members.joined(net["one.test"].ctx.db, RoomId(room_id)) == frozenset()


async def test_join_of_a_deserted_room_that_lives_on_elsewhere_goes_there() -> None:
    """By our old state everybody had left; others have come since, and they are found by who was in the room."""
    async with network("one.test", "two.test", "three.test") as net:
        alice, bob, room_id = await deserted(net)
        carol = await net["three.test"].register("carol")
        one, two = net["one.test"].ctx, net["two.test"].ctx
        net.board.cut("one.test", "two.test")
        await events.send(two, RoomId(room_id), UserId(bob.user_id), *REJOIN, state_key=bob.user_id)
        await carol.post(f"/join/{room_id}?via=two.test", {})
        net.board.heal()
        assert membership.is_here(one, RoomId(room_id))
        await alice.join(room_id)
        assert await members_of(alice, room_id) == {alice.user_id, bob.user_id, carol.user_id}


async def test_join_of_a_room_that_only_we_were_in_needs_nobody() -> None:
    """What the client names is tried; where it is silent the room is here all the same, but not against a word of theirs."""
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        room_id = await alice.create_room(preset="public_chat")
        await alice.leave(room_id)
        await alice.post(f"/join/{room_id}?via=dead.test&via=two.test", {})
        await alice.leave(room_id)
        net.peer("far.test").on("GET", ".*/make_join/.*", (403, {"errcode": "M_FORBIDDEN", "error": "Banned"}))
        await alice.post(f"/join/{room_id}?via=far.test", {}, expect="M_FORBIDDEN")
        await alice.join(room_id)
        assert await members_of(alice, room_id) == {alice.user_id}
