"""Leaving and knocking through other servers."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.ids import RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.service.events import intents, recover
from conduit.service.rooms import members, state
from tests.support.client import segment
from tests.support.federation import Incoming, network
from tests.support.outgoing import until
from tests.support.scripted_room import ScriptedRoom


async def test_rejected_invite_reaches_the_room() -> None:
    """The room's server takes the leave, and the invite is gone here."""
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        room = await alice.create_room(preset="private_chat")
        await alice.invite(room, bob)
        since = (await bob.sync())["next_batch"]
        await bob.leave(room)
        one, two = net["one.test"].ctx.db, net["two.test"].ctx.db
        assert members.membership(one, RoomId(room), UserId(bob.user_id)) == "leave"
        assert members.membership(two, RoomId(room), UserId(bob.user_id)) == "leave"
        assert room in (await bob.sync(since))["rooms"]["leave"]
        assert list(intents.all_of(two)) == []
        await bob.post(f"/rooms/{room}/forget", {})


async def test_invite_is_rejected_even_if_nobody_can_be_told() -> None:
    """The inviter's server is dead: the user is out all the same."""
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        room = await alice.create_room(preset="private_chat")
        await alice.invite(room, bob)
        net.board.down("one.test")
        await bob.leave(room)
        assert "invite" not in (await bob.sync()).get("rooms", {})
        assert members.membership(net["two.test"].ctx.db, RoomId(room), UserId(bob.user_id)) == "leave"


async def test_accepted_invite_joins_through_the_inviter() -> None:
    """No server is named by the client: who has invited is asked."""
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        room = await alice.create_room(preset="private_chat", room_version="12")
        await alice.invite(room, bob)
        await bob.join(room)
        assert (await bob.get(f"/rooms/{room}/joined_members"))["joined"].keys() == {alice.user_id, bob.user_id}


async def test_knock_and_its_answer() -> None:
    """A user knocks on a room elsewhere, sees what room it is, is invited and joins; another takes the knock back."""
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        carol = await net["two.test"].register("carol")
        rules: Any = [{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]
        room = await alice.create_room(preset="private_chat", name="Closed", initial_state=rules)
        for user in (bob, carol):
            await user.post(f"/knock/{room}?via=one.test", {"reason": "please"})
        told = (await bob.sync())["rooms"]["knock"][room]["knock_state"]["events"]
        assert {"Closed"} == {event["content"].get("name") for event in told if event["type"] == "m.room.name"}
        one, two = net["one.test"].ctx.db, net["two.test"].ctx.db
        assert members.membership(one, RoomId(room), UserId(bob.user_id)) == "knock"
        await carol.leave(room)
        assert members.membership(one, RoomId(room), UserId(carol.user_id)) == "leave"
        await alice.invite(room, bob)
        await bob.join(room)
        assert members.is_joined(two, RoomId(room), UserId(bob.user_id))


async def test_knock_that_the_room_refuses_is_told_to_the_client() -> None:
    """The reason is the other server's; nothing is written."""
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        room = await alice.create_room(preset="private_chat")
        await bob.post(f"/knock/{room}?via=one.test", {}, expect="M_FORBIDDEN")
        two = net["two.test"].ctx.db
        assert members.membership(two, RoomId(room), UserId(bob.user_id)) is None
        assert list(intents.all_of(two)) == []


@pytest.mark.parametrize("act", ["leave", "knock"])
async def test_advisory_01_leave_and_knock_templates_for_anything_else_are_not_signed(act: str) -> None:
    """A hostile server gets no signature of ours on another event."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        room = ScriptedRoom(net.peer("far.test"), join_rule="knock")
        room.serve()
        template = room.template(act, bob.user_id)
        template["event"]["content"] = {"membership": "ban"}
        room.peer.on("GET", rf".*/make_{act}/.*", template)
        if act == "knock":
            await bob.post(f"/knock/{room.room_id}", {}, expect=502)
        else:
            ctx = net["two.test"].ctx
            with ctx.db.batch() as batch:
                count = batch.next_count()
                members.record(batch, RoomId(room.room_id), UserId(bob.user_id), "invite", count=count, event=0)
            await bob.leave(room.room_id)
        assert not [got for got in room.peer.received if "/send_" in got.target]


async def test_advisory_11_odd_knock_state_is_pruned() -> None:
    """Oversized and malformed stripped state neither fails the knock nor reaches the client."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        room = ScriptedRoom(net.peer("far.test"), join_rule="knock")
        room.serve()
        name = {"type": "m.room.name", "state_key": "", "sender": room.creator, "content": {"name": "Far"}}
        odd = [7, None, {}, {**name, "content": 3}, {**name, "state_key": None}, name, {**name, "type": "x" * 300}]
        room.peer.on("PUT", r".*/send_knock/.*", {"knock_room_state": [*odd, *([name] * 500)]})
        await bob.post(f"/knock/{room.room_id}", {})
        told = (await bob.sync())["rooms"]["knock"][room.room_id]["knock_state"]["events"]
        assert 1 < len(told) <= 70
        assert {event["type"] for event in told} == {"m.room.name", "m.room.member"}


async def test_knock_state_of_version_12_is_made_of_signed_events_of_the_room() -> None:
    """What anybody could have made up does not reach the client: stripped state, events changed on the way, of another room, or not signed."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        room = ScriptedRoom(net.peer("far.test"), "12", join_rule="knock")
        other = ScriptedRoom(net.peer("far.test"), "12", room_type="other")
        named = room.set("m.room.name", {"name": "Far"})
        topic, elsewhere = room.set("m.room.topic", {"topic": "true"}), other.set("m.room.avatar", {"url": "mxc://a/b"})
        room.serve()
        wrong = [{**topic.pdu, "sender": "@zoe:far.test"}, elsewhere.pdu, {**topic.pdu, "signatures": {}}, 7]
        stripped = {"type": "m.room.encryption", "state_key": "", "sender": room.creator, "content": {}}
        told = [*wrong, stripped, room.state["m.room.create", ""].pdu, named.pdu]
        room.peer.on("PUT", r".*/send_knock/.*", {"knock_room_state": told})
        await bob.post(f"/knock/{room.room_id}?via=far.test", {})
        shown = (await bob.sync())["rooms"]["knock"][room.room_id]["knock_state"]["events"]
        assert {event["type"] for event in shown} == {"m.room.create", "m.room.name", "m.room.member"}


async def test_invite_that_overtakes_the_answer_to_a_knock_stands() -> None:
    """Somebody opens at once: the invite arrives while this server still waits to hear that the knock was taken."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        room = ScriptedRoom(net.peer("far.test"), join_rule="knock")
        room.serve()

        async def answer(incoming: Incoming) -> Any:
            knock = room.add(Event.from_pdu(incoming.json(), room.version))
            invite = room.build(
                "m.room.member", {"membership": "invite"}, state_key=bob.user_id, sender=room.creator, prev=[knock]
            )
            target = f"/_matrix/federation/v2/invite/{segment(room.room_id)}/{segment(invite.event_id)}"
            await room.peer.put("two.test", target, {"room_version": "10", "event": invite.pdu})
            return {"knock_room_state": []}

        room.peer.on("PUT", r".*/send_knock/.*", answer)
        await bob.post(f"/knock/{room.room_id}", {})
        rooms = (await bob.sync())["rooms"]
        assert room.room_id in rooms["invite"]
        assert room.room_id not in rooms.get("knock", {})


async def test_leave_under_way_at_a_crash_is_completed_at_the_start() -> None:
    """The user is out after the restart, and the room's server has heard it."""
    async with network("two.test") as net:
        hs = net["two.test"]
        bob = await hs.register("bob")
        user_id = UserId(bob.user_id)
        room = ScriptedRoom(net.peer("far.test"))
        room.serve()
        event = room.build("m.room.member", {"membership": "leave"}, state_key=bob.user_id, sender=bob.user_id)
        with hs.ctx.db.batch() as batch:
            members.record(batch, event.room_id, user_id, "invite", count=batch.next_count(), event=0)
            intents.begin(batch, intents.Intent(event.room_id, user_id, "leave", "far.test", event))  # type: ignore[arg-type]
        hs.start(recover.run(hs.ctx))
        await until(lambda: members.membership(hs.ctx.db, event.room_id, user_id) == "leave")
        assert len(room.leaves) == 1
        assert list(intents.all_of(hs.ctx.db)) == []


async def test_last_local_user_leaves_and_the_room_hears_of_it() -> None:
    """After that the server has nobody in the room, and knows it."""
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        room = await alice.create_room(preset="public_chat")
        await bob.post(f"/join/{room}?via=one.test", {})
        await bob.leave(room)
        one = net["one.test"].ctx.db
        await until(lambda: members.membership(one, RoomId(room), UserId(bob.user_id)) == "leave")
        assert state.current_id(one, RoomId(room), "m.room.member", bob.user_id) is not None
