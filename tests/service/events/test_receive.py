"""Events of other servers, decided on: accepted, rejected, soft-failed; forks, missing events, and what it costs."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable

import pytest

from conduit.database.layouts import REJECTED, SOFT_FAILED
from conduit.protocol.ids import RoomId
from conduit.protocol.pdu import Event
from conduit.service.rooms import leaves, members, state, timeline
from tests.support import invariants
from tests.support.client import User, segment
from tests.support.federation import Network, network
from tests.support.guest import Guest, State


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


async def room_of(net: Network, *, version: str = "10", **levels: int) -> tuple[User, str]:
    """Return a user of the homeserver and a public room of theirs, in which `levels` are set and others may set state."""
    alice = await net["one.test"].register("alice")
    override = {"state_default": 0, "events_default": 0, "invite": 0, "events": {}, **levels}
    room = await alice.create_room(preset="public_chat", room_version=version, power_level_content_override=override)
    return alice, room


def current(net: Network, room: str) -> State:
    """Return the room's current state on the homeserver."""
    return dict(state.current_ids(net["one.test"].ctx.db, RoomId(room)))


def status(net: Network, event: Event) -> int | None:
    """Return the status of an event on the homeserver, `None` for an unknown one."""
    facts = timeline.meta(net["one.test"].ctx.db, event.event_id)
    return None if facts is None else facts.status


def is_shown(net: Network, event: Event) -> bool:
    """Tell whether an event is in the timeline."""
    return timeline.position(net["one.test"].ctx.db, event.event_id) is not None


async def until(holds: Callable[[], bool]) -> None:
    """Return once something holds that happens in the background."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 (nobody is told of it)
            await asyncio.sleep(0)


def tips(net: Network, room: str) -> set[str]:
    """Return the ids of the room's leaves."""
    return {leaf.event_id for leaf in leaves.of(net["one.test"].ctx.db, RoomId(room))}


@pytest.mark.parametrize("version", ["1", "2", "6", "10", "11", "12"])
async def test_current_state_of_a_fork_is_resolved_over_all_leaves(net: Network, version: str) -> None:
    """Two branches set the same things; what holds is what resolution says, now and after they have met."""
    _, room = await room_of(net, version=version)
    guest = await Guest.enter(net, room)
    root = guest.tip
    one = [guest.state_event("m.room.topic", {"topic": "one"}, prev=[root]), guest.state_event("x.one", {})]
    two = [guest.state_event("m.room.topic", {"topic": "two"}, prev=[root]), guest.state_event("x.two", {})]
    await guest.send(*one, *two)
    assert tips(net, room) == {one[-1].event_id, two[-1].event_id}
    assert current(net, room) == guest.state_before([one[-1].event_id, two[-1].event_id])
    met = guest.message("met", prev=[one[-1], two[-1]])
    await guest.send(met)
    assert tips(net, room) == {met.event_id}
    assert current(net, room) == guest.after[met.event_id]


async def test_clients_are_told_of_state_that_a_merge_brings_back(net: Network) -> None:
    """A branch that comes late wins a state key: the event is new, but the other member events that win with it are in `state`."""
    alice, room = await room_of(net)
    guest = await Guest.enter(net, room)
    root = guest.tip
    early = guest.state_event("m.room.topic", {"topic": "early"}, prev=[root])
    since = (await alice.sync())["next_batch"]
    await guest.send(early)
    late = [guest.message(str(number), prev=[root] if not number else None) for number in range(3)]
    await guest.send(*late)
    joined = (await alice.sync(since=since))["rooms"]["join"][room]
    assert (await alice.state(room, "m.room.topic", ""))["topic"] == "early"
    assert [event["event_id"] for event in joined["timeline"]["events"]] == [
        early.event_id,
        *[e.event_id for e in late],
    ]


async def test_event_that_its_auth_events_do_not_allow_is_rejected(net: Network) -> None:
    """It is kept as such, never shown, takes no leaf's place, and does not change the state."""
    alice, room = await room_of(net, state_default=50)
    guest = await Guest.enter(net, room)
    before = tips(net, room), current(net, room)
    event = guest.state_event("m.room.topic", {"topic": "mine"}, keep=False)
    await guest.send(event)
    assert status(net, event) == REJECTED
    assert (tips(net, room), current(net, room)) == before
    await alice.get(f"/rooms/{segment(room)}/event/{segment(event.event_id)}", expect=404)


async def test_advisory_08_events_after_a_rejected_one_count_and_it_never_enters_the_state(net: Network) -> None:
    """The state after a rejected event is the one before it; what cites it as authorisation is rejected too."""
    _, room = await room_of(net, state_default=50)
    guest = await Guest.enter(net, room)
    topic = guest.state_event("m.room.topic", {"topic": "mine"}, keep=False)
    guest.learn(topic)
    guest.after[topic.event_id] = guest.before[topic.event_id]
    message = guest.message("after it", prev=[topic])
    await guest.send(topic, message)
    assert status(net, topic) == REJECTED
    assert is_shown(net, message)
    assert tips(net, room) == {message.event_id}
    assert ("m.room.topic", "") not in current(net, room)
    levels = guest.events[guest.after[message.event_id]["m.room.power_levels", ""]]
    mine = {**levels.content, "users": {**levels.content["users"], guest.user_id: 100}}
    usurped = guest.state_event("m.room.power_levels", mine, keep=False)
    create = guest.events[guest.after[message.event_id]["m.room.create", ""]]
    by_usurped = guest.state_event(
        "m.room.topic", {"topic": "x"}, prev=[message], auth=[create, usurped, guest.join], keep=False
    )
    await guest.send(usurped, by_usurped)
    assert status(net, usurped) == status(net, by_usurped) == REJECTED


async def test_event_that_the_current_state_forbids_is_soft_failed(net: Network) -> None:
    """Somebody banned goes on where the ban is not known yet: nobody is shown it, and nothing of ours follows it."""
    alice, room = await room_of(net)
    guest = await Guest.enter(net, room)
    tip = guest.tip
    await alice.post(f"/rooms/{segment(room)}/ban", {"user_id": guest.user_id})
    held = tips(net, room), current(net, room)
    evading = guest.message("still here", prev=[tip])
    await guest.send(evading)
    assert status(net, evading) == SOFT_FAILED
    assert not is_shown(net, evading)
    assert (tips(net, room), current(net, room)) == held
    await alice.get(f"/rooms/{segment(room)}/event/{segment(evading.event_id)}", expect=404)


async def test_event_that_cites_a_soft_failed_one_takes_the_place_of_what_lies_behind(net: Network) -> None:
    """The soft-failed event is no leaf and takes no place; who comes after it, and is accepted, stands for both."""
    alice, room = await room_of(net)
    guest = await Guest.enter(net, room)
    other = await Guest.enter(net, room, name="other.test", user="olga")
    other.events.update(guest.events)
    guest.learn(other.join)
    tip = other.join
    ban = await alice.post(f"/rooms/{segment(room)}/ban", {"user_id": guest.user_id})
    assert ban == {}
    db = net["one.test"].ctx.db
    ban_id = state.current_id(db, RoomId(room), "m.room.member", guest.user_id)
    assert ban_id is not None
    known = timeline.event(db, ban_id)
    assert known is not None
    evading = guest.message("still here", prev=[tip])
    await guest.send(evading)
    other._take(known, other.after[tip.event_id])
    other._take(evading, other.after[tip.event_id])
    merge = other.message("both", prev=[known, evading])
    await other.send(merge)
    assert is_shown(net, merge)
    assert tips(net, room) == {merge.event_id}


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
    """Too much is missing: the state at the gap comes by ids and single events; the timeline says that something is missing."""
    alice, room = await room_of(net)
    guest = await Guest.enter(net, room)
    guest.serve()
    guest.peer.on("POST", "/_matrix/federation/v1/get_missing_events/.*", {"events": []})
    since = (await alice.sync())["next_batch"]
    topic = guest.state_event("m.room.topic", {"topic": "meanwhile"})
    lost, last = guest.message("lost"), guest.message("last")
    await guest.send(last)
    assert is_shown(net, last)
    assert not is_shown(net, lost)
    assert current(net, room)["m.room.topic", ""] == topic.event_id
    joined = (await alice.sync(since=since))["rooms"]["join"][room]
    assert [event["event_id"] for event in joined["timeline"]["events"]] == [last.event_id]
    assert joined["timeline"]["limited"]
    assert topic.event_id in {event["event_id"] for event in joined["state"]["events"]}


async def test_missing_auth_events_are_fetched(net: Network) -> None:
    """An event cites a change of the sender's name on a branch that was never sent: its chain is asked for."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    guest.serve()
    root = guest.tip
    renamed = guest.state_event("m.room.member", {"membership": "join", "displayname": "E"}, key=guest.user_id)
    auth = [renamed if one == guest.join.event_id else guest.events[one] for one in guest.message("x").auth_events]
    odd = guest.message("odd", prev=[root], auth=auth)
    await guest.send(odd)
    assert is_shown(net, odd)
    assert status(net, renamed) is not None
    assert guest.asked("event_auth")


async def test_event_of_which_the_auth_events_cannot_be_had_is_dropped(net: Network) -> None:
    """It may come again: nothing is kept, and what others send goes on."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    root = guest.tip
    renamed = guest.state_event("m.room.member", {"membership": "join", "displayname": "E"}, key=guest.user_id)
    auth = [renamed if one == guest.join.event_id else guest.events[one] for one in guest.message("x").auth_events]
    odd = guest.message("odd", prev=[root], auth=auth)
    good = guest.message("good", prev=[root])
    await guest.send(odd, good)
    assert status(net, odd) is None
    assert is_shown(net, good)


async def test_advisory_03_event_of_another_room_authorises_nothing(net: Network) -> None:
    """Auth events are looked for by id alone, so their room is checked."""
    alice, room = await room_of(net)
    elsewhere = await alice.create_room(preset="public_chat", room_version="10")
    guest, other = await Guest.enter(net, room), await Guest.enter(net, elsewhere)
    event = guest.message("x", auth=[other.events[one] for one in other.message("y").auth_events], keep=False)
    await guest.send(event)
    assert status(net, event) == REJECTED
    foreign = guest.message(
        "z", prev=[other.join], auth=[guest.events[a] for a in guest.message("w").auth_events], keep=False
    )
    await guest.send(foreign)
    assert not is_shown(net, foreign)


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


async def test_one_origin_that_lets_us_wait_does_not_hold_up_others(net: Network) -> None:
    """Advisory 25: an event whose server never answers goes aside; those of others in the room are shown meanwhile."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    other = await Guest.enter(net, room, name="other.test", user="olga")
    answered = asyncio.Event()

    async def wait(incoming: object) -> tuple[int, dict[str, str]]:
        await answered.wait()
        return 404, {}

    guest.peer.on("POST", "/_matrix/federation/v1/get_missing_events/.*", wait)
    guest.message("lost")
    await guest.peer.send("one.test", [guest.message("hangs")])
    await other.peer.send("one.test", [other.message("goes on")])
    await until(lambda: is_shown(net, other.tip))
    answered.set()


async def test_many_leaves_are_folded(net: Network) -> None:
    """A server that always cites the same old event makes many leaves: one event of ours takes their place."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    root = guest.tip
    branches = [guest.message(str(number), prev=[root]) for number in range(15)]
    await guest.send(*branches)
    ctx = net["one.test"].ctx
    await until(lambda: len(leaves.of(ctx.db, guest.room_id)) <= 10)
    assert members.is_joined(ctx.db, guest.room_id, guest.join.sender)


SEEDS = 60 if os.environ.get("TEST_DEPTH") == "full" else 4
USERS = ("eve", "mal", "zed")


def _grow(guest: Guest, rng: random.Random) -> Event:
    """Add a random event of one of the peer's users somewhere in the graph."""
    name = guest.peer.name
    user, other = (f"@{rng.choice(USERS)}:{name}" for _ in range(2))
    grown = [event for event in guest.events.values() if event.event_id in guest.after]
    newest = grown[-6:]
    prev = rng.sample(newest, min(len(newest), rng.choice((1, 1, 1, 2, 3))))
    act = rng.randrange(9)
    if act < 2:
        return guest.state_event("m.room.topic", {"topic": str(rng.random())}, prev=prev, sender=user)
    if act == 2:
        return guest.state_event(
            "x.setting", {"value": rng.random().hex()}, prev=prev, sender=user, key=rng.choice("ab")
        )
    if act == 3:
        rule = {"join_rule": rng.choice(("public", "invite"))}
        return guest.state_event("m.room.join_rules", rule, prev=prev, sender=user)
    if act == 4:
        state_ids = guest.state_before([event.event_id for event in prev])
        levels = guest.events[state_ids["m.room.power_levels", ""]].content
        changed = {**levels, "users": {**levels["users"], other: rng.choice((0, 50, 60))}}
        return guest.state_event("m.room.power_levels", changed, prev=prev, sender=user)
    if act == 5:
        change = {"membership": rng.choice(("ban", "leave", "invite"))}
        return guest.state_event("m.room.member", change, prev=prev, sender=user, key=other)
    if act == 6:
        change = {"membership": rng.choice(("join", "leave")), "displayname": rng.random().hex()}
        return guest.state_event("m.room.member", change, prev=prev, sender=user, key=user)
    return guest.message(rng.random().hex(), prev=prev, sender=user)


@pytest.mark.parametrize("version", ["2", "10", "12"])
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_history_delivered_in_any_order_ends_in_the_state_of_its_whole_graph(
    net: Network, version: str, seed: int
) -> None:
    """Forked histories with bans, changes of power and forbidden events: the state after every event is the one that the whole graph gives."""
    rng = random.Random(f"{version} {seed}")
    peer = "peer.test"
    users = {f"@eve:{peer}": 100 if version != "12" else 90, f"@mal:{peer}": 50}
    alice = await net["one.test"].register("alice")
    override = {"state_default": 50, "invite": 0, "events": {}}
    room = await alice.create_room(preset="public_chat", room_version=version, power_level_content_override=override)
    levels = await alice.state(room, "m.room.power_levels", "")
    levels["users"] = {**levels["users"], **users}
    await alice.put(f"/rooms/{segment(room)}/state/m.room.power_levels/", levels)
    guest = await Guest.enter(net, room)
    guest.serve()
    joins = [
        guest.state_event("m.room.member", {"membership": "join"}, key=f"@{n}:{peer}", sender=f"@{n}:{peer}")
        for n in USERS[1:]
    ]
    await guest.send(*joins)
    grown = [_grow(guest, rng) for _ in range(30)]
    cited = {prev for event in grown for prev in event.prev_events}
    loose = [event for event in grown if event.event_id not in cited and event.event_id in guest.accepted]
    last = guest.message("met", prev=loose[-20:] or [grown[-1]], sender=f"@eve:{peer}")
    order = [*grown, last]
    rng.shuffle(order)
    while order:
        count = rng.randint(1, 6)
        await guest.send(*order[:count])
        order = order[count:]
    db = net["one.test"].ctx.db
    for event in (*grown, last):
        after = state.after(db, event.event_id)
        assert after is not None, event
        assert invariants.named(db, after) == guest.after[event.event_id], event
    for _, event in timeline.scan(db, guest.room_id):
        if event.sender == alice.user_id and event.event_id not in guest.events:
            guest.learn(event)  # leaves were folded
    here = leaves.of(db, guest.room_id)
    assert current(net, room) == guest.state_before([leaf.event_id for leaf in here])
