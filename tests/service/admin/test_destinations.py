"""What administrators see of other servers, and how they have them tried again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from conduit.protocol.errors import NotFound
from conduit.protocol.ids import ServerName
from conduit.service.admin import destinations
from tests.service.admin.conftest import Console
from tests.support.federation import Network, network
from tests.support.outgoing import Sink, enter, quiet

TWO, THREE = ServerName("two.test"), ServerName("three.test")


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """A homeserver whose first account is the administrator's."""
    async with network("localhost", first_is_admin=True) as net:
        yield net


@pytest.fixture
async def console(net: Network) -> Console:
    """Alice at the console, in a room with users of two other servers, of which one is away."""
    hs = net["localhost"]
    console = Console(hs, await hs.register("alice"))
    Sink(net, TWO)
    Sink(net, THREE)
    room_id = await console.alice.create_room(preset="public_chat")
    for server in (TWO, THREE):
        enter(hs, room_id, f"@bob:{server}")
    net.board.down(TWO)
    await console.alice.send(room_id, "hello")
    await console.alice.put("/sendToDevice/test/1", {"messages": {f"@bob:{TWO}": {"*": {}}}})
    await quiet()
    return console


async def test_destinations_are_listed_with_what_waits_for_them(net: Network, console: Console) -> None:
    """Those that fail or for which something waits; or all."""
    assert await console.say("@conduit list-destinations") == "```\ntwo.test\tfailing\tevents: 1\tEDUs: 1\n```"
    listed = (await console.say("@conduit list-destinations --all")).splitlines()[1:-1]
    assert listed == ["three.test\tidle\tevents: 0\tEDUs: 0", "two.test\tfailing\tevents: 1\tEDUs: 1"]
    assert "only option" in await console.say("@conduit list-destinations two.test")


async def test_destination_is_shown_with_its_failure(net: Network, console: Console) -> None:
    """How often, since when, why, and when it is tried again."""
    shown = await console.say("@conduit destination-info two.test")
    assert "state: failing" in shown
    assert "failures: 1 since 2023-11-14 22:13 UTC" in shown
    assert "last reason: it cannot be reached" in shown
    assert "events that wait: 1" in shown
    assert "state: idle" in await console.say("@conduit destination-info three.test")
    assert "Nothing is sent to four.test" in await console.say("@conduit destination-info four.test")
    assert "did not work" in await console.say("@conduit destination-info 'no server'")


async def test_destination_is_tried_again_at_once(net: Network, console: Console) -> None:
    """Without waiting for its time."""
    ctx = net["localhost"].ctx
    net.board.heal()
    assert await console.say("@conduit retry-destination three.test") == "three.test does not fail"
    assert await console.say("@conduit retry-destination two.test") == "two.test is tried again"
    await quiet()
    assert destinations.find(ctx, TWO).state == "idle"
    assert destinations.busy(ctx) == []
    assert await console.say("@conduit list-destinations") == "There are none."


async def test_all_destinations_are_tried_again(net: Network, console: Console) -> None:
    """One that still does not answer is given more time."""
    ctx = net["localhost"].ctx
    assert await console.say("@conduit retry-destination --all") == "Servers that are tried again: 1"
    await quiet()
    assert destinations.find(ctx, TWO).state == "failing"
    with pytest.raises(NotFound):
        destinations.find(ctx, ServerName("four.test"))
