"""Joining a large room through a server that leaves no members out."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from conduit.service.actions import join
from conduit.service.events import core_state, recover, remote_join
from conduit.service.events.complete_room import JOIN_ARRAYS
from conduit.service.rooms import state, timeline
from tests.support.federation import Incoming, Network, network
from tests.support.outgoing import until
from tests.support.partial_room import PartialRoom
from tests.support.scripted_room import ScriptedRoom

VERSIONS = ("1", "10", "12")


@pytest.fixture(autouse=True)
def _small_rooms_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat rooms of tests as large ones, and answer joins before they are complete without waiting for that."""
    monkeypatch.setattr(remote_join, "LARGE", 0)
    monkeypatch.setattr(join, "WHOLE_SECONDS", 0.01)


class Crowd(PartialRoom):
    """A room with some users of its own server, and many of another, whose keys are not told before they may."""

    def __init__(self, net: Network, version: str = "10") -> None:
        super().__init__(net, version)
        for number in range(core_state.SHOWN):
            self.room.member(f"@user{number}:far.test")
        self.slow = net.peer("slow.test")
        self.slow_member("@zoe:slow.test")
        for number in range(30):
            self.slow_member(f"@user{number}:slow.test")

        async def keys(incoming: Incoming) -> Any:
            await self.may_tell.wait()
            return self.slow.key_document()

        self.slow.on("GET", "/_matrix/key/v2/server", keys)
        self.slow.on("PUT", r".*/send/.*", {"pdus": {}})

    def slow_member(self, user_id: str) -> None:
        """Add a member whose event cannot be checked yet."""
        draft = self.room.build("m.room.member", {"membership": "join"}, state_key=user_id, sender=user_id)
        self.room.add(
            self.slow.event(
                self.room.version,
                "m.room.member",
                sender=user_id,
                state_key=user_id,
                content=draft.content,
                room_id=self.room.room_id,
                prev=self.room.events[-1:],
                auth=[event for event in self.room.events if event.event_id in draft.auth_events],
            )
        )

    def asked(self) -> list[str]:
        """What the room's server was asked beside the handshake and for events."""
        acts = [incoming.segments[3] for incoming in self.room.peer.received if len(incoming.segments) > 3]
        return [act for act in acts if act in ("state", "state_ids", "event")]


@pytest.mark.parametrize("version", VERSIONS)
async def test_room_is_usable_before_its_members_are_checked_and_completed_by_the_answer(version: str) -> None:
    """One may send at once, everybody's server gets it, and nobody is asked for what was told already."""
    async with network("two.test", allow_unstable_room_versions=True) as net:
        crowd = Crowd(net, version)
        crowd.room.serve()
        bob = await net["two.test"].register("bob")
        await crowd.join(bob)
        assert crowd.membership("@zoe:slow.test") is None
        assert crowd.membership(crowd.room.creator) == "join"
        await bob.send(crowd.room_id, "first")
        near, far = crowd.room.peer.received, crowd.slow.received
        await until(lambda: all(any("/send/" in got.target for got in received) for received in (near, far)))
        await crowd.complete()
        assert crowd.asked() == []
        listed = (await bob.get(f"/rooms/{crowd.room_id}/joined_members"))["joined"]
        everybody = {key for kind, key in crowd.room.state if kind == "m.room.member"}
        assert set(listed) == everybody == {*everybody, bob.user_id}
        for (kind, key), event in crowd.room.state.items():
            assert state.current_id(crowd.ctx.db, crowd.room_id, kind, key) == event.event_id


async def test_forged_members_of_the_rest_are_no_members() -> None:
    """What was not looked at before is checked like everything else."""
    async with network("two.test") as net:
        crowd = Crowd(net)
        crowd.room.serve()
        answer = crowd.room.answer()
        for pdu in answer["state"]:
            if pdu.get("state_key") == "@user3:slow.test":
                pdu["signatures"] = {"slow.test": {"ed25519:peer": "A" * 86}}
        crowd.room.peer.on("PUT", r".*/send_join/.*", answer)
        bob = await net["two.test"].register("bob")
        await crowd.join(bob)
        await crowd.complete()
        assert crowd.membership("@user3:slow.test") is None
        assert crowd.membership("@user4:slow.test") == "join"


async def test_event_let_in_wrongly_is_taken_out_when_the_members_are_checked() -> None:
    """A banned user's message cites an old membership and so passes while the ban is not known; later it is rejected."""
    async with network("two.test") as net:
        crowd = Crowd(net)
        mallory = "@mallory:far.test"
        joined = crowd.room.member(mallory)
        crowd.room.member(mallory, "ban", crowd.room.creator)
        crowd.room.serve()
        bob = await net["two.test"].register("bob")
        await crowd.join(bob)
        auth = [crowd.room.state["m.room.create", ""], crowd.room.state["m.room.power_levels", ""], joined]
        bad = crowd.room.build("m.room.message", {"msgtype": "m.text", "body": "spam"}, sender=mallory, auth=auth)
        await crowd.room.peer.send("two.test", [bad])
        await until(lambda: timeline.position(crowd.ctx.db, bad.event_id) is not None)
        await crowd.complete()
        assert crowd.membership(mallory) == "ban"
        assert timeline.position(crowd.ctx.db, bad.event_id) is None


async def test_room_whose_answer_was_lost_with_the_process_is_completed_by_asking() -> None:
    """The rest is in memory only; after a crash the server that told it is asked, as after any fast join."""
    async with network("two.test") as net:
        crowd = Crowd(net)
        crowd.room.serve()
        bob = await net["two.test"].register("bob")
        await crowd.join(bob)
        for task in [task for task in asyncio.all_tasks() if task.get_name() == "members of a room"]:
            task.cancel()
            await asyncio.wait((task,))
        crowd.ctx.db.cache_pool.clear()
        net["two.test"].start(recover.run(crowd.ctx))
        await crowd.complete()
        assert "state_ids" in crowd.asked()
        assert crowd.membership("@zoe:slow.test") == "join"


async def test_who_is_banned_is_not_let_in_by_a_large_answer() -> None:
    """What the room says of the user who joins belongs to the core."""
    async with network("two.test") as net:
        crowd = Crowd(net)
        bob = await net["two.test"].register("bob")
        template = crowd.room.template("join", bob.user_id)
        crowd.room.member(bob.user_id, "ban", crowd.room.creator)
        crowd.room.serve()
        crowd.room.peer.on("GET", r".*/make_join/.*", template)
        await bob.post(f"/join/{crowd.room_id}", {}, expect=502)
        assert not state.exists(crowd.ctx.db, crowd.room_id)


async def test_core_holds_on_whom_the_rest_of_the_state_stands() -> None:
    """Everything but memberships; of these those of who set it, of who invited these, and so on."""
    async with network("two.test") as net:
        crowd = Crowd(net)
        room, inviter, invited = crowd.room, "@user7:slow.test", "@late:far.test"
        room.set("m.room.power_levels", {"users": {room.creator: 100, invited: 50}, "invite": 0})
        room.member(invited, "invite", inviter)
        room.member(invited)
        room.set("m.room.topic", {"topic": "mine"}, sender=invited)
        join = room.build("m.room.member", {"membership": "join"}, state_key="@bob:two.test", sender="@bob:two.test")
        parts = await core_state.parts_of(orjson.dumps(room.answer()), JOIN_ARRAYS, join)
        assert parts is not None
        told = {value["state_key"] for key, value in parts if key in JOIN_ARRAYS and value["type"] == "m.room.member"}
        assert {inviter, invited, room.creator} <= told
        assert "@user6:slow.test" not in told
        assert dict(parts)["servers_in_room"] == ["far.test", "slow.test"]
        assert dict(parts)["members_omitted"] is True


async def test_core_of_an_answer_that_lacks_members_or_has_few_or_too_many_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then it is taken as it is."""
    async with network("two.test") as net:
        room = ScriptedRoom(net.peer("far.test"))
        join = room.build("m.room.member", {"membership": "join"}, state_key="@bob:two.test", sender="@bob:two.test")
        assert await core_state.parts_of(orjson.dumps(room.answer()), JOIN_ARRAYS, join) is None
        crowd = Crowd(net)
        crowd.room.omits = True
        assert await core_state.parts_of(orjson.dumps(crowd.room.answer()), JOIN_ARRAYS, join) is None
        crowd.room.omits = False
        answer = orjson.dumps(crowd.room.answer())
        assert await core_state.parts_of(answer, JOIN_ARRAYS, join) is not None
        monkeypatch.setattr(core_state, "MAX_EVENTS", 20)
        assert await core_state.parts_of(answer, JOIN_ARRAYS, join) is None
