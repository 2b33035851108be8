"""A database in memory for keys."""

from __future__ import annotations

import pytest

from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES


@pytest.fixture
def db() -> Database:
    """An empty database."""
    return Database(MemoryEngine(TREE_NAMES))
