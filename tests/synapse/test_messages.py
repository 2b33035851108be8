"""Messages both ways: in order, from before one came, and redacted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.synapse.rooms import FULL, ONE_VERSION, VERSIONS, allow, met, public_room
from tests.synapse.sides import Person, Side, agree, eventually

MESSAGES = 500
AT_ONCE = 50
"""Synapse leaves events out, for its users to page back to, once a hundred of a room wait to be worked off."""
HISTORY = {version: 300 if FULL or version == "12" else 80 for version in VERSIONS}


async def say_many(person: Person, room_id: str, count: int, said: list[str]) -> None:
    """Send numbered messages one after the other; note their ids."""
    for number in range(count):
        said.append(await person.send(room_id, f"{number} of {person.user_id}"))  # noqa: PERF401 others read it meanwhile


def come(person: Person, room_id: str, sender: Person) -> list[str]:
    """Return the messages of somebody that have come by /sync."""
    timeline = person.seen.timeline[room_id]
    return [
        event["event_id"]
        for event in timeline
        if (event["type"], event["sender"]) == ("m.room.message", sender.user_id)
    ]


async def sees_many(person: Person, room_id: str, count: int, sender: Person) -> None:
    """Sync until that many messages of somebody have come."""
    await person.until(lambda: len(come(person, room_id, sender)) >= count, f"{count} messages", 180)


@pytest.mark.parametrize("version", ONE_VERSION)
async def test_five_hundred_messages_each_way(version: str, ours: Side, synapse: Side) -> None:
    """Sent from both sides at once, and seen in the order in which they were sent, each exactly once."""
    room = await met(ours, synapse, version)
    of_host: list[str] = []
    of_guest: list[str] = []
    for sent in range(AT_ONCE, MESSAGES + 1, AT_ONCE):
        await asyncio.gather(
            say_many(room.host, room.id, AT_ONCE, of_host),
            say_many(room.guest, room.id, AT_ONCE, of_guest),
            sees_many(room.guest, room.id, sent, room.host),
            sees_many(room.host, room.id, sent, room.guest),
        )
    assert come(room.guest, room.id, room.host) == of_host
    assert come(room.host, room.id, room.guest) == of_guest
    await room.agree()


async def history(person: Person, room_id: str) -> list[Any]:
    """Return all of a room's events, newest first, page by page."""
    events: list[Any] = []
    params: dict[str, Any] = {"limit": 60}
    while True:
        page = await person.messages(room_id, **params)
        events += page["chunk"]
        if "end" not in page:
            return events
        params["from"] = page["end"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_history_from_before_the_join(version: str, host: Side, guest: Side) -> None:
    """Who joins late pages back through everything, in order, to the creation of the room."""
    owner, late = await host.register("owner"), await guest.register("late")
    room_id = await public_room(owner, version)
    said: list[str] = []
    await say_many(owner, room_id, HISTORY[version], said)
    await late.join_via(room_id, host)
    events = await history(late, room_id)
    assert [event["event_id"] for event in reversed(events) if event["type"] == "m.room.message"] == said
    assert events[-1]["type"] == "m.room.create"
    assert len({event["event_id"] for event in events}) == len(events)


async def bodies(person: Person, room_id: str, *event_ids: str) -> list[Any]:
    """Return the contents of events as the person's server has them."""
    return [(await person.get(f"/rooms/{room_id}/event/{event_id}"))["content"] for event_id in event_ids]


@pytest.mark.parametrize("version", VERSIONS)
async def test_redactions(version: str, host: Side, guest: Side) -> None:
    """People redact what they said, moderators what others said, on both sides."""
    room = await met(host, guest, version)
    await allow(room, room.guest, 50)
    here, there = await host.register("here"), await guest.register("there")
    await here.join(room.id)
    await there.join(room.id)
    said = {
        person: [await person.send(room.id, "wrong"), await person.send(room.id, "bad")] for person in (here, there)
    }
    for person, others in ((here, (room.guest, there)), (there, (room.host, here))):
        for other in others:
            await other.sees(room.id, said[person][1])
    await here.redact(room.id, said[here][0], "slip")
    await there.redact(room.id, said[there][0])
    await room.guest.redact(room.id, said[here][1])
    last = await room.host.redact(room.id, said[there][1])
    await room.guest.sees(room.id, last)
    everything = [*said[here], *said[there]]
    for person in (here, there):

        async def ask(person: Person = person) -> list[Any]:
            return await bodies(person, room.id, *everything)

        await eventually(ask, lambda contents: contents == [{}] * 4, "four redactions")


@pytest.mark.parametrize("version", VERSIONS)
async def test_redacted_history_and_state(version: str, host: Side, guest: Side) -> None:
    """What was redacted before one came is redacted; a redacted piece of state is the same on both sides."""
    owner, late = await host.register("owner"), await guest.register("late")
    room_id = await public_room(owner, version, topic="to be forgotten")
    said = await owner.send(room_id, "to be forgotten")
    topic = (await owner.whole_state(room_id))["m.room.topic", ""]["event_id"]
    await owner.redact(room_id, said)
    await owner.redact(room_id, topic)
    await late.join_via(room_id, host)
    await agree(room_id, owner, late)
    assert await late.state(room_id, "m.room.topic") == {}
    events = {event["event_id"]: event["content"] for event in await history(late, room_id)}
    assert events[said] == {}
    assert events[topic] == {}
