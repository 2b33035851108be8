"""LMDB's reads beside its committer: at every instant they agree with the memory engine."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from conduit.database.errors import EngineFault
from conduit.database.lmdb import LmdbEngine
from conduit.database.memory import MemoryEngine
from conduit.database.overlay import Changes

TREES = ("a", "b")
keys = st.sampled_from([b"%d" % number for number in range(40)])
values = st.binary(max_size=3)
writes = st.dictionaries(
    st.sampled_from(TREES), st.dictionaries(keys, st.none() | values, min_size=1, max_size=12), min_size=1
)


class SteppedLmdb(LmdbEngine):
    """An LMDB engine whose committer stops before its transaction and after it, until it is told to go on."""

    def __init__(self, directory: Path, trees: tuple[str, ...]) -> None:
        super().__init__(directory, trees)
        self.stepped = False
        self.arrived = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def _stop(self) -> None:
        if self.stepped:
            self.arrived.release()
            self.go_on.acquire()

    def _write(self, gathered: Changes) -> None:
        self._stop()
        super()._write(gathered)
        self._stop()


class LmdbAgainstMemory(RuleBasedStateMachine):
    """Apply, scan, and move the committer step by step; whatever is read must be what memory says."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.engine = SteppedLmdb(Path(self.directory.name), TREES)
        self.memory = MemoryEngine(TREES)
        self.committer: threading.Thread | None = None
        self.steps_left = 0
        self.scans: list[tuple[Iterator[Any], Iterator[Any]]] = []

    @rule(changes=writes)
    def apply(self, changes: dict[str, dict[bytes, bytes | None]]) -> None:
        """Write to both."""
        self.engine.apply(changes)
        self.memory.apply(changes)

    @precondition(lambda self: self.committer is None)
    @rule()
    def begin_commit(self) -> None:
        """Let the committer take what has gathered and stop before its transaction."""
        if not self.engine._pair[1].trees:
            return
        self.engine.stepped = True
        self.committer = threading.Thread(target=self.engine.sync)
        self.committer.start()
        self.engine.arrived.acquire()
        self.steps_left = 2

    @precondition(lambda self: self.committer is not None)
    @rule()
    def step_committer(self) -> None:
        """Let the committer make its transaction, or drop what it has committed."""
        assert self.committer is not None
        self.engine.go_on.release()
        self.steps_left -= 1
        if self.steps_left:
            self.engine.arrived.acquire()
        else:
            self.committer.join()
            self.committer = None
            self.engine.stepped = False

    @rule(tree=st.sampled_from(TREES), first=st.just(b"") | keys, end=st.none() | keys, reverse=st.booleans())
    def begin_scan(self, tree: str, first: bytes, end: bytes | None, reverse: bool) -> None:
        """Begin a scan on both."""
        self.scans.append(
            (
                self.engine.scan(tree, first, end, reverse=reverse),
                self.memory.scan(tree, first, end, reverse=reverse),
            )
        )

    @precondition(lambda self: bool(self.scans))
    @rule(which=st.integers(0, 100), count=st.integers(1, 40))
    def step_scan(self, which: int, count: int) -> None:
        """Go on with one of the scans that were begun."""
        index = which % len(self.scans)
        ours, theirs = self.scans[index]
        found = list(islice(ours, count))
        assert found == list(islice(theirs, count))
        if len(found) < count:
            del self.scans[index]

    @invariant()
    def everything_reads_alike(self) -> None:
        """Every key and every tree read the same."""
        every = [b"%d" % number for number in range(40)]
        for tree in TREES:
            assert self.engine.get_many(tree, every) == self.memory.get_many(tree, every)
            for reverse in (False, True):
                ours = list(self.engine.scan(tree, b"", None, reverse=reverse))
                assert ours == list(self.memory.scan(tree, b"", None, reverse=reverse))
            assert [self.engine.get(tree, key) for key in every[::7]] == self.memory.get_many(tree, every[::7])

    def teardown(self) -> None:
        """Finish the scans and the commit, then look at the file alone."""
        for ours, theirs in self.scans:
            assert list(ours) == list(theirs)
        while self.committer is not None:
            self.step_committer()
        self.engine.sync()
        self.everything_reads_alike()
        self.engine.close()
        self.directory.cleanup()


TestLmdbAgainstMemory = LmdbAgainstMemory.TestCase
TestLmdbAgainstMemory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_failed_commit_breaks_the_engine(tmp_path: Path) -> None:
    """After a commit that failed nothing is read or written any more, and the file holds what was committed before."""
    engine = LmdbEngine(tmp_path, TREES)
    engine.apply({"a": {b"k": b"1"}})
    engine.sync()
    engine._env.set_mapsize(1 << 20)
    engine.apply({"a": {b"large": bytes(2 << 20), b"k": b"2"}})
    with pytest.raises(EngineFault, match="MDB_MAP_FULL"):
        engine.sync()
    for call in (engine.sync, lambda: engine.apply({"a": {b"k": b"3"}}), engine.statistics):
        with pytest.raises(EngineFault, match="MDB_MAP_FULL"):
            call()
    engine.close()
    again = LmdbEngine(tmp_path, TREES)
    assert again.get("a", b"k") == b"1"
    again.close()


def test_apply_commits_by_itself_when_much_has_gathered(tmp_path: Path) -> None:
    """Memory stays bounded when nobody asks for a sync."""
    engine = LmdbEngine(tmp_path, TREES)
    for number in range(80):
        engine.apply({"a": {b"%d" % number: bytes(1 << 20)}})
    assert engine.statistics()["memory_bytes"] < 64 << 20
    assert len(list(engine.scan("a", b"", None))) == 80
    engine.close()


def test_file_has_the_format_with_long_keys(tmp_path: Path) -> None:
    """The file is of LMDB's second format, which the older library refuses."""
    engine = LmdbEngine(tmp_path, TREES)
    engine.apply({"a": {b"k" * 1900: b"1"}})
    engine.close()
    with pytest.raises(lmdb.Error):
        lmdb.open(str(tmp_path), lib_version=0)
