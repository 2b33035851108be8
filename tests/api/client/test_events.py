"""Tests of the deprecated event stream."""

from __future__ import annotations

import asyncio

from tests.support.homeserver import Homeserver


async def test_events_come_after_the_token_and_wake_the_waiting(hs: Homeserver) -> None:
    """Events since the token come at once; without any the request waits for one."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    start = (await bob.get("/initialSync"))["end"]
    for n in range(3):
        await alice.send(room, f"m{n}")
    body = await bob.get("/events", params={"from": start})
    assert [event["content"]["body"] for event in body["chunk"]] == ["m0", "m1", "m2"]
    waiting = bob.start(bob.get("/events", params={"from": body["end"], "timeout": 20_000}))
    await alice.send(room, "woken")
    body = await asyncio.wait_for(waiting, 10)
    assert [event["content"]["body"] for event in body["chunk"]] == ["woken"]
    assert (await bob.get("/events", params={"from": body["end"]}))["chunk"] == []
    await bob.get("/events", "M_INVALID_PARAM", params={"from": "x"})
