"""Presence: how it comes, how it decays, and who is told when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES
from conduit.service.presence import (
    ACTIVE_MS,
    CHECK_SECONDS,
    FORGET_MS,
    IDLE_MS,
    OFFLINE_MS,
    REMOTE_MS,
    RENEW_MS,
    Presence,
)
from tests.support.clock import ManualClock
from tests.support.rooms import ALICE, BOB


class World:
    """Presence with a clock, and Bob who sees Alice."""

    def __init__(self, clock: ManualClock, **options: Any) -> None:
        self.clock = clock
        self.db = Database(MemoryEngine(TREE_NAMES))
        self.presence = Presence(
            db=self.db, clock=clock, audience=lambda user_id: [(("sight", "!room"), ())], **options
        )
        self._told = 0

    def now(self) -> Any:
        """Return Alice's presence, or `None` if nothing is known."""
        content = self.presence.get(ALICE)
        return None if content is None else content["presence"]

    def told(self) -> bool:
        """Tell whether Bob has been told anything since last asked."""
        count = self.db.watch.last(("sight", "!room"))
        before, self._told = self._told, count
        assert (count > before) == (ALICE in self.presence.changes(before, count))
        return count > before


@pytest.fixture
async def world(clock: ManualClock) -> AsyncIterator[World]:
    """A world in which presence decays."""
    world = World(clock)
    running = asyncio.ensure_future(world.presence.run())
    await clock.advance(0)
    yield world
    running.cancel()


async def test_unknown_user_has_no_presence(world: World) -> None:
    """Nothing is made up; saying to be offline says nothing new."""
    assert world.now() is None
    world.presence.set(ALICE, "offline", None)
    assert world.now() is None
    assert not world.told()


async def test_what_a_client_says_is_told(world: World) -> None:
    """With its message, which the next one replaces; the same again is no news."""
    world.presence.set(ALICE, "online", "hi")
    expected = {"presence": "online", "status_msg": "hi", "currently_active": True, "last_active_ago": 0}
    assert world.presence.get(ALICE) == expected
    assert world.told()
    world.presence.set(ALICE, "online", "hi")
    assert not world.told()
    world.clock.jump(5)
    world.presence.set(ALICE, "unavailable", None)
    assert world.presence.get(ALICE) == {"presence": "unavailable", "last_active_ago": 5000}
    assert world.told()


async def test_who_neither_acts_nor_syncs_goes_offline(world: World) -> None:
    """Within a check of the time."""
    world.presence.set(ALICE, "online", None)
    assert world.told()
    await world.clock.advance(OFFLINE_MS / 1000 - 1)
    assert world.now() == "online"
    await world.clock.advance(CHECK_SECONDS + 1)
    assert world.now() == "offline"
    assert world.told()
    assert "currently_active" not in (world.presence.get(ALICE) or {})


async def test_who_only_syncs_becomes_unavailable(world: World) -> None:
    """A long poll keeps somebody there, and does not make them active; acting does."""
    world.presence.sync_begins(ALICE, "online")
    assert world.now() == "online"
    await world.clock.advance(IDLE_MS / 1000 + CHECK_SECONDS)
    assert world.now() == "unavailable"
    world.presence.sync_ends(ALICE, "online")
    world.presence.sync_begins(ALICE, "online")
    assert world.now() == "unavailable"
    world.told()
    world.presence.active(ALICE)
    assert world.now() == "online"
    assert world.told()


async def test_last_of_several_syncs_keeps_a_user_online(world: World) -> None:
    """One device that goes does not take the other along; the time counts from the end of the last."""
    for _ in range(2):
        world.presence.sync_begins(ALICE, "online")
    world.presence.sync_ends(ALICE, "online")
    await world.clock.advance(2 * OFFLINE_MS / 1000)
    assert world.now() == "online"
    world.presence.sync_ends(ALICE, "online")
    await world.clock.advance(OFFLINE_MS / 1000 - 1)
    assert world.now() == "online"
    await world.clock.advance(CHECK_SECONDS + 1)
    assert world.now() == "offline"


async def test_sync_that_wants_to_be_unseen_changes_nothing(world: World) -> None:
    """`set_presence=offline` neither begins nor ends anything."""
    world.presence.sync_begins(ALICE, "offline")
    assert world.now() is None
    world.presence.sync_begins(ALICE, "online")
    world.presence.sync_ends(ALICE, "offline")
    await world.clock.advance(2 * OFFLINE_MS / 1000)
    assert world.now() == "online"


async def test_idle_device_does_not_make_an_active_one_idle(world: World) -> None:
    """`unavailable` counts only for who is not online."""
    world.presence.sync_begins(ALICE, "online")
    world.presence.sync_begins(ALICE, "unavailable")
    assert world.now() == "online"
    world.presence.set(ALICE, "offline", None)
    world.presence.sync_begins(ALICE, "unavailable")
    assert world.now() == "unavailable"


async def test_acting_again_soon_is_no_news(world: World) -> None:
    """Each message would otherwise wake everybody; after a while it is news again."""
    world.presence.set(ALICE, "online", None)
    assert world.told()
    world.clock.jump(ACTIVE_MS / 1000 - 1)
    world.presence.active(ALICE)
    assert not world.told()
    world.clock.jump(ACTIVE_MS / 1000)
    assert (world.presence.get(ALICE) or {})["currently_active"] is False
    world.presence.active(ALICE)
    assert world.told()


async def test_acting_makes_nobody_online_who_is_not_syncing(world: World) -> None:
    """Online is who wants to be seen; when somebody was last active is told all the same."""
    world.presence.active(ALICE)
    assert world.presence.get(ALICE) == {"presence": "offline", "last_active_ago": 0}


async def test_forgotten_user_is_unknown(world: World) -> None:
    """And a sync of theirs that ends later brings nothing back."""
    world.presence.sync_begins(ALICE, "online")
    world.presence.forget(ALICE)
    world.presence.sync_ends(ALICE, "online")
    assert world.now() is None
    assert world.presence.changes(0, world.db.current_count()) == {}


async def test_nothing_is_kept_where_presence_is_off(clock: ManualClock) -> None:
    """Neither syncing nor acting shows."""
    world = World(clock, enabled=False)
    world.presence.active(ALICE)
    world.presence.sync_begins(ALICE, "online")
    world.presence.sync_ends(ALICE, "online")
    world.presence.show_profile(ALICE, {"displayname": "Alice"})
    assert world.now() is None
    assert not world.told()


async def test_remote_user_is_what_his_server_says(world: World, clock: ManualClock) -> None:
    """Whatever time passes, until the server has been silent for long; then he is offline, and forgotten in the end."""
    world.presence.set_remote(ALICE, "online", "hi", last_active_ago=5000, currently_active=True)
    assert world.told()
    await clock.advance(600)
    assert world.presence.get(ALICE) == {
        "presence": "online",
        "status_msg": "hi",
        "last_active_ago": 605_000,
        "currently_active": True,
    }
    assert not world.told()
    world.presence.set_remote(ALICE, "online", "hi", currently_active=True)
    assert not world.told()
    world.presence.set_remote(ALICE, "unavailable", "hi", last_active_ago=0, currently_active=True)
    assert world.told()
    assert "currently_active" not in (world.presence.get(ALICE) or {})
    await clock.advance(REMOTE_MS / 1000 + CHECK_SECONDS)
    assert world.now() == "offline"
    assert world.told()
    await clock.advance(FORGET_MS / 1000)
    assert world.now() is None


async def test_nothing_is_taken_from_other_servers_where_presence_is_off(clock: ManualClock) -> None:
    """As for local users."""
    world = World(clock, enabled=False)
    world.presence.set_remote(ALICE, "online", None, last_active_ago=0)
    assert world.now() is None


async def test_sender_hears_of_local_users_and_of_what_others_would_see(world: World, clock: ManualClock) -> None:
    """Not of every act; of who stays as he is now and then, so that other servers go on believing it."""
    with world.db.watch.subscribe("presence") as news:
        world.presence.set_remote(BOB, "online", None, last_active_ago=0)
        assert await news.take(0) == []
        world.presence.set(ALICE, "online", "hi")
        assert await news.take(0) == [("presence", ALICE)]
        world.presence.active(ALICE)
        world.presence.set(ALICE, "online", "hi")
        assert await news.take(0) == []
        world.presence.set(ALICE, "online", "ho")
        assert await news.take(0) == [("presence", ALICE)]
        world.presence.sync_begins(ALICE, "online")
        await clock.advance(IDLE_MS / 1000 + CHECK_SECONDS)
        assert await news.take(0) == [("presence", ALICE)]
        await clock.advance(RENEW_MS / 1000 - 60)
        assert await news.take(0) == []
        await clock.advance(60)
        assert await news.take(0) == [("presence", ALICE)]


async def test_new_profile_is_told_with_the_presence_there_is(world: World) -> None:
    """To those who follow, not to who asks for the presence alone; and of who was never seen, too."""
    world.presence.show_profile(ALICE, {"displayname": "Alice"})
    count = world.db.watch.last(("sight", "!room"))
    assert world.presence.changes(0, count)[ALICE] == {"presence": "offline", "displayname": "Alice"}
    world.presence.set(ALICE, "online", "here")
    world.presence.show_profile(ALICE, {"avatar_url": "mxc://localhost/a"})
    told = world.presence.changes(count, world.db.watch.last(("sight", "!room")))[ALICE]
    assert (told["presence"], told["status_msg"], told["avatar_url"]) == ("online", "here", "mxc://localhost/a")
    assert "displayname" not in told
    assert not {"displayname", "avatar_url"} & set(world.presence.get(ALICE) or {})
