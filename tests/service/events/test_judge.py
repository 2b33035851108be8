"""What becomes of events of other servers: accepted, rejected, soft-failed, and what follows for the state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.database.layouts import REJECTED, SOFT_FAILED
from conduit.protocol.ids import EventId, RoomId, ServerName
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.service.events import receive
from conduit.service.events.judge import Verdict
from conduit.service.rooms import dropped, members, state, timeline, versions
from tests.support.client import segment
from tests.support.federation import Network, network
from tests.support.guest import Guest, current, is_shown, room_of, status, tips


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


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


async def test_event_that_was_read_by_the_rules_of_another_version_is_dropped(net: Network) -> None:
    """It has another id than others know it by, or references that nobody could read again in this room."""
    _, room = await room_of(net, version="10")
    guest = await Guest.enter(net, room)
    event = guest.message("hello")
    ctx, origin = net["one.test"].ctx, ServerName(event.server_name)
    odd = Event(event.event_id, event.pdu, ROOM_VERSIONS["9"])
    assert (await receive.process(ctx, origin, odd)).verdict is Verdict.DROPPED
    assert (await receive.process(ctx, origin, event)).verdict is Verdict.ACCEPTED


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


async def test_event_that_follows_all_branches_counts_though_the_current_state_knows_nothing_of_its_sender(
    net: Network,
) -> None:
    """Who left and came back on a branch of their own, while the room was closed on another, is in where both meet, if resolution says so."""
    alice, room = await room_of(net)
    guest = await Guest.enter(net, room)
    db = net["one.test"].ctx.db

    async def set_by_alice(event_type: str, content: dict[str, Any]) -> Event:
        event = timeline.event(db, EventId(await alice.set_state(room, event_type, content)))
        assert event is not None
        return guest.learn(event)

    levels = await alice.state(room, "m.room.power_levels")
    root = await set_by_alice("m.room.power_levels", {**levels, "users": {alice.user_id: 100, guest.user_id: 100}})
    leave = guest.state_event("m.room.member", {"membership": "leave"}, key=guest.user_id, prev=[root])
    rejoin = guest.state_event("m.room.member", {"membership": "join"}, key=guest.user_id)
    await net.clock.advance(1)  # among equals the younger event holds
    await set_by_alice("m.room.join_rules", {"join_rule": "invite"})
    await net.clock.advance(1)
    opened = guest.state_event("m.room.join_rules", {"join_rule": "public"}, prev=[rejoin])
    await guest.send(leave, rejoin, opened)
    assert is_shown(net, leave)
    assert status(net, rejoin) == status(net, opened) == SOFT_FAILED
    assert dropped.untold(db, RoomId(room)) == ["peer.test"]
    newest = timeline.event(db, EventId(await alice.send(room, "for who was put out")))
    assert newest is not None
    assert dropped.untold(db, RoomId(room)) == []

    beside = guest.message("beside the newest")
    await guest.send(beside)
    assert status(net, beside) == SOFT_FAILED
    assert dropped.untold(db, RoomId(room)) == ["peer.test"], "who still sends has not found out"

    guest.learn(newest)
    after_all = guest.message("after all", prev=[beside, newest])
    await guest.send(after_all)
    assert is_shown(net, after_all)
    assert tips(net, room) == {after_all.event_id}
    assert current(net, room) == guest.after[after_all.event_id]
    assert members.has_server(db, RoomId(room), "peer.test")


@pytest.mark.parametrize("is_kicked", [False, True])
async def test_own_branch_that_would_put_everybody_here_out_is_given_up(net: Network, is_kicked: bool) -> None:
    """Bob left and came back, and Carol left, while the room was closed elsewhere: together that lets nobody of here be in, nor send what would bring both together."""
    alice, room = await room_of(net)
    bob, carol = await net["one.test"].register("bob"), await net["one.test"].register("carol")
    await bob.join(room)
    await carol.join(room)
    guest = await Guest.enter(net, room)
    db = net["one.test"].ctx.db
    levels = await alice.state(room, "m.room.power_levels")
    levels["users"] = {alice.user_id: 100, guest.user_id: 100}
    promoted = timeline.event(db, EventId(await alice.set_state(room, "m.room.power_levels", levels)))
    assert promoted is not None
    guest.learn(promoted)
    await alice.leave(room)
    left = state.current(db, RoomId(room), "m.room.member", alice.user_id)
    assert left is not None
    guest.learn(left)
    await bob.leave(room)
    await bob.join(room)
    await carol.leave(room)
    await net.clock.advance(1)
    guest.tip = left
    if is_kicked:
        # Then only Carol is in elsewhere, who is out here.
        await guest.send(guest.state_event("m.room.member", {"membership": "leave"}, key=bob.user_id))
    closed = guest.state_event("m.room.join_rules", {"join_rule": "invite"})
    await guest.send(closed)
    expected = {carol.user_id} if is_kicked else {bob.user_id, carol.user_id}
    assert members.joined_local(db, RoomId(room), ServerName("one.test")) == expected
    assert tips(net, room) == {closed.event_id}
    assert current(net, room) == guest.after[closed.event_id]
    await carol.send(room, "still here")


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


@pytest.mark.parametrize("version", ["1", "2", "6", "9", "10", "11", "12"])
async def test_advisory_09_event_that_follows_one_of_another_room_brings_none_of_its_state(
    net: Network, version: str
) -> None:
    """A guest who rules one room names its power levels as what comes before his event in another: nothing of them holds there."""
    alice, room = await room_of(net, version=version, state_default=50)
    elsewhere = await alice.create_room(preset="public_chat", room_version=version)
    guest, other = await Guest.enter(net, room), await Guest.enter(net, elsewhere)
    levels = {guest.user_id: 100} | ({} if version == "12" else {alice.user_id: 100})
    await alice.put(f"/rooms/{segment(elsewhere)}/state/m.room.power_levels", {"users": levels})
    power = state.current(net["one.test"].ctx.db, RoomId(elsewhere), "m.room.power_levels")
    assert power is not None
    held = current(net, room), tips(net, room)
    auth = [guest.events[one] for one in guest.message("y", keep=False).auth_events]
    for prev in ([guest.tip, power], [power, guest.tip], [power], [other.join, guest.tip]):
        await guest.send(
            guest.message("z", prev=prev, auth=auth, keep=False),
            guest.state_event("m.room.topic", {"topic": "mine"}, prev=prev, auth=auth, keep=False),
        )
        assert (current(net, room), tips(net, room)) == held


async def test_memberships_and_counts_follow_a_merge_that_no_event_makes(net: Network) -> None:
    """A user leaves on one branch and takes a new name on another: what wins decides who is in the room, and everybody is told."""
    alice, room = await room_of(net)
    guest = await Guest.enter(net, room)
    other = await Guest.enter(net, room, name="other.test", user="olga")
    guest.learn(other.join)
    tip = other.join
    since = (await alice.sync())["next_batch"]
    left = guest.state_event("m.room.member", {"membership": "leave"}, key=guest.user_id, prev=[tip])
    renamed = guest.state_event(
        "m.room.member", {"membership": "join", "displayname": "E"}, key=guest.user_id, prev=[tip]
    )
    await guest.send(left, renamed)
    db = net["one.test"].ctx.db
    now = current(net, room)
    assert now == guest.state_before([left.event_id]) | {
        ("m.room.member", guest.user_id): now["m.room.member", guest.user_id]
    }
    joined = now["m.room.member", guest.user_id] == renamed.event_id
    assert (guest.user_id in members.joined(db, guest.room_id)) == joined
    assert members.joined_count(db, guest.room_id) == 2 + joined
    section = (await alice.sync(since=since))["rooms"]["join"][room]
    told = [*section["timeline"]["events"], *section.get("state", {}).get("events", [])]
    assert now["m.room.member", guest.user_id] in {event["event_id"] for event in told}


async def test_advisory_09_refused_events_that_follow_each_other_cost_no_more_and_more(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is read once to find what lies behind it, however long the line of them grows."""
    _, room = await room_of(net, state_default=50)
    guest = await Guest.enter(net, room)
    refused = [guest.state_event("m.room.topic", {"topic": str(number)}) for number in range(100)]
    reads = 0
    stored_event = versions.stored_event

    def counted(source: Any, event_id: EventId) -> bytes | None:
        nonlocal reads
        reads += 1
        return stored_event(source, event_id)

    monkeypatch.setattr(versions, "stored_event", counted)
    await guest.send(*refused[:50])
    await guest.send(*refused[50:])
    good = guest.message("good")
    await guest.send(good)
    assert is_shown(net, good)
    assert tips(net, room) == {good.event_id}
    assert reads <= 3 * len(refused)
