"""History from other servers: from before the join, and what was missed in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.database import trees
from conduit.database.layouts import SOFT_FAILED, EventMeta
from conduit.protocol.event_format import MAX_PREV_EVENTS
from conduit.protocol.ids import RoomId
from conduit.service.events import backfill
from conduit.service.rooms import short_ids, timeline
from tests.support.client import User, segment
from tests.support.federation import Incoming, Network, network
from tests.support.guest import Guest, is_shown, room_of, status, worked_off
from tests.support.scripted_room import ScriptedRoom
from tests.support.visitor import FEDERATION


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """Two homeservers."""
    async with network("one.test", "two.test") as found:
        yield found


async def scroll(user: User, room: str, *, limit: int = 10) -> list[dict[str, Any]]:
    """Return the whole history that a user gets by scrolling, oldest event first."""
    found: list[dict[str, Any]] = []
    start = ""
    for _ in range(100):
        page = await user.get(f"/rooms/{segment(room)}/messages?dir=b&limit={limit}{start}")
        found += page["chunk"]
        if "end" not in page:
            return found[::-1]
        start = f"&from={page['end']}"
    raise AssertionError("it never ends")


@pytest.mark.parametrize("version", ["1", "10", "12"])
async def test_history_from_before_the_join_is_fetched_when_somebody_scrolls_there(net: Network, version: str) -> None:
    """The newcomer sees the same events in the same order as who was there, back to the room's beginning."""
    alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
    room = await alice.create_room(preset="public_chat", room_version=version)
    for number in range(25):
        await alice.send(room, str(number))
        if number % 5 == 0:
            await alice.put(f"/rooms/{segment(room)}/state/m.room.topic/", {"topic": str(number)})
    await bob.post(f"/join/{segment(room)}?via=one.test", {})
    theirs, ours = await scroll(alice, room), await scroll(bob, room, limit=7)
    assert [event["event_id"] for event in ours] == [event["event_id"] for event in theirs]
    assert ours[0]["type"] == "m.room.create"
    # It is kept: the other server need not be there any more.
    net.board.split(["one.test"], ["two.test"])
    assert [event["event_id"] for event in await scroll(bob, room)] == [event["event_id"] for event in theirs]


async def test_old_event_that_cites_more_than_is_allowed_today_is_history(net: Network) -> None:
    """Such are to be taken from who is asked for history, and from nobody else."""
    bob = await net["two.test"].register("bob")
    room = ScriptedRoom(net.peer("far.test"))
    start, creator = room.events[-1], room.creator
    many = [room.say(creator, str(number), prev=[start]) for number in range(MAX_PREV_EVENTS + 1)]
    crowded = room.say(creator, "crowded", prev=many)
    room.say(creator, "near")
    room.serve()
    told = {"origin": "far.test", "origin_server_ts": 1, "pdus": [event.pdu for event in reversed(room.events)]}
    room.peer.on("GET", f"{FEDERATION}/v1/backfill/.*", told)
    await bob.post(f"/join/{segment(room.room_id)}?via=far.test", {})
    history = {event["event_id"] for event in await scroll(bob, room.room_id)}
    assert {crowded.event_id, *(event.event_id for event in many)} <= history
    new = room.build("m.room.message", {"msgtype": "m.text", "body": "new"}, prev=many)
    answer = await room.peer.send("two.test", [new])
    assert "error" in answer["pdus"][new.event_id]


async def test_history_that_newcomers_may_not_see_stays_hidden(net: Network) -> None:
    """With visibility from the join on, what was fetched is shown to nobody."""
    alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
    hidden = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}
    room = await alice.create_room(preset="public_chat", initial_state=[hidden])
    for number in range(5):
        await alice.send(room, str(number))
    await bob.post(f"/join/{segment(room)}?via=one.test", {})
    assert not [event for event in await scroll(bob, room) if event["type"] == "m.room.message"]


async def test_gap_in_the_middle_is_filled_where_it_is(net: Network) -> None:
    """What was missed lies between what came before and after, when somebody scrolls there."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    guest = await Guest.enter(net, room)
    guest.serve()
    first = guest.message("first")
    await guest.send(first)
    missed = [guest.message(str(number)) for number in range(12)]
    guest.peer.on("POST", f"{FEDERATION}/v1/get_missing_events/.*", {"events": [missed[-1].pdu]})
    last = guest.message("last")
    await guest.send(last)
    db = net["one.test"].ctx.db
    assert list(trees.room_gap.scan(db))
    history = [event["event_id"] for event in await scroll(alice, room, limit=5)]
    wanted = [first, *missed, last]
    assert history[-len(wanted) :] == [event.event_id for event in wanted]
    assert not list(trees.room_gap.scan(db))
    shown = [event.event_id for _, event in timeline.scan(db, RoomId(room))]
    assert shown[-len(wanted) :] == [event.event_id for event in wanted]


async def test_events_in_history_that_the_rules_refuse_are_left_out(net: Network) -> None:
    """A server adds to the past what it may not: that is rejected, the rest is shown."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    guest = await Guest.enter(net, room)
    guest.serve()
    topic = guest.state_event("m.room.topic", {"topic": "mine"})
    good, near = guest.message("good"), guest.message("near")
    guest.peer.on("POST", f"{FEDERATION}/v1/get_missing_events/.*", {"events": [near.pdu]})
    last = guest.message("last")
    await guest.send(last)
    history = {event["event_id"] for event in await scroll(alice, room)}
    assert {good.event_id, last.event_id} <= history
    assert topic.event_id not in history


async def test_advisory_15_chunk_of_refused_history_does_not_end_the_pagination(net: Network) -> None:
    """More events in a row than are fetched at a time are refused: what lies behind them is reached all the same."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    guest = await Guest.enter(net, room)
    guest.serve()
    good = guest.message("good")
    for number in range(130):
        guest.state_event("m.room.topic", {"topic": str(number)})
    near = guest.message("near")
    guest.peer.on("POST", f"{FEDERATION}/v1/get_missing_events/.*", {"events": [near.pdu]})
    last = guest.message("last")
    await guest.send(last)
    history = await scroll(alice, room, limit=50)
    assert [event["event_id"] for event in history[-3:]] == [good.event_id, near.event_id, last.event_id]
    assert history[0]["type"] == "m.room.create"


async def test_gap_whose_event_was_refused_in_another_way_is_filled_with_what_lies_behind_it(net: Network) -> None:
    """It was decided on without getting a place: by a transaction, or for somebody who gave up while history was fetched."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    guest = await Guest.enter(net, room)
    guest.serve()
    good = guest.message("good")
    refused = guest.message("refused")
    near = guest.message("near")
    guest.peer.on("POST", f"{FEDERATION}/v1/get_missing_events/.*", {"events": [near.pdu]})
    await guest.send(guest.message("last"))
    db = net["one.test"].ctx.db
    assert [gap for _, gap in trees.room_gap.scan(db)] == [[refused.event_id]]
    with db.batch() as batch:
        short = short_ids.ensure_event(batch, refused.event_id)
        facts = EventMeta(SOFT_FAILED, short_ids.ensure_room(batch, guest.room_id), refused.depth, ())
        timeline.put_outlier(batch, refused, short, facts)
    history = [event["event_id"] for event in await scroll(alice, room)]
    assert good.event_id in history
    assert refused.event_id not in history
    assert not list(trees.room_gap.scan(db))


async def test_server_that_does_not_answer_ends_the_page(net: Network) -> None:
    """What cannot be had now is asked for again another time."""
    alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
    room = await alice.create_room(preset="public_chat")
    await alice.send(room, "early")
    await bob.post(f"/join/{segment(room)}?via=one.test", {})
    await worked_off(net["two.test"])
    net.board.split(["one.test"], ["two.test"])
    assert not [event for event in await scroll(bob, room) if event["type"] == "m.room.message"]
    net.board.heal()
    net.clock.jump(3600)
    assert [event for event in await scroll(bob, room) if event["type"] == "m.room.message"]


async def test_event_that_comes_in_another_way_while_history_is_fetched_keeps_its_verdict(net: Network) -> None:
    """It has been decided on while its auth events were asked for: what the history brings changes nothing of that."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    guest.serve()
    _, event = guest.renamed()
    ctx = net["one.test"].ctx

    def answer(incoming: Incoming) -> Any:
        with ctx.db.batch() as batch:
            short = short_ids.ensure_event(batch, event.event_id)
            facts = EventMeta(SOFT_FAILED, short_ids.ensure_room(batch, guest.room_id), event.depth, ())
            timeline.put_outlier(batch, event, short, facts)
        return {"auth_chain": [guest.events[one].pdu for one in guest.chain([event.event_id])]}

    guest.peer.on("GET", f"{FEDERATION}/v1/event_auth/.*", answer)
    await backfill.backfill(ctx, guest.room_id, backfill.Hole(0, (event.event_id,)))
    assert guest.asked("event_auth")
    assert status(net, event) == SOFT_FAILED
    assert not is_shown(net, event)
