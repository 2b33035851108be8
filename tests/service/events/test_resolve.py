"""The state in which branches meet, over numbered states."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator

import psutil  # type: ignore[import-untyped]
import pytest

from conduit.protocol.ids import EventId, RoomId
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.service.events import resolve
from conduit.service.rooms import state
from tests.support import invariants
from tests.support.federation import Network, network
from tests.support.guest import Guest, room_of

VERSION = ROOM_VERSIONS["10"]


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


async def branches(net: Network) -> tuple[Guest, list[int], dict[tuple[str, str], str]]:
    """Return a room with two branches, the states after them, and what these resolve to."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    root = guest.tip
    tips = []
    for name in ("one", "two"):
        guest.state_event("m.room.topic", {"topic": name}, prev=[root])
        guest.state_event("m.room.join_rules", {"join_rule": "invite" if name == "one" else "public"})
        tips.append(guest.state_event("x.own", {}, key=name))
    await guest.send(*[event for event in guest.events.values() if event.event_id in guest.after][1:])
    states = [state.after(net["one.test"].ctx.db, tip.event_id) for tip in tips]
    wanted = guest.state_before([tip.event_id for tip in tips])
    return guest, [number for number in states if number is not None], dict(wanted)


async def test_states_resolve_alike_in_the_loop_and_in_a_helper_process(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small ones at once, large ones in a thread or elsewhere: the same number, and the same state as by the ids of events."""
    guest, states, wanted = await branches(net)
    ctx = net["one.test"].ctx
    room = RoomId(guest.room_id)
    number = await resolve.resolve_states(ctx, room, guest.version, states)
    assert invariants.named(ctx.db, number) == wanted
    ctx.db.cache_pool.clear()
    monkeypatch.setattr(resolve, "AT_ONCE", 0)
    with ctx.db.batch() as batch:
        assert resolve.at_once(batch, guest.version, states) is None
    for most_in_thread in (1000, 0):
        monkeypatch.setattr(resolve, "FEW_EVENTS", most_in_thread)
        ctx.db.cache_pool.clear()
        elsewhere = await resolve.resolve_states(ctx, room, guest.version, states)
        assert invariants.named(ctx.db, elsewhere) == wanted


async def test_result_is_remembered_whatever_the_order(net: Network) -> None:
    """The same states again cost a look-up."""
    guest, states, _ = await branches(net)
    ctx = net["one.test"].ctx
    number = await resolve.resolve_states(ctx, RoomId(guest.room_id), guest.version, states)
    assert resolve.remembered(ctx.db, states[::-1]) == number
    assert resolve.remembered(ctx.db, [*states, *states]) == number
    assert resolve.remembered(ctx.db, [states[0], states[0]]) == states[0]


async def test_result_that_is_one_of_the_states_has_its_number(net: Network) -> None:
    """A branch on which nothing differs adds no state."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    before = guest.tip
    topic = guest.state_event("m.room.topic", {"topic": "x"})
    await guest.send(topic)
    db = net["one.test"].ctx.db
    older, newer = state.after(db, before.event_id), state.after(db, topic.event_id)
    assert older is not None
    assert newer is not None
    with db.batch() as batch:
        assert resolve.at_once(batch, guest.version, [older, newer]) == newer


_ORPHAN = """
import asyncio, os, psutil
from conduit.service.events import resolve

async def main():
    asyncio.ensure_future(resolve._in_helper(resolve.Problem("10", [{}, {}], {}, {}, {}, frozenset())))
    while not (found := [one for one in psutil.Process().children() if "spawn_main" in str(one.cmdline())]):
        await asyncio.sleep(0)
    print(found[0].pid, flush=True)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


def test_helper_process_ends_with_a_server_that_is_killed() -> None:
    """Nothing is left behind that holds memory, whatever it was at."""
    out = subprocess.run([sys.executable, "-c", _ORPHAN], capture_output=True, text=True, timeout=60).stdout
    # The helper has the output too, so that reading it to its end has waited for the helper's.
    assert not psutil.pid_exists(int(out)) or psutil.Process(int(out)).status() == psutil.STATUS_ZOMBIE


async def test_advisory_09_long_line_of_power_levels_is_not_walked_in_the_loop(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two small states differ in a topic, but the topics' order follows from all power levels that the room has had: that is looked at beside the loop, with the same result."""
    monkeypatch.setattr(resolve, "LONG_CHAIN", 40)
    alice, room = await room_of(net)
    ctx = net["one.test"].ctx
    for number in range(60):
        await alice.set_state(room, "m.room.power_levels", {"users": {alice.user_id: 100}, "x": number})
    tips = [await alice.set_state(room, "m.room.topic", {"topic": name}) for name in ("one", "two")]
    states = [state.after(ctx.db, EventId(tip)) or 0 for tip in tips]
    with ctx.db.batch() as batch:
        assert resolve.at_once(batch, VERSION, states) is None
    number = await resolve.resolve_states(ctx, RoomId(room), VERSION, states)
    monkeypatch.setattr(resolve, "LONG_CHAIN", 1000)
    ctx.db.cache_pool.clear()
    with ctx.db.batch() as batch:
        assert resolve.at_once(batch, VERSION, states) == number
