"""Answers kept for repeated requests."""

from __future__ import annotations

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES
from conduit.service import transactions
from tests.support.rooms import ALICE, BOB


def test_key_tells_every_part_apart() -> None:
    """Parts cannot be shifted into each other, and order counts."""
    keys = {transactions.key(*parts) for parts in [("a", "bc"), ("ab", "c"), ("abc",), ("bc", "a"), ("a", "b", "c")]}
    assert len(keys) == 5


def test_find_knows_user_device_and_key() -> None:
    """An answer is found for its own request only."""
    db = Database(MemoryEngine(TREE_NAMES))
    key = transactions.key("PUT", "x")
    with db.batch() as batch:
        transactions.remember(batch, ALICE, "D", key, b"answer", 5)
        assert transactions.find(batch, ALICE, "D", key) == b"answer"
    assert transactions.find(db, ALICE, "D", key) == b"answer"
    assert transactions.find(db, ALICE, "E", key) is None
    assert transactions.find(db, BOB, "D", key) is None
    assert transactions.find(db, ALICE, "D", transactions.key("PUT", "y")) is None


async def test_sweep_removes_what_is_older_than_a_day() -> None:
    """Old answers go, in steps; newer ones stay, and no trace of the old is left."""
    db = Database(MemoryEngine(TREE_NAMES))
    count = transactions.SWEEP_STEP + 10
    with db.batch() as batch:
        for number in range(count):
            transactions.remember(batch, ALICE, "D", transactions.key(str(number)), b"", number)
        transactions.remember(batch, ALICE, "D", transactions.key("new"), b"new", transactions.KEEP_MS + count)
    assert await transactions.sweep(db, now_ms=transactions.KEEP_MS + count) == count
    assert await transactions.sweep(db, now_ms=transactions.KEEP_MS + count) == 0
    assert transactions.find(db, ALICE, "D", transactions.key("new")) == b"new"
    assert len(list(trees.transaction.keys(db))) == len(list(trees.transaction_age.keys(db))) == 1
