"""Tests of finding the event closest to a time."""

from __future__ import annotations

from tests.support.homeserver import Homeserver


async def test_closest_event_on_the_side_asked_for(hs: Homeserver) -> None:
    """Forwards it is the first event at or after the time, backwards the last one at or before it."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    sent = []
    for n in range(5):
        hs.clock.jump(10)
        sent.append((hs.clock.now_ms(), await alice.send(room, f"m{n}")))
    path = f"/_matrix/client/v1/rooms/{room}/timestamp_to_event"

    async def closest(ts: int, direction: str) -> str:
        body = await alice.get(path, params={"ts": ts, "dir": direction})
        return str(body["event_id"])

    middle, event_id = sent[2]
    assert await closest(middle, "f") == await closest(middle, "b") == event_id
    assert await closest(middle + 1, "f") == sent[3][1]
    assert await closest(middle - 1, "b") == sent[1][1]
    assert await closest(sent[4][0] + 5000, "b") == sent[4][1]
    await alice.get(path, "M_NOT_FOUND", params={"ts": sent[4][0] + 1, "dir": "f"})
    await alice.get(path, "M_NOT_FOUND", params={"ts": 1, "dir": "b"})
    first = (await alice.messages(room, dir="f", limit=1))["chunk"][0]["event_id"]
    assert await closest(0, "f") == first


async def test_only_visible_events_are_found(hs: Homeserver) -> None:
    """An event that the user may not see is passed over; strangers are refused."""
    alice, bob, eve = [await hs.register(name) for name in ("alice", "bob", "eve")]
    room = await alice.create_room(preset="public_chat")
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    hs.clock.jump(10)
    hidden_at = hs.clock.now_ms()
    await alice.send(room, "hidden")
    hs.clock.jump(10)
    await bob.join(room)
    path = f"/_matrix/client/v1/rooms/{room}/timestamp_to_event"
    body = await bob.get(path, params={"ts": hidden_at, "dir": "f"})
    assert body["origin_server_ts"] == hs.clock.now_ms()
    await eve.get(path, "M_FORBIDDEN", params={"ts": 1, "dir": "f"})
    await bob.get(path, "M_MISSING_PARAM", params={"dir": "f"})
    await bob.get(path, "M_INVALID_PARAM", params={"ts": 1, "dir": "x"})
