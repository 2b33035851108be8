"""Tests of invites from other servers, and of their being taken back."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import RoomId, ServerName, UserId
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.service.actions import receive_invite
from conduit.service.rooms import members, stripped_state
from tests.support.federation import Network, network
from tests.support.foreign_room import ForeignRoom

EVE = "@eve:peer.test"
PEER = ServerName("peer.test")


@pytest.fixture
async def net() -> Any:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


async def outside(net: Network, membership: str, told: list[Any] | None = None) -> tuple[ForeignRoom, RoomId, UserId]:
    """Return a foreign room, and a local user with a membership of it."""
    alice = await net["one.test"].register("alice")
    user_id = UserId(alice.user_id)
    room = ForeignRoom(net.peer("peer.test"), EVE)
    stripped = [stripped_state.strip(event) for event in room.state.values()] if told is None else told
    own = {"type": "m.room.member", "state_key": user_id, "sender": EVE, "content": {"membership": membership}}
    with net["one.test"].ctx.db.batch() as batch:
        members.record(
            batch, RoomId(room.id), user_id, membership, count=batch.next_count(), event=0, stripped=[*stripped, own]
        )
    return room, RoomId(room.id), user_id


@pytest.mark.parametrize("before", ["invite", "knock"])
@pytest.mark.parametrize("after", ["leave", "ban"])
async def test_invite_or_knock_comes_to_nothing(net: Network, before: str, after: str) -> None:
    """By a leave or ban of a server that has made the room."""
    room, room_id, user_id = await outside(net, before)
    ctx = net["one.test"].ctx
    event = room.build("m.room.member", {"membership": after}, key=user_id)
    assert await receive_invite.rescind(ctx, PEER, event.pdu)
    assert members.membership(ctx.db, room_id, user_id) == after
    assert not await receive_invite.rescind(ctx, PEER, event.pdu), "there is nothing left to take back"


async def test_what_came_before_an_invite_does_not_end_it(net: Network) -> None:
    """An invite is sent at once, so that the end of a ban may arrive after it. The invite's own end cites it."""
    alice = await net["one.test"].register("alice")
    ctx, user_id = net["one.test"].ctx, UserId(alice.user_id)
    room = ForeignRoom(net.peer("peer.test"), EVE)
    earlier = [room.add("m.room.member", {"membership": what}, key=user_id) for what in ("invite", "ban", "leave")]
    invite = room.add("m.room.member", {"membership": "invite"}, key=user_id)
    room_id = RoomId(room.id)
    await receive_invite.receive_invite(
        ctx, PEER, room_id, invite.event_id, invite.pdu, room.version, [stripped_state.strip(room.events[0])]
    )
    assert members.waits_by(ctx.db, room_id, user_id) == (invite.event_id, invite.depth, room.version.id)
    assert all(len(item) == 4 for item in members.invite_state(ctx.db, room_id, user_id))
    for late in earlier:
        assert not await receive_invite.rescind(ctx, PEER, late.pdu)
    assert members.membership(ctx.db, room_id, user_id) == "invite"
    end = room.build("m.room.member", {"membership": "leave"}, key=user_id)
    assert await receive_invite.rescind(ctx, PEER, end.pdu)
    assert members.membership(ctx.db, room_id, user_id) == "leave"


@pytest.mark.parametrize("membership", ["leave", "ban"])
async def test_moderator_of_a_third_server_ends_an_invite_by_citing_it(net: Network, membership: str) -> None:
    """Nothing told of their server; but only who is in the room knows the invite's id. It must be their own server that says so, and signs."""
    alice = await net["one.test"].register("alice")
    ctx, user_id = net["one.test"].ctx, UserId(alice.user_id)
    room = ForeignRoom(net.peer("peer.test"), EVE)
    third = net.peer("third.test")
    invite = room.add("m.room.member", {"membership": "invite"}, key=user_id)
    room_id = RoomId(room.id)
    told = [stripped_state.strip(room.events[0])]
    await receive_invite.receive_invite(ctx, PEER, room_id, invite.event_id, invite.pdu, room.version, told)

    def end(auth: list[Any], **options: Any) -> Any:
        content = {"membership": membership}
        return third.event(
            room.version,
            "m.room.member",
            sender="@mod:third.test",
            content=content,
            room_id=room.id,
            state_key=user_id,
            prev=[invite],
            auth=auth,
            **options,
        ).pdu

    name = ServerName("third.test")
    assert not await receive_invite.rescind(ctx, name, end([room.events[0]]))
    assert not await receive_invite.rescind(ctx, PEER, end([room.events[0], invite]))
    assert not await receive_invite.rescind(ctx, name, end([room.events[0], invite], key=net.peer("x.test").key))
    assert members.membership(ctx.db, room_id, user_id) == "invite"
    assert await receive_invite.rescind(ctx, name, end([room.events[0], invite]))
    assert members.membership(ctx.db, room_id, user_id) == membership


async def test_invite_without_anything_of_the_room_is_taken_back_too(net: Network) -> None:
    """Its version came with the invite, and the inviter is believed."""
    alice = await net["one.test"].register("alice")
    ctx, user_id = net["one.test"].ctx, UserId(alice.user_id)
    room = ForeignRoom(net.peer("peer.test"), EVE)
    invite = room.add("m.room.member", {"membership": "invite"}, key=user_id)
    await receive_invite.receive_invite(ctx, PEER, RoomId(room.id), invite.event_id, invite.pdu, room.version, [])
    assert receive_invite.told_version(ctx, RoomId(room.id), user_id) is room.version
    shown = (await alice.sync())["rooms"]["invite"][room.id]["invite_state"]["events"]
    assert [event.keys() for event in shown] == [{"type", "state_key", "sender", "content"}]
    end = room.add("m.room.member", {"membership": "leave"}, key=user_id)
    assert await receive_invite.rescind(ctx, PEER, end.pdu)
    assert members.membership(ctx.db, RoomId(room.id), user_id) == "leave"


async def test_room_that_was_not_told_by_its_create_event_cannot_be_left_so(net: Network) -> None:
    """Of an invite that an earlier release has kept: without a version no event can be read."""
    room, room_id, user_id = await outside(net, "invite", told=[])
    ctx = net["one.test"].ctx
    event = room.build("m.room.member", {"membership": "leave"}, key=user_id)
    assert receive_invite.told_version(ctx, room_id, user_id) is None
    assert not await receive_invite.rescind(ctx, PEER, event.pdu)
    assert members.membership(ctx.db, room_id, user_id) == "invite"


@pytest.mark.parametrize("version", [[], {}, 5, None, "org.odd"])
async def test_advisory_11_room_told_with_an_odd_version_cannot_be_left_so(net: Network, version: Any) -> None:
    """Whoever invites says what he likes of the room: it raises nothing when the invite is taken back."""
    create = {"type": "m.room.create", "state_key": "", "sender": EVE, "content": {"room_version": version}}
    room, room_id, user_id = await outside(net, "invite", told=[create])
    ctx = net["one.test"].ctx
    event = room.build("m.room.member", {"membership": "leave"}, key=user_id)
    assert receive_invite.told_version(ctx, room_id, user_id) is None
    assert not await receive_invite.rescind(ctx, PEER, event.pdu)


@pytest.mark.parametrize("pdu", [None, 7, [], {}, {"room_id": 7}, {"room_id": "!a:b", "state_key": "x", "sender": []}])
async def test_taking_back_by_what_is_no_event_does_nothing(net: Network, pdu: Any) -> None:
    """And raises nothing."""
    assert not await receive_invite.rescind(net["one.test"].ctx, PEER, pdu)


async def test_member_of_a_room_that_this_server_is_in_is_not_removed_so(net: Network) -> None:
    """There the room's own rules decide."""
    server = net["one.test"]
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="private_chat", invite=[bob.user_id])
    leave = net.peer("peer.test").event(
        "12", "m.room.member", sender=EVE, content={"membership": "leave"}, room_id=room_id, state_key=bob.user_id
    )
    assert not await receive_invite.rescind(server.ctx, PEER, leave.pdu)
    assert members.membership(server.ctx.db, RoomId(room_id), UserId(bob.user_id)) == "invite"


async def test_third_party_invite_must_be_signed_by_who_sends_it(net: Network) -> None:
    """In general its sender's signature is not demanded of such an event; here it is."""
    alice = await net["one.test"].register("alice")
    peer, mallory = net.peer("peer.test"), net.peer("mallory.test")
    room = ForeignRoom(peer, EVE)
    proof = {"display_name": "a", "signed": {"mxid": alice.user_id, "token": "t", "signatures": {}}}
    content = {"membership": "invite", "third_party_invite": proof}
    good = room.build("m.room.member", content, key=alice.user_id)
    forged = peer.event(
        "10", "m.room.member", sender=EVE, content=content, room_id=room.id, state_key=alice.user_id, key=mallory.key
    )
    ctx, version = net["one.test"].ctx, ROOM_VERSIONS["10"]
    with pytest.raises(Forbidden):
        await receive_invite.receive_invite(ctx, PEER, RoomId(room.id), forged.event_id, forged.pdu, version, [])
    signed = await receive_invite.receive_invite(ctx, PEER, RoomId(room.id), good.event_id, good.pdu, version, [])
    assert set(signed["signatures"]) == {"one.test", "peer.test"}
