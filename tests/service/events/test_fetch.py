"""What an event builds on and is not known here is asked for, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.protocol.errors import BadJson
from conduit.protocol.ids import EventId, RoomId, ServerName
from conduit.protocol.pdu import Event
from conduit.service.events import fetch
from conduit.service.outbound import build
from conduit.service.rooms import short_ids, state, state_layers, timeline
from tests.support.federation import Incoming, Network, network
from tests.support.guest import Guest, current, is_shown, room_of, status, until, worked_off
from tests.support.scripted_room import ScriptedRoom


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


async def test_missing_events_are_fetched_and_shown_in_order(net: Network) -> None:
    """The server was away for a while: what it missed comes before what it is sent."""
    alice, room = await room_of(net)
    guest = await Guest.enter(net, room)
    guest.serve()
    since = (await alice.sync())["next_batch"]
    events = [guest.message(str(number)) for number in range(8)]
    await guest.send(events[-1])
    shown = (await alice.sync(since=since))["rooms"]["join"][room]["timeline"]
    assert [event["event_id"] for event in shown["events"]] == [event.event_id for event in events]
    assert not shown["limited"]
    [asked] = guest.asked("get_missing_events")
    assert asked.json()["latest_events"] == [events[-1].event_id]
    assert guest.asked("state_ids") == []


async def test_history_from_before_all_that_is_known_is_not_taken_as_missing(net: Network) -> None:
    """Who knows none of our leaves tells all it has: what is older than our timeline is neither asked for nor let in."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    guest.serve()
    lost, last = guest.message("lost"), guest.message("last")
    old = guest.peer.event("10", "m.room.message", sender=guest.user_id, content={"body": "x"}, room_id=room, depth=0)
    guest.peer.on("POST", "/_matrix/federation/v1/get_missing_events/.*", {"events": [old.pdu, lost.pdu]})
    await guest.send(last)
    assert is_shown(net, last)
    assert is_shown(net, lost)
    assert timeline.meta(net["one.test"].ctx.db, old.event_id) is None
    [asked] = guest.asked("get_missing_events")
    assert asked.json()["min_depth"] == 1


async def test_state_before_what_cannot_be_had_is_asked_for(net: Network) -> None:
    """Too much is missing: the state before what came comes by ids and single events; the timeline says that something is missing."""
    alice, room = await room_of(net)
    guest = await Guest.enter(net, room)
    guest.serve()
    since = (await alice.sync())["next_batch"]
    topic = guest.state_event("m.room.topic", {"topic": "meanwhile"})
    lost, near, last = guest.message("lost"), guest.message("near"), guest.message("last")
    guest.peer.on("POST", "/_matrix/federation/v1/get_missing_events/.*", {"events": [near.pdu]})
    await guest.send(last)
    assert is_shown(net, last)
    assert not is_shown(net, lost)
    assert current(net, room)["m.room.topic", ""] == topic.event_id
    joined = (await alice.sync(since=since))["rooms"]["join"][room]
    assert [event["event_id"] for event in joined["timeline"]["events"]] == [near.event_id, last.event_id]
    assert joined["timeline"]["limited"]
    assert topic.event_id in {event["event_id"] for event in joined["state"]["events"]}


async def test_event_that_follows_what_nobody_tells_is_dropped(net: Network) -> None:
    """Who sends it has what is before it: no state is asked for, and the next event asks again what was missed."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    guest.serve()
    guest.peer.on("POST", "/_matrix/federation/v1/get_missing_events/.*", {"events": []})
    lost, last = guest.message("lost"), guest.message("last")
    await guest.send(last)
    assert status(net, last) is None
    assert guest.asked("state_ids") == []
    guest.serve()
    newest = guest.message("newest")
    await guest.send(newest)
    assert all(is_shown(net, event) for event in (lost, last, newest))


async def test_missing_auth_events_are_fetched(net: Network) -> None:
    """An event cites a change of the sender's name on a branch that was never sent: its chain is asked for."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    guest.serve()
    renamed, odd = guest.renamed()
    await guest.send(odd)
    assert is_shown(net, odd)
    assert status(net, renamed) is not None
    assert guest.asked("event_auth")


async def test_event_of_which_the_auth_events_cannot_be_had_is_dropped(net: Network) -> None:
    """It may come again: nothing is kept, and what others send goes on."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    root = guest.tip
    _, odd = guest.renamed()
    good = guest.message("good", prev=[root])
    await guest.send(odd, good)
    assert status(net, odd) is None
    assert is_shown(net, good)


async def test_advisory_08_who_leaves_part_of_an_auth_chain_out_has_nothing_refused_for_good(net: Network) -> None:
    """Of events whose own auth events were not told nothing is kept. Once all of the chain is told they are taken."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    root = guest.tip
    names = [
        guest.state_event("m.room.member", {"membership": "join", "displayname": name}, key=guest.user_id)
        for name in ("E", "F")
    ]
    auth = [names[1] if one == names[1].event_id else guest.events[one] for one in guest.message("x").auth_events]
    odd = guest.message("odd", prev=[root], auth=auth)
    guest.peer.on("GET", "/_matrix/federation/v1/event_auth/.*", {"auth_chain": [names[1].pdu]})
    await guest.send(odd)
    assert status(net, odd) is None
    assert status(net, names[1]) is None
    guest.serve()
    await guest.send(odd)
    assert is_shown(net, odd)


async def test_advisory_09_long_chain_of_unknown_events_costs_a_bounded_number_of_requests(net: Network) -> None:
    """Ten thousand events before the one that is sent: some are fetched, then the state, and that is all."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    guest.serve()
    auth = [guest.events[one] for one in guest.message("first").auth_events]
    known = guest.after[guest.tip.event_id]
    for number in range(10_000):
        event = guest.message(str(number), auth=auth, keep=False) if number else guest.message("0", prev=[guest.tip])
        guest.events[event.event_id] = event
        guest.before[event.event_id] = guest.after[event.event_id] = known
        guest.tip = event
    requests = len(guest.peer.received)
    await guest.send(guest.tip)
    assert is_shown(net, guest.tip)
    assert len(guest.peer.received) - requests <= 20


async def test_advisory_09_few_whole_states_are_fetched_for_one_event(net: Network) -> None:
    """Each of many missing events follows something unknown, and of the state there nothing is known here."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    auth = [guest.events[one] for one in guest.message("x", keep=False).auth_events]
    lost = [guest.message(f"lost {number}", auth=auth, keep=False) for number in range(20)]
    missing = [guest.message(str(number), prev=[one], auth=auth, keep=False) for number, one in enumerate(lost)]
    ids = [guest.message(f"none {number}", auth=auth, keep=False).event_id for number in range(100)]
    guest.peer.on("POST", "/_matrix/federation/v1/get_missing_events/.*", {"events": [one.pdu for one in missing]})
    ids.append(current(net, room)["m.room.create", ""])
    guest.peer.on("GET", "/_matrix/federation/v1/state_ids/.*", {"pdu_ids": ids, "auth_chain_ids": []})
    guest.peer.on("GET", "/_matrix/federation/v1/state/.*", {"pdus": [], "auth_chain": []})
    last = guest.message("last", prev=missing, auth=auth, keep=False)
    await guest.send(last)
    assert not is_shown(net, last)
    assert 1 <= len(guest.asked("/v1/state/")) <= 4
    assert len(guest.peer.received) < 2 * fetch.MAX_REQUESTS


async def test_advisory_25_few_whole_states_are_held_at_a_time(net: Network) -> None:
    """Four servers let us fetch one each, and take their time. Of a room there is one under way; another room's has the other place."""
    alice, room = await room_of(net)
    rooms = [room, room, room, await alice.create_room(preset="public_chat")]
    guests = [await Guest.enter(net, one, name=f"evil{number}.test") for number, one in enumerate(rooms)]
    go_on = asyncio.Event()
    under_way: list[str] = []
    most: list[int] = []

    async def tell_state(incoming: Incoming) -> Any:
        under_way.append(incoming.segments[4])
        most.append(under_way.count(room))
        await go_on.wait()
        under_way.remove(incoming.segments[4])
        return {"pdus": [], "auth_chain": []}

    for guest in guests:
        guest.message("lost")
        near, last = guest.message("near"), guest.message("last")
        ids = [*(f"${number:043d}" for number in range(100)), guest.before[near.event_id]["m.room.create", ""]]
        guest.peer.on("POST", "/_matrix/federation/v1/get_missing_events/.*", {"events": [near.pdu]})
        guest.peer.on("GET", "/_matrix/federation/v1/state_ids/.*", {"pdu_ids": ids, "auth_chain_ids": []})
        guest.peer.on("GET", "/_matrix/federation/v1/state/.*", tell_state)
        await guest.peer.send("one.test", [last])
    await until(lambda: len(under_way) == 2)
    assert set(under_way) == {room, rooms[-1]}
    go_on.set()
    await worked_off(net["one.test"])
    assert max(most) == 1


async def test_advisory_09_states_told_for_one_owners_events_are_few(net: Network) -> None:
    """Event after event follows something of which the state is told anew. After a number of them no more is asked, and what others need still is."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    other = await Guest.enter(net, room, name="other.test", user="olga")
    for one in (guest, other):
        one.serve()
        auth = [one.events[auth] for auth in one.message("x", keep=False).auth_events]
        for number in range(build.MAX_TOLD_STATES + 10 if one is guest else 1):
            lost = one.message(f"lost {number}", auth=auth, prev=[one.join], keep=False)
            near = one.message(f"near {number}", auth=auth, prev=[lost], keep=False)
            one.before[lost.event_id] = one.after[one.join.event_id]
            one.events[lost.event_id] = lost
            one.peer.on("POST", "/_matrix/federation/v1/get_missing_events/.*", {"events": [near.pdu]})
            await one.send(one.message(f"last {number}", auth=auth, prev=[near], keep=False))
    assert len(guest.asked("state_ids")) == build.MAX_TOLD_STATES
    assert len(other.asked("state_ids")) == 1


async def test_states_that_somebody_here_wants_are_not_counted(net: Network) -> None:
    """Whoever scrolls back for long needs one for each stretch of history."""
    ctx, room = net["one.test"].ctx, RoomId("!room:peer.test")
    for wanted, most in ((True, 100), (False, build.MAX_TOLD_STATES)):
        budgets = [fetch.Budget(ctx, ServerName("peer.test"), is_wanted=wanted) for _ in range(100)]
        assert sum(budget.spend_state(room) for budget in budgets) == most


async def test_advisory_09_hundreds_of_thousands_of_ids_are_taken_in_steps(net: Network) -> None:
    """Others get their turn every thousand ids; of more than a room can have nothing is taken."""
    ctx = net["one.test"].ctx
    _, room = await room_of(net)
    create = state.current_id(ctx.db, RoomId(room), "m.room.create")
    ids = [create, *(f"${number:043d}" for number in range(20_000))]
    peer = net.peer("peer.test")
    peer.on("GET", "/_matrix/federation/v1/state_ids/.*", {"pdu_ids": ids, "auth_chain_ids": ids[:10]})
    at = RoomId(room), EventId(f"${0:043d}")
    asking = asyncio.ensure_future(fetch.state_ids(ctx, ServerName("peer.test"), *at, now=True))
    turns = 0
    while not asking.done():
        await asyncio.sleep(0)
        turns += 1
    assert asking.result() == (ids, ids[:10])
    assert turns >= 20
    peer.on("GET", "/_matrix/federation/v1/state_ids/.*", {"pdu_ids": ids * 21, "auth_chain_ids": []})
    with pytest.raises(BadJson):
        await fetch.state_ids(ctx, ServerName("peer.test"), *at, now=True)


async def test_advisory_09_state_of_another_room_is_not_fetched(net: Network) -> None:
    """What is told as the state lacks the room's own beginning: nothing of it is asked for, nor kept."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    guest.message("lost")
    near, last = guest.message("near"), guest.message("last")
    guest.peer.on("POST", "/_matrix/federation/v1/get_missing_events/.*", {"events": [near.pdu]})
    ids = [f"${number:043d}" for number in range(3)]
    guest.peer.on("GET", "/_matrix/federation/v1/state_ids/.*", {"pdu_ids": ids, "auth_chain_ids": ids})
    await guest.send(last)
    assert not is_shown(net, last)
    assert guest.asked("state_ids")
    assert [asked.segments[-1] for asked in guest.asked("/v1/event/") if asked.segments[-1] in ids] == []


async def test_advisory_09_events_that_cite_each_other_in_a_circle_end(net: Network) -> None:
    """In room version 1 ids are given, so events can follow themselves by way of others: nothing loops, and the room goes on."""
    _, room = await room_of(net, version="1")
    guest = await Guest.enter(net, room)
    guest.serve()
    tip = guest.tip
    auth = [guest.events[one] for one in guest.message("x", keep=False).auth_events]
    names = {"one": "$one:peer.test", "two": "$two:peer.test"}
    first = guest.message("one", prev=[tip], auth=auth, keep=False, event_id=names["one"])
    second = guest.message("two", prev=[first], auth=auth, keep=False, event_id=names["two"])
    circle = guest.message("one", prev=[second], auth=auth, keep=False, event_id=names["one"])
    itself = guest.message("self", prev=[tip], auth=auth, keep=False, event_id="$self:peer.test")
    itself = guest.message("self", prev=[itself], auth=auth, keep=False, event_id="$self:peer.test")
    for event in (circle, second):
        guest.events[event.event_id] = event
    await guest.send(circle, second, itself)
    good = guest.message("good", prev=[tip])
    await guest.send(good)
    assert is_shown(net, good)
    assert not is_shown(net, itself)
    assert len(guest.peer.received) < 60


def topics_lost(guest: Guest) -> tuple[list[Event], Event]:
    """Return state events that nobody was sent, at one of which the guest's server fails; and an event to send, which follows them at a distance."""
    guest.serve()
    topics = [guest.state_event("m.room.topic", {"topic": str(number)}, key=str(number)) for number in range(3)]
    guest.message("lost")
    near, last = guest.message("near"), guest.message("last")
    guest.peer.on("POST", "/_matrix/federation/v1/get_missing_events/.*", {"events": [near.pdu]})
    guest.peer.on("GET", f"/_matrix/federation/v1/event/.*{topics[1].event_id[1:]}", (503, {}))
    return topics, last


async def test_state_of_which_a_part_does_not_come_is_not_taken(net: Network) -> None:
    """The server falls silent before it has told all events of a state: nothing is built on the rest of it, and the next time all of it is there."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    topics, last = topics_lost(guest)
    guest.peer.on("GET", "/_matrix/federation/v1/state/.*", (503, {}))
    await guest.send(last)
    assert status(net, last) is None
    assert ("m.room.topic", "0") not in current(net, room)
    guest.serve()
    await guest.send(last)
    assert is_shown(net, last)
    assert {current(net, room)["m.room.topic", str(number)] for number in range(3)} == {one.event_id for one in topics}


async def test_state_comes_whole_from_a_server_that_fails_at_one_event_of_it(net: Network) -> None:
    """What has come by itself is not taken from it again."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    topics, last = topics_lost(guest)
    await guest.send(last)
    assert is_shown(net, last)
    assert {current(net, room)["m.room.topic", str(number)] for number in range(3)} == {one.event_id for one in topics}
    assert len(guest.asked("/v1/state/")) == 1


async def test_event_that_follows_older_ones_beside_our_join_is_taken() -> None:
    """Somebody has spoken while we joined, and did not know the newest: what they followed is history here, and its state is asked for."""
    async with network("two.test") as net:
        room = ScriptedRoom(net.peer("far.test"))
        base = room.events[-1]
        room.say(room.creator, "near")
        room.serve()
        bob = await net["two.test"].register("bob")
        await bob.post(f"/join/{room.room_id}?via=far.test", {})
        join = room.events[-1]
        aside = room.add(room.build("m.room.message", {"msgtype": "m.text", "body": "aside"}, prev=[base]))
        assert aside.depth < join.depth
        room.peer.on("POST", ".*/get_missing_events/.*", {"events": []})
        after = room.build("m.room.message", {"msgtype": "m.text", "body": "after"}, prev=[join, aside])
        await room.peer.send("two.test", [after])
        db = net["two.test"].ctx.db
        await until(lambda: timeline.position(db, after.event_id) is not None)
        assert state.current_id(db, RoomId(room.room_id), "m.room.member", bob.user_id) == join.event_id


async def test_state_that_was_found_out_meanwhile_stays(net: Network) -> None:
    """Two events that build on the same missing one may ask two servers for the state there; what the first has stood on is not replaced."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    guest.serve()
    lost, near = guest.message("lost"), guest.message("near")
    ctx = net["one.test"].ctx
    head = state.head(ctx.db, guest.room_id)
    assert head is not None

    def found_out(incoming: Incoming) -> Any:
        with ctx.db.batch() as batch:
            state.set_around(batch, short_ids.ensure_event(batch, lost.event_id), head.state, head.state)
        told = guest.before[lost.event_id]
        return {"pdu_ids": [one for pair, one in told.items() if pair[0] != "m.room.topic"], "auth_chain_ids": []}

    guest.peer.on("GET", "/_matrix/federation/v1/state_ids/.*", found_out)
    budget = fetch.Budget(ctx, guest.join.server_name)
    with ctx.db.batch() as batch:
        extra = short_ids.ensure_statekey(batch, "m.room.topic", "")
        other = short_ids.ensure_event(batch, near.event_id)
        head = head._replace(state=state_layers.with_event(batch, head.state, extra, other))
    assert await fetch.state_at(ctx, guest.join.server_name, near, lost.event_id, budget)
    assert state.after(ctx.db, lost.event_id) == head.state


async def test_advisory_09_auth_chain_is_kept_as_far_as_the_event_leads_to_it(net: Network) -> None:
    """What else a server puts into it, however well signed, leaves no trace."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    guest.serve()
    renamed, event = guest.renamed()
    others = [guest.message(f"stuffing {number}", keep=False) for number in range(20)]
    guest.peer.on(
        "GET", "/_matrix/federation/v1/event_auth/.*", {"auth_chain": [renamed.pdu, *[other.pdu for other in others]]}
    )
    await guest.send(event)
    assert is_shown(net, event)
    assert status(net, renamed) is not None
    assert all(status(net, other) is None for other in others)


async def test_advisory_25_what_is_told_for_one_owners_events_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event after event cites large ones that nobody has sent: after some of them no more is stored, until time has passed. Others' events are not held up."""
    monkeypatch.setattr(build, "MAX_TOLD_PIECES", 4)
    async with network("one.test") as net:
        _, room = await room_of(net)
        guest = await Guest.enter(net, room)
        other = await Guest.enter(net, room, name="other.example", user="olga")
        for one in (guest, other):
            one.serve()
        for number in range(4):
            await guest.send(guest.renamed(f"E{number}", padding=40_000)[1])
        refused = guest.renamed("last", padding=40_000)[1]
        await guest.send(refused)
        assert not is_shown(net, refused)
        fine = other.renamed("O")[1]
        await other.send(fine)
        assert is_shown(net, fine)
        net.clock.jump(60)
        await guest.send(refused)
        assert is_shown(net, refused)
