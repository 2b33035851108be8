"""What was under way when the server stopped."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from conduit.protocol.ids import RoomId, ServerName, UserId
from conduit.service.actions import join
from conduit.service.events import intents, recover
from conduit.service.events.intents import Intent
from conduit.service.rooms import members, partial
from tests.support.federation import Incoming, Network, network
from tests.support.outgoing import until
from tests.support.process import ENGINES
from tests.support.scripted_room import ScriptedRoom

FAR = ServerName("far.test")
ZOE = UserId("@zoe:far.test")


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


# --- crashes -------------------------------------------------------------------------------------------------------


class Crash:
    """A server on disk that dies while a request of its to the far server is under way, and what is left of it.

    Its files are copied at that moment, as the system has them: what a killed process leaves.
    """

    def __init__(self, engine: str, directory: Path, room: ScriptedRoom) -> None:
        self.engine = engine
        self.before, self.after = directory / "before", directory / "after"
        self.room = room
        self.may_die = asyncio.Event()
        self.has_died = asyncio.Event()
        self.is_over = asyncio.Event()

    def at(self, method: str, path: str) -> None:
        """Let it be when the far server has such a request, once it may be; that is not answered before all is over."""

        async def die(incoming: Incoming) -> Any:
            await self.may_die.wait()
            if not self.has_died.is_set():
                shutil.copytree(self.before, self.after)
                self.has_died.set()
            await self.is_over.wait()
            return 500, {}

        self.room.peer.on(method, path, die)


def far_room(net: Network) -> ScriptedRoom:
    """Return a room of the far server, with members that it leaves out of its answer to a join."""
    room = ScriptedRoom(net.peer("far.test"))
    room.member(ZOE)
    room.omits = True
    room.serve()
    return room


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("request_for", ["state_ids", "event"])
async def test_room_is_completed_after_a_crash_in_the_middle(
    engine: str, request_for: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has been fetched of it, it is used as it was known, and its members come with the next start."""
    monkeypatch.setattr(join, "WHOLE_SECONDS", 0.01)
    (tmp_path / "before").mkdir()
    async with network("two.test", engine=engine, directory=tmp_path / "before") as net:
        bob = await net["two.test"].register("bob")
        room = far_room(net)
        crash = Crash(engine, tmp_path, room)
        crash.at("GET", rf".*/{request_for}/.*")
        await bob.post(f"/join/{room.room_id}?via=far.test", {})
        crash.may_die.set()
        await crash.has_died.wait()
        crash.is_over.set()
    async with network("two.test", engine=engine, directory=crash.after) as net:
        ctx = net["two.test"].ctx
        assert partial.is_partial(ctx.db, RoomId(room.room_id))
        bob = await net["two.test"].login("bob")
        await bob.send(room.room_id, "still here")
        room.peer = net.peer("far.test")
        room.serve()
        await net.clock.advance(3600)
        await until(lambda: not partial.is_partial(ctx.db, RoomId(room.room_id)))
        assert members.is_joined(ctx.db, RoomId(room.room_id), ZOE)
        await bob.send(room.room_id, "and now with all members")


@pytest.mark.parametrize("engine", ENGINES)
async def test_room_is_completed_after_a_restart_in_the_middle(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is stopped goes on where it was."""
    monkeypatch.setattr(join, "WHOLE_SECONDS", 0.01)
    async with network("two.test", engine=engine, directory=tmp_path) as net:
        hs = net["two.test"]
        bob = await hs.register("bob")
        room = far_room(net)
        is_asked, may_tell = asyncio.Event(), asyncio.Event()

        async def state_ids(incoming: Incoming) -> Any:
            is_asked.set()
            await may_tell.wait()
            return room.state_ids()

        room.peer.on("GET", r".*/state_ids/.*", state_ids)
        await bob.post(f"/join/{room.room_id}?via=far.test", {})
        await is_asked.wait()
        await hs.restart()
        assert partial.is_partial(hs.ctx.db, RoomId(room.room_id))
        may_tell.set()
        await until(lambda: not partial.is_partial(hs.ctx.db, RoomId(room.room_id)))
        assert members.is_joined(hs.ctx.db, RoomId(room.room_id), ZOE)


@pytest.mark.parametrize("engine", ENGINES)
async def test_crash_between_a_join_and_its_answer_is_made_good(engine: str, tmp_path: Path) -> None:
    """The very same join is sent again at the next start, and the user is in the room."""
    (tmp_path / "before").mkdir()
    async with network("two.test", engine=engine, directory=tmp_path / "before") as net:
        bob = await net["two.test"].register("bob")
        room = far_room(net)
        crash = Crash(engine, tmp_path, room)
        crash.at("PUT", r".*/send_join/.*")
        net["two.test"].start(bob.post(f"/join/{room.room_id}?via=far.test", {}))
        crash.may_die.set()
        await crash.has_died.wait()
        [sent] = [got.json() for got in room.peer.received if "/send_join/" in got.path]
        crash.is_over.set()
    async with network("two.test", engine=engine, directory=crash.after) as net:
        room.peer = net.peer("far.test")
        room.serve()
        await net["two.test"].restart()  # when it was started there was nobody to ask
        ctx = net["two.test"].ctx
        await until(lambda: members.is_joined(ctx.db, RoomId(room.room_id), UserId(bob.user_id)))
        assert room.joins == [sent]
        assert list(intents.all_of(ctx.db)) == []
        await until(lambda: members.is_joined(ctx.db, RoomId(room.room_id), ZOE))
        again = await net["two.test"].login("bob")
        await again.send(room.room_id, "here")
