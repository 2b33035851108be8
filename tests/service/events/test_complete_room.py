"""Rooms that were joined without their members."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from conduit.protocol.ids import EventId, ServerName
from conduit.service.actions import join
from conduit.service.events import complete_room, recover
from conduit.service.outbound.errors import Unreachable
from conduit.service.rooms import members, partial, state, timeline
from conduit.service.rooms.server_sight import ServerViewer
from tests.support.client import User, segment
from tests.support.federation import Incoming, Network, network
from tests.support.outgoing import quiet, until
from tests.support.partial_room import PartialRoom

ZOE = "@zoe:far.test"


@pytest.fixture(autouse=True)
def _answer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let joins be answered before the room is complete without waiting for that."""
    monkeypatch.setattr(join, "WHOLE_SECONDS", 0.01)


class Held(PartialRoom):
    """A room whose server leaves members out, and does not tell the rest before it may."""

    def __init__(self, net: Network, version: str = "10") -> None:
        super().__init__(net, version)
        self.room.omits = True
        self.room.servers = ["far.test", "other.test", "not a name", 7]  # type: ignore[list-item]
        self.room.member(ZOE)
        net.peer("other.test").on("PUT", r".*/send/.*", {"pdus": {}})

    def serve(self) -> None:
        """Answer as the room does, its state only when that is let go."""
        self.room.serve()

        async def state_ids(incoming: Incoming) -> Any:
            await self.may_tell.wait()
            return self.room.state_ids()

        self.room.peer.on("GET", r".*/state_ids/.*", state_ids)


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One server."""
    async with network("two.test") as net:
        yield net


@pytest.fixture
def held(net: Network) -> Held:
    """A room with Zoe in it, which is not served yet."""
    return Held(net)


@pytest.fixture
async def bob(net: Network) -> User:
    """Whoever joins."""
    return await net["two.test"].register("bob")


async def test_room_is_usable_before_its_members_are_known(net: Network, held: Held, bob: User) -> None:
    """One may send and sees it, other servers get it, and messages of members that are not known come in."""
    held.serve()
    await held.join(bob)
    assert held.membership(ZOE) is None
    own = await bob.send(held.room_id, "first")
    seen = (await bob.sync())["rooms"]["join"][held.room_id]["timeline"]["events"]
    assert own in [event["event_id"] for event in seen]
    near, far = held.room.peer.received, net.peer("other.test").received
    await until(lambda: all(any("/send/" in got.target for got in received) for received in (near, far)))
    said = held.room.say(ZOE, "hello")
    await held.room.peer.send("two.test", [said])
    await until(lambda: timeline.position(held.ctx.db, said.event_id) is not None)
    assert held.membership(ZOE) == "join"  # by what her message cites
    lazy = {"room": {"state": {"lazy_load_members": True}}}
    shown = (await bob.sync(filter=orjson.dumps(lazy).decode()))["rooms"]["join"][held.room_id]
    assert ZOE in [event["state_key"] for event in shown["state"]["events"]]
    assert held.is_partial
    await held.complete()
    assert held.membership(ZOE) == "join"
    assert members.joined_count(held.ctx.db, held.room_id) == 3
    after = state.after(held.ctx.db, said.event_id)
    assert after is not None
    assert state.get_id(held.ctx.db, after, "m.room.member", ZOE) == held.room.state["m.room.member", ZOE].event_id


async def test_members_asked_for_too_early_are_waited_for(held: Held, bob: User) -> None:
    """Who asks for the members of a room that is not complete gets all of them, later."""
    held.serve()
    await held.join(bob)
    asking = bob.start(bob.get(f"/rooms/{held.room_id}/joined_members"))
    listing = bob.start(bob.get(f"/rooms/{held.room_id}/members"))
    await quiet()
    assert not asking.done()
    await held.complete()
    assert ZOE in (await asking)["joined"]
    assert ZOE in [event["state_key"] for event in (await listing)["chunk"]]


async def test_completion_shows_in_sync_and_tracks_devices(held: Held, bob: User) -> None:
    """A client that wants all members gets those that have become known, in the next /sync, and hears that their device lists are to be asked for."""
    held.serve()
    await held.join(bob)
    since = (await bob.sync())["next_batch"]
    update = {"user_id": ZOE, "device_id": "NEW", "stream_id": 3, "prev_id": []}
    await held.room.peer.send("two.test", [], [{"edu_type": "m.device_list_update", "content": update}])
    assert "device_lists" not in await bob.get("/sync", params={"since": since})
    await held.complete()
    news = await bob.sync(since)
    assert ZOE in news["device_lists"]["changed"]
    told = news["rooms"]["join"][held.room_id]["state"]["events"]
    assert ZOE in [event["state_key"] for event in told]


async def test_acts_on_members_that_are_not_known_wait(held: Held, bob: User) -> None:
    """Whether somebody is in the room decides what may be done with them; so that is found out first."""
    held.room.member(ZOE, "ban", held.room.creator)
    held.room.set("m.room.power_levels", {"users": {held.room.creator: 100, bob.user_id: 50}})
    held.serve()
    await held.join(bob)
    inviting = bob.start(bob.invite(held.room_id, ZOE, expect=403))
    await quiet()
    assert not inviting.done()
    await held.complete()
    await inviting
    assert held.membership(ZOE) == "ban"


async def test_event_let_in_wrongly_is_taken_out_when_the_members_are_known(held: Held, bob: User) -> None:
    """A banned user's message cites an old membership and so passes while the ban is not known; later it is rejected."""
    joined = held.room.state["m.room.member", ZOE]
    held.room.member(ZOE, "ban", held.room.creator)
    held.serve()
    await held.join(bob)
    create, levels = held.room.state["m.room.create", ""], held.room.state["m.room.power_levels", ""]
    bad = held.room.build(
        "m.room.message", {"msgtype": "m.text", "body": "spam"}, sender=ZOE, auth=[create, levels, joined]
    )
    await held.room.peer.send("two.test", [bad])
    await until(lambda: timeline.position(held.ctx.db, bad.event_id) is not None)
    await held.complete()
    assert held.membership(ZOE) == "ban"
    assert timeline.position(held.ctx.db, bad.event_id) is None
    assert timeline.event(held.ctx.db, bad.event_id) is None
    await bob.send(held.room_id, "afterwards")


async def test_completion_survives_a_restart(net: Network, held: Held, bob: User) -> None:
    """The room is still incomplete after a restart, and is completed then."""
    held.serve()
    # Nobody is there to complete it now, as after a crash.
    net.board.on_exchange = lambda incoming, server: _fail(incoming)
    await held.join(bob)
    net.board.on_exchange = lambda incoming, server: None
    held.may_tell.set()
    held.ctx.db.cache_pool.clear()
    known = partial.find(held.ctx.db, held.room_id)
    assert known is not None
    assert known.servers == {"far.test", "other.test"}
    task = net["two.test"].start(recover.run(held.ctx))
    await held.completed()
    assert held.membership(ZOE) == "join"
    assert not task.done()


async def test_answer_that_makes_the_completion_fail_does_not_end_it(net: Network, held: Held, bob: User) -> None:
    """Whatever goes wrong with what one server tells, the next is asked, and later the first again."""

    def fail(incoming: Incoming, server: str) -> None:
        if "/state_ids/" in incoming.target:
            raise ValueError("for the test")

    held.serve()
    net.board.on_exchange = fail
    await held.join(bob)
    await quiet()
    net.board.on_exchange = lambda incoming, server: None
    held.may_tell.set()
    net.clock.jump(60)
    await held.completed()
    assert held.membership(ZOE) == "join"


def _fail(incoming: Incoming) -> None:
    if "/state_ids/" in incoming.target:
        raise Unreachable("far.test", "for the test")


async def test_completion_broken_off_when_the_join_itself_has_gone_is_done_again(
    net: Network, held: Held, bob: User
) -> None:
    """The whole state does not allow the join. Who finds it taken out already, as after a crash, completes the room all the same."""
    held.serve()
    net.board.on_exchange = lambda incoming, server: _fail(incoming)
    await held.join(bob)
    net.board.on_exchange = lambda incoming, server: None
    held.may_tell.set()
    ban = held.room.member(bob.user_id, "ban", held.room.creator)
    told = held.room.state_ids()
    told["pdu_ids"].append(ban.event_id)
    held.room.peer.on("GET", r".*/state_ids/.*", told)
    known = partial.find(held.ctx.db, held.room_id)
    assert known is not None

    def begin() -> asyncio.Task[None]:
        return asyncio.create_task(complete_room.complete_from(held.ctx, held.room_id, known, ServerName("far.test")))

    task = begin()
    for _ in range(10_000):
        if timeline.position(held.ctx.db, known.event_id) is None:
            break
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert held.is_partial
    await begin()
    assert not held.is_partial
    assert held.membership(bob.user_id) == "ban"
    assert held.membership(ZOE) == "join"


async def test_many_members_come_with_the_whole_state(held: Held, bob: User) -> None:
    """Above a bound the events are not fetched one by one."""
    for number in range(complete_room.FEW + 5):
        held.room.member(f"@user{number}:far.test")
    held.serve()
    await held.join(bob)
    await held.complete()
    assert members.joined_count(held.ctx.db, held.room_id) == complete_room.FEW + 8
    assert not [got for got in held.room.peer.received if "/event/" in got.target]


async def test_room_left_before_it_is_complete_is_let_go(held: Held, bob: User) -> None:
    """Nobody needs its members any more."""
    held.serve()
    await held.join(bob)
    await bob.leave(held.room_id)
    await held.complete()
    assert held.membership(bob.user_id) == "leave"


async def test_version_12_room_is_completed(net: Network, bob: User) -> None:
    """A room id without a server, and a create event that nobody cites."""
    held = Held(net, "12")
    held.serve()
    await held.join(bob)
    await held.complete()
    assert held.membership(ZOE) == "join"


async def test_server_that_falls_silent_midway_leaves_no_member_out(net: Network, held: Held, bob: User) -> None:
    """It has named the state and tells a part of it only: another server of the room is asked for the rest."""
    joined = held.room.state["m.room.member", ZOE]
    held.serve()
    other = net.peer("other.test")

    other.on("GET", ".*/state_ids/.*", lambda _: held.room.state_ids())
    other.on("GET", ".*/event/.*", {"origin": "other.test", "origin_server_ts": 1, "pdus": [joined.pdu]})
    held.room.peer.on("GET", f".*/event/.*{joined.event_id[1:]}", (502, {}))
    await held.join(bob)
    await held.complete()
    assert held.membership(ZOE) == "join"
    # What the first one has told is not asked for again.
    assert [got.segments[-1] for got in other.received if "/event/" in got.path] == [joined.event_id]


@pytest.mark.parametrize("told", [{}, {"pdu_ids": ["$" + "A" * 43], "auth_chain_ids": []}])
async def test_answer_without_the_state_of_the_room_completes_nothing(
    net: Network, held: Held, bob: User, told: Any
) -> None:
    """The room would be one without its members for good: another server is asked."""
    joined = held.room.state["m.room.member", ZOE]
    held.serve()
    held.room.peer.on("GET", ".*/state_ids/.*", told)
    other = net.peer("other.test")
    other.on("GET", ".*/state_ids/.*", lambda _: held.room.state_ids())
    other.on("GET", ".*/event/.*", {"origin": "other.test", "origin_server_ts": 1, "pdus": [joined.pdu]})
    await bob.post(f"/join/{held.room_id}?via=far.test", {})
    await held.completed()
    assert held.membership(ZOE) == "join"


async def test_server_that_came_after_the_join_is_asked_too(net: Network, held: Held, bob: User) -> None:
    """The only one that was there before has fallen silent."""
    held.room.servers = ["far.test"]
    held.serve()
    net.board.on_exchange = lambda incoming, server: _fail(incoming) if server == "far.test" else None
    await held.join(bob)
    ann, new = "@ann:new.test", net.peer("new.test")
    cited = ("m.room.create", "m.room.power_levels", "m.room.join_rules")
    came = new.event(
        "10",
        "m.room.member",
        sender=ann,
        content={"membership": "join"},
        room_id=held.room_id,
        prev=held.room.events[-1:],
        auth=[held.room.state[kind, ""] for kind in cited],
        state_key=ann,
    )
    events, chain = held.room.whole()
    by_id = {event.event_id: event.pdu for event in (*events, *chain)}
    new.on("GET", ".*/state_ids/.*", held.room.state_ids())
    new.on("GET", ".*/event/.*", lambda incoming: {"pdus": [by_id[EventId(incoming.segments[-1])]]})
    await held.room.peer.send("two.test", [came])
    await until(lambda: held.membership(ann) == "join")
    net.clock.jump(complete_room.FIRST_PAUSE)
    await held.completed()
    assert held.membership(ZOE) == "join"


async def test_further_user_joins_through_another_server(
    net: Network, held: Held, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which knows whether he is banned. Who is, is not let in."""
    monkeypatch.setattr(join, "KNOWN_SECONDS", 0.01)
    held.serve()
    carol = await net["two.test"].register("carol")
    await held.join(bob)
    await carol.post(f"/join/{held.room_id}", {})
    assert held.is_partial
    assert held.membership(carol.user_id) == "join"
    assert [event["sender"] for event in held.room.joins] == [bob.user_id, carol.user_id]
    await carol.send(held.room_id, "here")
    dave = await net["two.test"].register("dave")
    held.room.peer.on("GET", ".*/make_join/.*", (403, {"errcode": "M_FORBIDDEN", "error": "You are banned"}))
    await dave.post(f"/join/{held.room_id}", {}, expect="M_FORBIDDEN")
    await held.complete()
    assert held.membership(carol.user_id) == "join"


async def test_servers_that_were_named_may_ask_for_what_they_are_sent(net: Network, held: Held, bob: User) -> None:
    """It is theirs although nobody of them is known to be in the room; what lies before the join is not."""
    held.room.set("m.room.history_visibility", {"history_visibility": "joined"})
    early = held.room.say(held.room.creator, "early")
    held.serve()
    await held.join(bob)
    first, second = [await bob.send(held.room_id, body) for body in ("first", "second")]
    target = f"/_matrix/federation/v1/get_missing_events/{segment(held.room_id)}"
    asked = {"latest_events": [second], "earliest_events": [held.room.events[-1].event_id], "limit": 10}
    [missing] = (await net.peer("other.test").post("two.test", target, asked))["events"]
    assert missing["content"] == {"msgtype": "m.text", "body": "first"}
    viewer = ServerViewer(held.ctx.db, held.room_id, ServerName("other.test"))
    known = timeline.event(held.ctx.db, EventId(first))
    assert known is not None
    assert viewer.sees(known)
    assert not viewer.sees(early)
    assert not ServerViewer(held.ctx.db, held.room_id, ServerName("third.test")).sees(known)
    await held.complete()


async def test_room_is_completed_though_one_event_makes_its_server_fail(net: Network, held: Held, bob: User) -> None:
    """It is asked for with the whole state the next time; what that does not hold either is done without."""
    held.room.servers = ["far.test"]
    lost = held.room.member("@lost:far.test")
    held.serve()
    held.room.peer.on("GET", f".*/event/.*{lost.event_id[1:]}", (500, {}))
    held.may_tell.set()
    await bob.post(f"/join/{held.room_id}?via=far.test", {})
    await until(lambda: sum("/event/" in got.path for got in held.room.peer.received) >= 2)
    await quiet()
    assert held.is_partial
    events, chain = held.room.whole()
    told = [event.pdu for event in events if event is not lost]
    held.room.peer.on("GET", ".*/state/.*", {"pdus": told, "auth_chain": [event.pdu for event in chain]})
    await net.clock.advance(complete_room.FIRST_PAUSE)
    await held.completed()
    assert held.membership(ZOE) == "join"
    assert held.membership("@lost:far.test") is None
