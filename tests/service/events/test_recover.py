"""What was under way when the server stopped."""

from __future__ import annotations

from typing import Any

from conduit.protocol.ids import ServerName, UserId
from conduit.service.events import intents, recover
from conduit.service.events.intents import Intent
from conduit.service.rooms import members
from tests.support.federation import Network, network
from tests.support.outgoing import until
from tests.support.scripted_room import ScriptedRoom

FAR = ServerName("far.test")


async def left_over(net: Network, room: ScriptedRoom, membership: str, *, undo: bool = False) -> Intent:
    """Return an intent as a crash leaves it."""
    bob = await net["two.test"].register("bob")
    content = {"membership": membership}
    event = room.build("m.room.member", content, state_key=bob.user_id, sender=bob.user_id)
    intent = Intent(event.room_id, UserId(bob.user_id), membership, FAR, event, undo)
    with net["two.test"].ctx.db.batch() as batch:
        intents.begin(batch, intent)
    return intent


async def test_join_to_be_undone_is_followed_by_a_leave() -> None:
    """The other server hears that the user is not in the room."""
    async with network("two.test") as net:
        room = ScriptedRoom(net.peer("far.test"))
        room.serve()
        intent = await left_over(net, room, "join", undo=True)
        assert await recover.settle(net["two.test"].ctx, intent)
        assert [event["content"]["membership"] for event in room.leaves] == ["leave"]
        assert intents.find(net["two.test"].ctx.db, intent.room_id, intent.user_id) is None


async def test_refusal_settles_an_intent_and_silence_does_not() -> None:
    """Who says that the user is not in the room has said enough; who says nothing is asked again, for a week."""
    async with network("two.test") as net:
        room = ScriptedRoom(net.peer("far.test"))
        ctx = net["two.test"].ctx
        intent = await left_over(net, room, "join", undo=True)
        net.board.down("far.test")
        assert not await recover.settle(ctx, intent)
        await net.clock.advance(recover.GIVE_UP_MS / 1000 + 1)
        assert await recover.settle(ctx, intent)
        intent = intent._replace(user_id=UserId("@carol:two.test"))
        with ctx.db.batch() as batch:
            intents.begin(batch, intent)
        net.board.heal()
        room.peer.on("GET", r".*/make_leave/.*", (403, {"errcode": "M_FORBIDDEN", "error": "not there"}))
        assert await recover.settle(ctx, intent)


async def test_knock_under_way_is_sent_again() -> None:
    """Its answer is what the user is shown."""
    async with network("two.test") as net:
        room = ScriptedRoom(net.peer("far.test"), join_rule="knock")
        room.serve()
        name: Any = {"type": "m.room.name", "state_key": "", "sender": room.creator, "content": {"name": "Far"}}
        room.peer.on("PUT", r".*/send_knock/.*", {"knock_room_state": [name]})
        intent = await left_over(net, room, "knock")
        ctx = net["two.test"].ctx
        assert await recover.settle(ctx, intent)
        assert members.membership(ctx.db, intent.room_id, intent.user_id) == "knock"


async def test_join_of_who_is_in_by_now_needs_nothing() -> None:
    """Another deed has brought about what was wanted."""
    async with network("two.test") as net:
        room = ScriptedRoom(net.peer("far.test"))
        room.serve()
        intent = await left_over(net, room, "join")
        ctx = net["two.test"].ctx
        with ctx.db.batch() as batch:
            members.record(batch, intent.room_id, intent.user_id, "join", count=batch.next_count(), event=0)
        assert await recover.settle(ctx, intent)
        assert room.joins == []


async def test_new_joins_to_be_undone_are_noticed() -> None:
    """The task waits for them while the server runs."""
    async with network("two.test") as net:
        room = ScriptedRoom(net.peer("far.test"))
        room.serve()
        intent = await left_over(net, room, "join", undo=True)
        with net["two.test"].ctx.db.batch() as batch:
            batch.wake(("intents", ""))
        await until(lambda: bool(room.leaves))
        assert intent.undo
