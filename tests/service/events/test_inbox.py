"""What is staged is worked off, room by room, whatever single events need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conduit.database import trees
from conduit.protocol.signing import SigningKey
from conduit.service.events import fold, inbox, resolve
from conduit.service.rooms import timeline
from tests.support.federation import Network, endpoint_of, network
from tests.support.guest import Guest, is_shown, room_of, tips, until, worked_off


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


async def test_advisory_25_one_origin_that_lets_us_wait_does_not_hold_up_others(net: Network) -> None:
    """An event whose server never answers goes aside; those of others in the room are shown meanwhile."""
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


async def _wait_for(answered: asyncio.Event) -> tuple[int, dict[str, str]]:
    await answered.wait()
    return 404, {}


@pytest.mark.parametrize("is_elsewhere", [True, False], ids=["other room", "same room"])
async def test_advisory_25_many_server_names_that_let_us_wait_do_not_hold_up_others(
    monkeypatch: pytest.MonkeyPatch, is_elsewhere: bool
) -> None:
    """More servers than there are places, of an owner each, hang in one room. An event that needs fetching is shown, in that room and in another."""
    monkeypatch.setattr(inbox, "MAX_LANES", 4)
    monkeypatch.setattr(inbox, "MAX_PATIENT", 4)
    monkeypatch.setattr(inbox, "PROMPT_SECONDS", 0.02)
    answered = asyncio.Event()
    async with network("one.test") as net:
        alice, room = await room_of(net)
        evils = [await Guest.enter(net, room, name=f"evil{number}.test") for number in range(10)]
        elsewhere = await alice.create_room(preset="public_chat") if is_elsewhere else room
        good = await Guest.enter(net, elsewhere, name="good.test", user="olga")
        good.serve()
        for evil in evils:
            evil.peer.on("POST", "/_matrix/federation/v1/get_missing_events/.*", lambda _: _wait_for(answered))
            evil.message("lost")
            await evil.peer.send("one.test", [evil.message("hangs")])
        missed = good.message("missed")
        await good.peer.send("one.test", [good.message("goes on")])
        await until(lambda: is_shown(net, good.tip))
        assert is_shown(net, missed)
        answered.set()
        await worked_off(net["one.test"])


async def test_what_was_staged_when_the_server_stopped_is_worked_off_at_its_start(tmp_path: Path) -> None:
    """The transaction has been answered, so its events are not sent again."""
    async with network("one.test", engine="lmdb", directory=tmp_path) as net:
        _, room = await room_of(net)
        guest = await Guest.enter(net, room)
        server = net["one.test"]
        event = guest.message("just before the end")
        short = next(iter(trees.roomid_shortroomid.scan(server.ctx.db)))[1]
        db = server.ctx.db
        short = trees.roomid_shortroomid.get(db, guest.room_id) or 0
        with db.batch() as batch:
            # Nobody is woken: as if the server had stopped right then.
            trees.stagedpdu.put(batch, (short, batch.next_count()), ("peer.test", event.federation()))
            trees.stagedpdu.put(batch, (short, batch.next_count()), ("peer.test", b'{"no": "event"}'))
            trees.stagedpdu.put(batch, (short, batch.next_count()), ("peer.test", b"not even JSON"))
        await server.restart()
        net.board.attach("one.test", endpoint_of(server))
        await worked_off(server)
        assert timeline.position(server.ctx.db, event.event_id) is not None


async def test_advisory_25_keys_that_do_not_come_hold_up_nobody_else(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event is signed with a key that its server does not give: the room goes on without it."""
    monkeypatch.setattr(inbox, "VERIFY_SECONDS", 0.02)
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    other = await Guest.enter(net, room, name="other.test", user="olga")
    answered = asyncio.Event()

    async def wait(incoming: object) -> tuple[int, dict[str, str]]:
        await answered.wait()
        return 404, {}

    guest.peer.on("GET", "/_matrix/key/v2/.*", wait)
    unknown = SigningKey(bytes(32), "unknown")
    hangs = guest.message("hangs", key=unknown, keep=False)
    await guest.peer.send("one.test", [hangs])
    await other.peer.send("one.test", [other.message("goes on")])
    await until(lambda: is_shown(net, other.tip))
    answered.set()
    await worked_off(net["one.test"])
    assert not is_shown(net, hangs)


async def test_advisory_25_event_that_builds_on_one_that_hangs_comes_by_another_server(net: Network) -> None:
    """A server sends an event and lets us wait for what lies before it; who has built on that is asked, and need not wait for it."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    other = await Guest.enter(net, room, name="other.test", user="olga")
    other.events.update(guest.events)
    guest.learn(other.join)
    answered = asyncio.Event()

    async def wait(incoming: object) -> tuple[int, dict[str, str]]:
        await answered.wait()
        return 404, {}

    guest.peer.on("POST", "/_matrix/federation/v1/get_missing_events/.*", wait)
    other.serve()
    kept_back = guest.message("kept back", prev=[other.join])
    hangs = guest.message("hangs")
    await guest.peer.send("one.test", [hangs])
    await until(lambda: bool(guest.asked("get_missing_events")))
    for event in (kept_back, hangs):
        other.learn(event)
    goes_on = other.message("goes on", prev=[hangs])
    await other.peer.send("one.test", [goes_on])
    await until(lambda: is_shown(net, goes_on))
    assert is_shown(net, hangs)
    answered.set()
    await worked_off(net["one.test"])


async def test_leaves_that_cannot_be_folded_hold_up_nothing(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """The room goes on, and so does the server."""

    async def fails(*_: object, **__: object) -> None:
        raise RuntimeError("as if there were a bug")

    monkeypatch.setattr(fold, "fold", fails)
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    for number in range(3):
        await guest.send(guest.message(str(number)))
        assert is_shown(net, guest.tip)


@pytest.mark.parametrize("is_large", [False, True], ids=["in runs", "in lanes"])
async def test_advisory_09_leaves_stay_few_while_events_wait(
    net: Network, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    """Hundreds of changes of state that all follow the same event, each of which has to be resolved with all leaves: what is left of them never grows with what waits."""
    if is_large:
        monkeypatch.setattr(resolve, "AT_ONCE", 40)
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    root = guest.tip
    forks = [guest.state_event("m.room.topic", {"topic": str(number)}, prev=[root]) for number in range(200)]
    for start in range(0, len(forks), 50):
        await guest.peer.send("one.test", forks[start : start + 50])
    most = 0
    async with asyncio.timeout(60):
        while trees.stagedpdu.first(net["one.test"].ctx.db) is not None:
            most = max(most, len(tips(net, room)))
            await asyncio.sleep(0)
    assert most <= fold.MAX_MEANWHILE + inbox.RUN
    await until(lambda: len(tips(net, room)) <= fold.MAX_LEAVES)
