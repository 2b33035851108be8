"""Engines for the tests of the database floor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conduit.database.engine import Engine
from conduit.database.lmdb import LmdbEngine
from conduit.database.memory import MemoryEngine
from conduit.database.rocksdb import RocksEngine

TREES = ("global", "a", "b", "c")

OpenEngine = Callable[..., Engine]


def open_engine(kind: str, directory: Path, trees: tuple[str, ...] = TREES) -> Engine:
    """Open an engine of `kind` in `directory`, which is made if need be."""
    if kind == "memory":
        return MemoryEngine(trees)
    directory.mkdir(exist_ok=True)
    return RocksEngine(directory, trees) if kind == "rocksdb" else LmdbEngine(directory, trees)


@pytest.fixture(params=["memory", "rocksdb", "lmdb"])
def kind(request: pytest.FixtureRequest) -> str:
    """Return the name of each engine in turn."""
    name: str = request.param
    return name


@pytest.fixture(params=["rocksdb", "lmdb"])
def disk_kind(request: pytest.FixtureRequest) -> str:
    """Return the name of each engine that keeps files."""
    name: str = request.param
    return name


@pytest.fixture
def engine(kind: str, tmp_path: Path) -> Iterator[Engine]:
    """Return an open, empty engine of each kind."""
    opened = open_engine(kind, tmp_path / "db")
    yield opened
    opened.close()
