"""Events are put down as they came before a transaction is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.database import trees
from conduit.protocol.errors import LimitExceeded
from conduit.protocol.ids import EventId, RoomId, ServerName
from conduit.protocol.pdu import Event
from conduit.service.events import staging
from conduit.service.rooms import dropped, members, timeline
from tests.support.federation import Incoming, Network, network
from tests.support.guest import Guest, room_of, worked_off
from tests.support.scripted_room import ScriptedRoom


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


async def test_events_wait_in_order_and_are_read_again_without_memory(net: Network) -> None:
    """Room by room, by the count at which they came, with or without warm caches."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    ctx = net["one.test"].ctx
    events = [guest.message(str(number)) for number in range(3)]
    origin = guest.join.server_name
    offers = await staging.examine(ctx, origin, [event.pdu for event in events])
    with ctx.db.batch() as batch:
        answer = staging.take_in(ctx, batch, origin, offers)
    assert answer == {event.event_id: {} for event in events}
    [short] = staging.rooms(ctx.db)
    for _ in range(2):
        found = [staged for _, staged in staging.waiting(ctx.db, short, 0, 10) if staged is not None]
        assert [staged.event.event_id for staged in found] == [event.event_id for event in events]
        assert [staged.origin for staged in found] == ["peer.test"] * 3
        assert len(staging.waiting(ctx.db, short, found[0].at, 1)) == 1
        ctx.db.cache_pool.clear()
    await worked_off(net["one.test"])
    # Of what has been decided on, nothing is staged again, even if it had been examined before.
    for again in (offers, await staging.examine(ctx, origin, [event.pdu for event in events])):
        with ctx.db.batch() as batch:
            assert staging.take_in(ctx, batch, origin, again) == answer
    assert trees.stagedpdu.first(ctx.db) is None


async def test_advisory_25_only_so_much_of_one_owner_waits(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who floods is told to come back later, under whatever name; what is removed makes room."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    ctx = net["one.test"].ctx
    monkeypatch.setattr(staging, "MAX_OF_OWNER", 3)
    pdus = [guest.message(str(number)).pdu for number in range(4)]
    origin = guest.join.server_name
    offers = await staging.examine(ctx, origin, pdus[:2]) + await staging.examine(ctx, origin, pdus[2:])
    with pytest.raises(LimitExceeded):
        await staging.examine(ctx, origin, pdus)
    with ctx.db.batch() as batch:
        staging.take_in(ctx, batch, origin, offers[:2])
        with pytest.raises(LimitExceeded):
            staging.take_in(ctx, batch, origin, offers[2:])
        with pytest.raises(LimitExceeded):
            staging.take_in(ctx, batch, ServerName(f"h1.{origin}"), offers[2:])
        staging.take_in(ctx, batch, ServerName("other.example"), ())
        [short] = staging.rooms(batch)
        staging.remove(batch, short, staging.waiting(batch, short, 0, 1)[0][0])
        staging.take_in(ctx, batch, origin, offers[2:])
    await worked_off(net["one.test"])


async def test_latest_transactions_are_remembered(net: Network) -> None:
    """Of each server the last few, which is all that it may send again."""
    ctx = net["one.test"].ctx
    origin = net.peer("peer.test").name
    await Guest.enter(net, (await room_of(net))[1])
    for number in range(5):
        with ctx.db.batch() as batch:
            staging.remember(batch, origin, str(number), {f"${number}": {}})  # type: ignore[arg-type]
    answers = [staging.answered(ctx.db, origin, str(number)) for number in range(5)]  # type: ignore[arg-type]
    assert answers == [None, None, {"$2": {}}, {"$3": {}}, {"$4": {}}]


def joined_with_news(room: ScriptedRoom, *, works: bool) -> list[Any]:
    """Let the room's server tell of an event right after the join before it answers the join; return where the answers to that will be."""
    room.serve()
    answers: list[Any] = []

    async def send_join(incoming: Incoming) -> Any:
        answer = room.answer()
        room.add(Event.from_pdu(incoming.json(), room.version))
        news = [room.say(room.creator, "welcome"), room.say(room.creator, "here")]
        answers.append(await room.peer.send("two.test", [event.pdu for event in news]))
        return answer if works else (403, {"errcode": "M_FORBIDDEN", "error": "no"})

    room.peer.on("PUT", r".*/v2/send_join/.*", send_join)
    return answers


@pytest.mark.parametrize("version", ["10", "12"])
async def test_events_that_overtake_the_answer_to_a_join_wait_for_it(version: str) -> None:
    """They are shown once the room is; nothing need be asked for."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        room = ScriptedRoom(net.peer("far.test"), version)
        answers = joined_with_news(room, works=True)
        await bob.post(f"/join/{room.room_id}?via=far.test", {})
        await worked_off(net["two.test"])
        assert answers == [{"pdus": {event.event_id: {} for event in room.events[-2:]}}]
        ctx = net["two.test"].ctx
        assert all(timeline.position(ctx.db, event.event_id) for event in room.events[-2:])
        assert not [incoming for incoming in room.peer.received if "/get_missing_events/" in incoming.path]


async def test_events_for_a_join_that_comes_to_nothing_are_dropped() -> None:
    """They take no place, and the room stays unknown."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        room = ScriptedRoom(net.peer("far.test"))
        joined_with_news(room, works=False)
        await bob.post(f"/join/{room.room_id}?via=far.test", {}, expect=403)
        await worked_off(net["two.test"])
        assert await room.peer.send("two.test", [room.events[-1].pdu]) == {
            "pdus": {room.events[-1].event_id: {"error": "This server is not in the room"}}
        }


async def test_who_was_put_out_still_hears_of_the_room_and_who_left_does_not() -> None:
    """A ban may turn out not to hold, nor what resolution made of branches that others know more of: the events that say so are taken, from servers in the room. Nobody has to listen after leaving."""
    async with network("one.test", "two.test") as net:
        alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
        for deed in ("ban", "leave", "resolution"):
            room_id = await alice.create_room(preset="public_chat", room_version="10")
            await bob.post(f"/join/{room_id}?via=one.test", {})
            await worked_off(net["one.test"])
            if deed == "ban":
                await alice.post(f"/rooms/{room_id}/ban", {"user_id": bob.user_id})
            else:
                await bob.leave(room_id)
            await net.clock.advance(1)
            await worked_off(net["two.test"])
            ctx = net["two.test"].ctx
            assert not members.joined_local(ctx.db, RoomId(room_id), ctx.server_name)
            if deed == "resolution":
                # The leave of long ago is back, as it is where branches meet.
                with ctx.db.batch() as batch:
                    dropped.settle(batch, RoomId(room_id), [ctx.server_name], [], ctx.clock.now_ms())
            event = timeline.event(net["one.test"].ctx.db, EventId(await alice.send(room_id, "anybody there?")))
            assert event is not None
            target = f"/_matrix/federation/v1/send/{deed}"
            body = {"origin": "one.test", "origin_server_ts": 1, "pdus": [event.pdu]}
            answer = await net["one.test"].ctx.outbound.federation.put("two.test", target, body)
            refusal = {"error": "This server is not in the room"} if deed == "leave" else {}
            assert answer == {"pdus": {event.event_id: refusal}}


async def test_few_events_of_one_server_wait_for_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that knows of a join cannot fill the disk with what nobody can check yet."""
    monkeypatch.setattr(staging, "MAX_EARLY", 1)
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        room = ScriptedRoom(net.peer("far.test"))
        answers = joined_with_news(room, works=True)
        await bob.post(f"/join/{room.room_id}?via=far.test", {})
        await worked_off(net["two.test"])
        assert [len(told) for told in answers[0]["pdus"].values()] == [0, 1]


async def test_advisory_25_room_that_this_server_is_not_in_is_looked_at_once_for_a_transaction(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands may have left it, and each of fifty events would have all of them read."""
    alice, room = await room_of(net)
    guest = await Guest.enter(net, room)
    looked_at: list[str] = []
    past_of = members.past_of

    def counted(source: Any, room_id: RoomId, server_name: str) -> Any:
        looked_at.append(room_id)
        return past_of(source, room_id, server_name)

    monkeypatch.setattr(members, "past_of", counted)
    await alice.post(f"/rooms/{room}/leave")
    answer = await guest.send(*[guest.message(str(number), prev=[guest.join]) for number in range(30)])
    assert all("error" in found for found in answer.values())
    assert looked_at == [room]
