"""Staging a room and showing it."""

from __future__ import annotations

from conduit.database.check import check
from conduit.database.layouts import REJECTED
from conduit.protocol.ids import RoomId, UserId
from conduit.service.events import foreign_state, import_room
from conduit.service.events.foreign_state import Answer
from conduit.service.rooms import members, short_ids, state, timeline, versions
from tests.support.federation import Network, network
from tests.support.scripted_room import ScriptedRoom

BOB = UserId("@bob:two.test")
ZOE = UserId("@zoe:far.test")


async def staged(net: Network, room: ScriptedRoom) -> tuple[Answer, int, dict[int, int]]:
    """Stage a scripted room; return the answer, the number of its state and the state."""
    ctx = net["two.test"].ctx
    answer = Answer(room.version, RoomId(room.room_id))
    await foreign_state.add(ctx, answer, "state", [event.pdu for event in room.state.values()])
    await foreign_state.add(ctx, answer, "chain", [event.pdu for event in room.events])
    await foreign_state.judge(ctx.db, answer, room.state["m.room.create", ""])
    await import_room.stage_events(ctx, answer)
    number, shorts = await import_room.stage_state(ctx, await foreign_state.as_state(answer, "state"))
    return answer, number, shorts


async def test_staged_room_is_not_there_until_it_is_shown() -> None:
    """Events and state are stored; the room exists with the last batch."""
    async with network("two.test") as net:
        ctx = net["two.test"].ctx
        room = ScriptedRoom(net.peer("far.test"))
        room.member(ZOE)
        room.member(BOB, "invite", room.creator)
        room_id = RoomId(room.room_id)
        answer, number, shorts = await staged(net, room)
        assert not state.exists(ctx.db, room_id)
        async with ctx.locks.room(room_id):
            own = await import_room.settle(ctx, room_id, await import_room.changes_to(ctx, room_id, shorts, answer))
            assert [change.state_key for change in own] == [BOB]
            assert not state.exists(ctx.db, room_id)
            assert members.membership(ctx.db, room_id, BOB) is None
            with ctx.db.batch() as batch:
                versions.remember(batch, room_id, room.version)
                import_room.show(ctx, batch, room_id, number, own)
        assert state.exists(ctx.db, room_id)
        assert members.membership(ctx.db, room_id, ZOE) == "join"
        assert members.membership(ctx.db, room_id, BOB) == "invite"
        assert dict(state.current_ids(ctx.db, room_id)) == {pair: e.event_id for pair, e in room.state.items()}
        for event in room.events:
            stored = timeline.event(ctx.db, event.event_id)
            assert stored is not None
            assert stored.federation() == event.federation()
        assert check(ctx.db) == []


async def test_advisory_14_staged_room_is_shown_to_nobody() -> None:
    """Neither its name nor its members, by whatever way one asks."""
    async with network("two.test") as net:
        hs = net["two.test"]
        bob = await hs.register("bob")
        room = ScriptedRoom(net.peer("far.test"))
        room.set("m.room.name", {"name": "Secret"})
        room.member(ZOE)
        room_id = room.room_id
        answer, _, shorts = await staged(net, room)
        changes = await import_room.changes_to(hs.ctx, RoomId(room_id), shorts, answer)
        await import_room.settle(hs.ctx, RoomId(room_id), changes)
        for path in (f"/rooms/{room_id}/state", f"/rooms/{room_id}/members", f"/rooms/{room_id}/joined_members"):
            await bob.get(path, expect=403)
        await bob.get(f"/rooms/{room_id}/state/m.room.name", expect=403)
        for path in (f"/rooms/{room_id}/event/{room.events[0].event_id}", f"/rooms/{room_id}/messages?dir=b"):
            assert (await bob.raw("GET", path)).status in (403, 404)
        for path in (f"/_matrix/client/v1/room_summary/{room_id}", f"/_matrix/client/v1/rooms/{room_id}/hierarchy"):
            assert (await bob.raw("GET", path)).status in (403, 404, 502)
        for event in room.events:
            found = await room.peer.request("two.test", "GET", f"/_matrix/federation/v1/event/{event.event_id}")
            assert found.status in (403, 404)
        with hs.ctx.db.batch() as batch:
            import_room.discard(batch, RoomId(room_id))


async def test_settling_again_changes_nothing() -> None:
    """After a crash half-way the rest is done, and no more."""
    async with network("two.test") as net:
        ctx = net["two.test"].ctx
        room = ScriptedRoom(net.peer("far.test"))
        for number in range(import_room.STEP + 10):
            room.member(f"@user{number}:far.test")
        room_id = RoomId(room.room_id)
        answer, _, shorts = await staged(net, room)
        changes = await import_room.changes_to(ctx, room_id, shorts, answer)
        await import_room.settle(ctx, room_id, changes[: import_room.STEP])
        rest = await import_room.changes_to(ctx, room_id, shorts, answer)
        assert len(rest) == len(changes) - import_room.STEP
        await import_room.settle(ctx, room_id, rest)
        assert await import_room.changes_to(ctx, room_id, shorts, answer) == []
        with ctx.db.batch() as batch:
            import_room.discard(batch, room_id)


async def test_discarded_room_leaves_nobody_in_it() -> None:
    """What was staged in vain is in nobody's way."""
    async with network("two.test") as net:
        ctx = net["two.test"].ctx
        room = ScriptedRoom(net.peer("far.test"))
        room.member(ZOE)
        room_id = RoomId(room.room_id)
        answer, _, shorts = await staged(net, room)
        await import_room.settle(ctx, room_id, await import_room.changes_to(ctx, room_id, shorts, answer))
        assert members.is_joined(ctx.db, room_id, ZOE)
        with ctx.db.batch() as batch:
            import_room.discard(batch, room_id)
        assert not members.is_joined(ctx.db, room_id, ZOE)
        assert members.servers(ctx.db, room_id) == []
        assert check(ctx.db) == []


async def test_same_state_has_the_same_number() -> None:
    """However its entries come, one sorted layer stands for it."""
    async with network("two.test") as net:
        ctx = net["two.test"].ctx
        room = ScriptedRoom(net.peer("far.test"))
        _, number, shorts = await staged(net, room)
        again = dict(reversed(list(shorts.items())))
        assert await import_room.number_of(ctx, again) == number
        assert dict(state.ids(ctx.db, number)) == shorts


async def test_rejected_events_are_kept_as_such() -> None:
    """They are known, and shown to nobody."""
    async with network("two.test") as net:
        ctx = net["two.test"].ctx
        room = ScriptedRoom(net.peer("far.test"))
        bad = room.add(room.build("m.room.topic", {"topic": "x"}, state_key="", sender="@nobody:far.test"))
        _, _, shorts = await staged(net, room)
        short = short_ids.short_event(ctx.db, bad.event_id)
        assert short is not None
        assert short not in shorts.values()
        facts = timeline.meta(ctx.db, bad.event_id)
        assert facts is not None
        assert facts.status == REJECTED
