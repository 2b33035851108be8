"""Events of other servers from their first checks to their place."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator

import pytest

from conduit.protocol.pdu import Event
from conduit.service.events import receive
from conduit.service.events.receive import Verdict
from conduit.service.rooms import leaves, state, timeline
from tests.support import invariants
from tests.support.client import segment
from tests.support.federation import Network, network
from tests.support.guest import Guest, current, is_shown, room_of, until


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


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


async def test_event_is_decided_on_once(net: Network) -> None:
    """Processed again it is a duplicate, accepted or not."""
    _, room = await room_of(net, state_default=50)
    guest = await Guest.enter(net, room)
    ctx = net["one.test"].ctx
    good = guest.message("good")
    bad = guest.state_event("m.room.topic", {"topic": "mine"}, keep=False)
    assert (await receive.process(ctx, guest.join.server_name, good)).verdict is Verdict.ACCEPTED
    assert (await receive.process(ctx, guest.join.server_name, bad)).verdict is Verdict.REJECTED
    for event in (good, bad):
        assert (await receive.process(ctx, guest.join.server_name, event)).verdict is Verdict.DUPLICATE


async def test_relayed_event_is_queued_for_the_others_in_the_room(net: Network) -> None:
    """Not for the server that brought it."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    other = await Guest.enter(net, room, name="other.test", user="olga")
    guest.learn(other.join)
    event = guest.message("to all", prev=[other.join])
    sent = len(other.peer.received)
    await receive.process(net["one.test"].ctx, guest.join.server_name, event, relay=True)
    await until(lambda: len(other.peer.received) > sent)
    assert event.event_id in str(other.peer.received[-1].json()["pdus"]) or is_shown(net, event)


async def test_state_before_an_event_follows_from_those_before_it(net: Network) -> None:
    """Known for what is decided on, resolved for what is not, and unknown where something is missing."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    ctx = net["one.test"].ctx
    first = guest.message("first")
    missing = guest.message("missing")
    after = guest.message("after")
    number = await receive.state_before(ctx, first)
    assert number is not None
    assert invariants.named(ctx.db, number) == guest.before[first.event_id]
    assert await receive.state_before(ctx, after) is None
    assert not is_shown(net, missing)
