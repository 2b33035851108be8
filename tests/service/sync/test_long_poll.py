"""Who waits is woken by all that concerns them, and nothing is looked for where nothing can be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from conduit.protocol.filters import EVERYTHING
from conduit.protocol.ids import DeviceId, UserId
from conduit.service.rooms import cuts
from conduit.service.sync.long_poll import nothing_new
from conduit.service.sync.window import SyncRequest, Window
from tests.support.client import User, segment
from tests.support.homeserver import Homeserver
from tests.support.people import people

Json = dict[str, Any]


class Two:
    """Alice, who waits for news, and Bob, who is in a room with her and in one to which she is invited later."""

    def __init__(self, hs: Homeserver, alice: User, bob: User, room: str, other: str, event: str) -> None:
        self.hs = hs
        self.alice, self.bob = alice, bob
        self.room, self.other, self.event = room, other, event

    def path(self, user: User, rest: str) -> str:
        """Return a path below a user."""
        return f"/user/{segment(user.user_id)}/{rest}"


Deed = Callable[[Two], Awaitable[Any]]

DEEDS: dict[str, tuple[Deed, str]] = {
    "message": (lambda two: two.bob.send(two.room, "x"), "rooms"),
    "state": (
        lambda two: two.bob.set_state(two.room, "m.room.topic", {"topic": "x"}),
        "rooms",
    ),
    "leave of another": (lambda two: two.bob.leave(two.room), "rooms"),
    "receipt": (lambda two: two.bob.post(f"/rooms/{two.room}/receipt/m.read/{segment(two.event)}", {}), "rooms"),
    "own private receipt": (
        lambda two: two.alice.post(f"/rooms/{two.room}/receipt/m.read.private/{segment(two.event)}", {}),
        "rooms",
    ),
    "typing": (
        lambda two: two.bob.put(
            f"/rooms/{two.room}/typing/{segment(two.bob.user_id)}", {"typing": True, "timeout": 9000}
        ),
        "rooms",
    ),
    "invite": (lambda two: two.bob.invite(two.other, two.alice), "rooms"),
    "kick": (lambda two: two.bob.post(f"/rooms/{two.room}/kick", {"user_id": two.alice.user_id}), "rooms"),
    "own leave": (lambda two: two.alice.leave(two.room), "rooms"),
    "room account data": (
        lambda two: two.alice.put(two.path(two.alice, f"rooms/{two.room}/account_data/org.example"), {"a": 1}),
        "rooms",
    ),
    "tag": (lambda two: two.alice.put(two.path(two.alice, f"rooms/{two.room}/tags/u.x"), {}), "rooms"),
    "account data": (lambda two: two.alice.put(two.path(two.alice, "account_data/org.example"), {}), "account_data"),
    "presence": (
        lambda two: two.bob.put(
            f"/presence/{segment(two.bob.user_id)}/status", {"presence": "online", "status_msg": "new"}
        ),
        "presence",
    ),
    "to-device": (
        lambda two: two.bob.put("/sendToDevice/org.example/1", {"messages": {two.alice.user_id: {"*": {"a": 1}}}}),
        "to_device",
    ),
    "device keys of another": (
        lambda two: two.bob.post(
            "/keys/upload",
            {
                "device_keys": {
                    "user_id": two.bob.user_id,
                    "device_id": two.bob.device_id,
                    "algorithms": [],
                    "keys": {f"ed25519:{two.bob.device_id}": "key"},
                    "signatures": {},
                }
            },
        ),
        "device_lists",
    ),
}


async def _two(hs: Homeserver) -> Two:
    alice, bob = await people(hs, "alice", "bob")
    room = await bob.create_room(preset="public_chat", power_level_content_override={"users_default": 100})
    other = await bob.create_room()
    await alice.join(room)
    event = await bob.send(room, "first")
    return Two(hs, alice, bob, room, other, event)


async def _settled(two: Two) -> str:
    """Return a token after which there is nothing: the first syncs change who is online."""
    since = (await two.bob.sync())["next_batch"]
    for user in (two.alice, two.bob, two.alice):
        since = (await user.sync(since))["next_batch"]
    return str((await two.alice.sync(since))["next_batch"])


def _request(two: Two, since: str) -> SyncRequest:
    token = cuts.parse_sync(since)
    return SyncRequest(UserId(two.alice.user_id), DeviceId(two.alice.device_id), token, EVERYTHING)


@pytest.mark.parametrize("what", DEEDS)
async def test_every_kind_of_news_ends_the_wait(hs: Homeserver, what: str) -> None:
    """Before it there is nothing, known from memory alone; it wakes who waits; and who comes later is told as well."""
    two = await _two(hs)
    deed, section = DEEDS[what]
    since = await _settled(two)
    assert nothing_new(hs.ctx, _request(two, since)) is not None
    assert not Window(hs.ctx, _request(two, since)).sight_news
    waiting = two.alice.start(two.alice.sync(since, timeout_ms=30_000))
    await asyncio.sleep(0)
    await deed(two)
    async with asyncio.timeout(20):
        told = await waiting
    assert section in told
    assert nothing_new(hs.ctx, _request(two, since)) is None
    again = await two.alice.sync(since)
    assert section in again
    after = (await two.alice.sync(again["next_batch"]))["next_batch"]
    assert nothing_new(hs.ctx, _request(two, after)) is not None


async def test_token_of_an_earlier_process_is_answered_from_the_database(hs: Homeserver) -> None:
    """What is kept in memory says nothing of the time before it."""
    two = await _two(hs)
    since = cuts.parse_sync(await _settled(two))
    assert nothing_new(hs.ctx, _request(two, since._replace(start=since.start + 1).token())) is None
    assert nothing_new(hs.ctx, _request(two, since._replace(at=since.at + 1000).token())) is None


async def test_streams_without_news_are_not_looked_for(hs: Homeserver) -> None:
    """A message of somebody else is no news of the user's own, nor of who is in sight; a deed of the user's is both."""
    two = await _two(hs)
    since = await _settled(two)
    await two.bob.send(two.room, "x")
    window = Window(hs.ctx, _request(two, since))
    assert not window.own_news
    assert not window.sight_news
    assert window.rooms_moved_in() == []
    await two.alice.leave(two.room)
    window = Window(hs.ctx, _request(two, since))
    assert window.own_news
    assert window.sight_news
    assert window.rooms_moved_in() == [two.room]
