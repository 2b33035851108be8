"""One side is away for a while, and catches up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.support.client import segment
from tests.support.process import ENGINES, ServerProcess
from tests.support.synapse import Synapse
from tests.synapse.conftest import OurServers
from tests.synapse.rooms import Room, met, public_room, talk
from tests.synapse.sides import Side, agree, agree_on_shared_rooms

MANY = 120
"""More events than one transaction holds."""


@dataclass
class Outage:
    """Both sides, for a test that ends and starts them as it likes."""

    process: ServerProcess
    ours: Side
    synapse: Side

    def come_back(self) -> None:
        """Start our side again; clients find it on another port, Synapse where it was."""
        self.process.start()
        self.ours.url = self.process.url


@pytest.fixture(params=ENGINES)
def process(
    request: pytest.FixtureRequest, running_synapse: Synapse, our_servers: OurServers, tmp_path: Path
) -> Iterator[ServerProcess]:
    """A server of ours that nobody else uses."""
    process = our_servers.make(tmp_path, request.param)
    process.start()
    yield process
    process.stop()


@pytest.fixture
async def outage(
    running_synapse: Synapse, process: ServerProcess, session: aiohttp.ClientSession
) -> AsyncIterator[Outage]:
    """Both sides, and nobody else on Synapse; in the end they have the same state of each room that they share."""
    with running_synapse.alone():
        ours = Side(process.server_name, process.url, session, is_ours=True)
        synapse = Side(running_synapse.server_name, running_synapse.url, session, is_ours=False)
        yield Outage(process, ours, synapse)
        await agree_on_shared_rooms([ours, synapse])


async def change_much(room: Room) -> list[str]:
    """Let the host say and change things that the guest's side cannot learn now; return the ids of what was said."""
    said = [await room.host.send(room.id, f"message {number}") for number in range(MANY)]
    await room.host.set_state(room.id, "m.room.topic", {"topic": "Changed meanwhile"})
    newcomer = await room.host.side.register("newcomer")
    await newcomer.join(room.id)
    return said


async def sees_what_was_missed(room: Room, said: list[str]) -> None:
    """The guest gets the newest by /sync and the rest of it by paging back."""
    await room.agree()
    last = await room.host.send(room.id, "back again")
    await room.guest.sees(room.id, last)
    found: list[str] = []
    params: dict[str, object] = {"limit": 100}
    while not set(said) <= set(found):
        page = await room.guest.messages(room.id, **params)
        found += [event["event_id"] for event in page["chunk"]]
        missing = len(set(said) - set(found))
        assert "end" in page or not missing, f"{missing} of {len(said)} messages are nowhere to be found"
        params["from"] = page.get("end")
    assert [event_id for event_id in reversed(found) if event_id in set(said)] == said
    await talk(room)


@pytest.mark.parametrize("ending", ["stop", "kill"])
async def test_we_are_away(outage: Outage, ending: str) -> None:
    """Synapse's room goes on; after our start we learn all of it, messages to devices included."""
    room = await met(outage.synapse, outage.ours, "11")
    await talk(room)
    if ending == "stop":
        outage.process.stop()
    else:
        outage.process.kill()
    said = await change_much(room)
    message = {"messages": {room.guest.user_id: {"*": {"sent": "meanwhile"}}}}
    await room.host.put(f"/sendToDevice/org.example.test/{segment(room.host.next_txn())}", message)
    outage.come_back()
    # A request of ours tells Synapse that we are there again.
    await room.guest.get("/publicRooms", params={"server": outage.synapse.name})
    await sees_what_was_missed(room, said)
    await room.guest.until(lambda: room.guest.seen.to_device, "the message to the device")


async def test_synapse_is_away(outage: Outage, running_synapse: Synapse) -> None:
    """Our room goes on; we send what Synapse has missed as soon as it gives a sign of life, to devices exactly once."""
    room = await met(outage.ours, outage.synapse, "11")
    await talk(room)
    running_synapse.stop()
    said = await change_much(room)
    for number in range(3):
        message = {"messages": {room.guest.user_id: {"*": {"number": number}}}}
        await room.host.put(f"/sendToDevice/org.example.test/{segment(room.host.next_txn())}", message)
    running_synapse.start()
    visitor = await outage.synapse.register("visitor")
    # Joining another room of ours is a sign of life.
    other = await public_room(room.host, "11")
    await visitor.join_via(other, outage.ours)
    await sees_what_was_missed(room, said)
    await room.guest.until(lambda: len(room.guest.seen.to_device) >= 3, "the messages to the device")
    assert [event["content"]["number"] for event in room.guest.seen.to_device] == [0, 1, 2]
    await agree(other, room.host, visitor)


async def test_both_go_on_for_themselves(outage: Outage, running_synapse: Synapse) -> None:
    """While one is away the other changes the room, and the other way round; both agree in the end."""
    room = await met(outage.ours, outage.synapse, "11")
    levels = await room.host.state(room.id, "m.room.power_levels")
    levels["users"][room.guest.user_id] = 90
    await room.guest.sees(room.id, await room.host.set_state(room.id, "m.room.power_levels", levels))
    outage.process.stop()
    await room.guest.set_state(room.id, "m.room.topic", {"topic": "theirs"})
    await room.guest.set_state(room.id, "m.room.join_rules", {"join_rule": "invite"})
    running_synapse.stop()
    outage.come_back()
    await room.host.set_state(room.id, "m.room.topic", {"topic": "ours"})
    newcomer = await outage.ours.register("newcomer")
    await newcomer.join(room.id)
    running_synapse.start()
    await room.guest.send(room.id, "anybody there?")
    await room.agree()
    await talk(room)
