"""How many keys of other servers are kept, and which go first."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.protocol.ids import ServerName
from conduit.protocol.signing import SigningKey
from conduit.service.outbound import known_keys
from conduit.service.outbound.known_keys import KnownKeys
from conduit.service.outbound.server_keys import ServerKeys, read_document
from tests.support.clock import ManualClock, settle

KEY = SigningKey(bytes(32), "1")
SIZE = 2_000
"""About how many bytes a row takes."""
DAY_MS = 24 * 3_600_000


@pytest.fixture
def db() -> Database:
    """An empty database."""
    return Database(MemoryEngine(trees.TREE_NAMES))


@pytest.fixture
def known(db: Database, clock: ManualClock) -> KnownKeys:
    """The keys that are known: none."""
    return KnownKeys(db, clock, ignored=())


def keys_of(server: str, clock: ManualClock) -> ServerKeys:
    """Return keys that were fetched just now."""
    document: dict[str, Any] = {
        "server_name": server,
        "verify_keys": {KEY.key_id: {"key": KEY.public_key}},
        "valid_until_ts": clock.now_ms() + DAY_MS,
        "padding": "x" * (SIZE - 500),
    }
    return read_document(KEY.sign_json(document, server), server, now_ms=clock.now_ms(), ignored=())


def fetch(known: KnownKeys, clock: ManualClock, *servers: str) -> None:
    """Take the keys of servers, one after the other."""
    for server in servers:
        clock.jump(1)
        known.put([keys_of(server, clock)], direct=True)


def stored(db: Database) -> set[str]:
    """Return of which servers keys are stored."""
    return set(trees.server_signingkeys.keys(db))


def share_room(db: Database, *servers: str) -> None:
    """Let servers be in a room."""
    with db.batch() as batch:
        for server in servers:
            trees.serverroomids.put(batch, (server, "!room:localhost"), True)


async def test_advisory_25_keys_of_strangers_take_a_bounded_place(
    db: Database, clock: ManualClock, known: KnownKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever names somebody speaks in: the latest are kept, and those of all servers that share a room."""
    monkeypatch.setattr(known_keys, "MAX_OF_STRANGERS", 10 * SIZE)
    share_room(db, "friend.test", "a.test")
    fetch(known, clock, "friend.test", "a.test", *(f"h{number}.evil.test" for number in range(30)))
    await known.sweep()
    assert {"friend.test", "a.test", "h29.evil.test"} < stored(db)
    assert 5 <= len(stored(db)) <= 14
    assert known.get("h0.evil.test") is None
    assert known.get("friend.test") is not None


async def test_advisory_25_flood_of_key_objects_is_swept_while_it_goes_on(
    db: Database, clock: ManualClock, known: KnownKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the next day."""
    monkeypatch.setattr(known_keys, "MAX_OF_STRANGERS", 10 * SIZE)
    most = 0
    for number in range(200):
        fetch(known, clock, f"h{number}.evil.test")
        await settle()
        most = max(most, len(stored(db)))
    assert most <= 30


async def test_keys_of_a_server_that_is_long_gone_are_dropped(
    db: Database, clock: ManualClock, known: KnownKeys
) -> None:
    """After a year, if it shares no room. Those that Conduit has fetched have no date, and stay."""
    with db.batch() as batch:
        row = {key: value for key, value in keys_of("old.test", clock).row().items() if key != "conduit_py"}
        trees.server_signingkeys.put(batch, ServerName("old.test"), row)
    share_room(db, "friend.test")
    fetch(known, clock, "gone.test", "friend.test")
    clock.jump(366 * DAY_MS / 1000)
    fetch(known, clock, "new.test")
    await known.sweep()
    assert stored(db) == {"old.test", "friend.test", "new.test"}


def test_advisory_25_keys_in_memory_are_bounded_by_their_size(
    clock: ManualClock, known: KnownKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand large objects take no more than a few; they are read again when they are needed."""
    monkeypatch.setattr(known_keys, "IN_MEMORY", 5 * SIZE)
    fetch(known, clock, *(f"h{number}.test" for number in range(50)))
    assert len(known._recent) <= 6
    assert known.get("h0.test") is not None
    assert next(reversed(known._recent)) == "h0.test"
