"""The contract of the engines: one suite over all of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.database.engine import MAX_KEY_BYTES, Engine
from conduit.database.errors import EngineFault, KeyTooLong
from tests.database.conftest import open_engine

KEYS = [
    b"\x00",
    b"\x00\x00",
    b"\x01",
    b"a",
    b"a\x00",
    b"a\xff",
    b"b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff\x00",
    b"\xff\xff",
]
BOUNDS = [b"", *KEYS, b"\x02", b"a\x01", b"c", b"\xff\xff\xff"]


def fill(engine: Engine, tree: str = "a", keys: list[bytes] | None = None) -> dict[bytes, bytes]:
    """Put `keys` (all of `KEYS`) with values that tell them apart; return them."""
    entries = {key: b"value of " + key for key in (KEYS if keys is None else keys)}
    engine.apply({tree: entries})
    return entries


def numbered(count: int) -> list[bytes]:
    """Return `count` keys that sort as their numbers."""
    return [b"%06d" % number for number in range(count)]


# --- reading what was written --------------------------------------------------------------------------------------


def test_get_absent_key_is_none(engine: Engine) -> None:
    """A key that was never written, one deleted again and an impossible one read as absent."""
    engine.apply({"a": {b"gone": b"1"}})
    engine.apply({"a": {b"gone": None}})
    for key in (b"never", b"gone", b"", b"k" * 5000):
        assert engine.get("a", key) is None
        assert engine.get_many("a", [b"never", key]) == [None, None]


def test_bounded_scan_of_any_length_sees_every_row(engine: Engine) -> None:
    """A scan sees every row up to its bound, whatever the bound's length: an engine may borrow its memory."""
    for length in range(1, 80):
        prefix = b"p" * length + b"\xff"
        engine.apply({"a": {prefix + bytes([byte]): b"x" for byte in range(0, 256, 8)}})
        rows = engine.scan("a", prefix, b"p" * (length - 1) + b"q")
        assert len(list(rows)) == 32, length


def test_get_returns_last_value_put(engine: Engine) -> None:
    """The newest value holds, before and after a sync; an empty value is a value."""
    engine.apply({"a": {b"k": b"1", b"empty": b""}})
    engine.sync()
    engine.apply({"a": {b"k": b"2"}})
    assert engine.get("a", b"k") == b"2"
    engine.sync()
    assert engine.get_many("a", [b"empty", b"k", b"k", b"no"]) == [b"", b"2", b"2", None]


def test_trees_are_apart(engine: Engine) -> None:
    """The same key in two trees is two entries."""
    engine.apply({"a": {b"k": b"a"}, "b": {b"k": b"b"}})
    engine.apply({"a": {b"k": None}})
    assert engine.get("a", b"k") is None
    assert engine.get("b", b"k") == b"b"
    assert list(engine.scan("c", b"", None)) == []


def test_values_may_be_large(engine: Engine) -> None:
    """A value of a megabyte comes back whole."""
    value = bytes(range(256)) * 4096
    engine.apply({"a": {b"large": value}})
    engine.sync()
    assert engine.get("a", b"large") == value
    assert list(engine.scan("a", b"", None)) == [(b"large", value)]


def test_unknown_tree_is_refused_and_nothing_written(engine: Engine) -> None:
    """A tree that was not named at opening is a mistake in the program."""
    with pytest.raises(KeyError):
        engine.apply({"a": {b"k": b"1"}, "nowhere": {b"k": b"1"}})
    assert engine.get("a", b"k") is None
    with pytest.raises(KeyError):
        engine.get("nowhere", b"k")
    with pytest.raises(KeyError):
        engine.scan("nowhere", b"", None)


@pytest.mark.parametrize("length", [0, MAX_KEY_BYTES + 1, 5000])
def test_key_of_impossible_length_is_refused_and_nothing_written(engine: Engine, length: int) -> None:
    """One bad key refuses its whole batch, and the engine goes on."""
    with pytest.raises(KeyTooLong):
        engine.apply({"a": {b"k": b"1"}, "b": {b"k" * length: b"1"}})
    assert engine.get("a", b"k") is None
    fill(engine, keys=[b"k" * MAX_KEY_BYTES, b"k"])
    engine.sync()
    assert [key for key, _ in engine.scan("a", b"", None)] == [b"k", b"k" * MAX_KEY_BYTES]


# --- scans ---------------------------------------------------------------------------------------------------------


def expected(entries: dict[bytes, bytes], first: bytes, end: bytes | None, reverse: bool) -> list[tuple[bytes, bytes]]:
    """Return what the contract says that a scan finds."""
    found = sorted((key, value) for key, value in entries.items() if key >= first and (end is None or key < end))
    return found[::-1] if reverse else found


@pytest.mark.parametrize("synced", [False, True])
def test_scan_keeps_bounds_and_order_both_ways(engine: Engine, synced: bool) -> None:
    """First is included, end is not, order is that of unsigned bytes, for every pair of bounds."""
    entries = fill(engine)
    if synced:
        engine.sync()
    for first in BOUNDS:
        for end in [*BOUNDS, None]:
            for reverse in (False, True):
                found = list(engine.scan("a", first, end, reverse=reverse))
                assert found == expected(entries, first, end, reverse), (first, end, reverse)


@settings(max_examples=25, deadline=None)
@given(
    synced=st.dictionaries(st.binary(min_size=1, max_size=3), st.binary(max_size=2), max_size=40),
    pending=st.dictionaries(st.binary(min_size=1, max_size=3), st.none() | st.binary(max_size=2), max_size=20),
    bounds=st.lists(st.tuples(st.binary(max_size=3), st.none() | st.binary(max_size=3), st.booleans()), max_size=8),
)
@pytest.mark.parametrize("kind", ["memory", "rocksdb", "lmdb"])
def test_scan_of_anything_agrees_with_sorting(
    kind: str,
    tmp_path_factory: pytest.TempPathFactory,
    synced: dict[bytes, bytes],
    pending: dict[bytes, bytes | None],
    bounds: list[tuple[bytes, bytes | None, bool]],
) -> None:
    """Whatever is in the file and whatever waits for it, a scan sees both as one."""
    engine = open_engine(kind, tmp_path_factory.mktemp("db"))
    engine.apply({"a": synced})
    engine.sync()
    engine.apply({"a": pending})
    entries = {key: value for key, value in {**synced, **pending}.items() if value is not None}
    for first, end, reverse in bounds:
        assert list(engine.scan("a", first, end, reverse=reverse)) == expected(entries, first, end, reverse)
    engine.close()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("taken", [0, 1, 3, 4, 5, 40, 300])
def test_scan_sees_one_moment_whatever_is_written(engine: Engine, reverse: bool, taken: int) -> None:
    """Entries changed, added and removed while a scan runs do not show in it, nor in one that began before them."""
    before = fill(engine, keys=numbered(600)[::2])
    engine.sync()
    whole = expected(before, b"", None, reverse)
    scan = engine.scan("a", b"", None, reverse=reverse)
    found = list(islice(scan, taken))
    engine.apply({"a": dict.fromkeys(numbered(600), b"new")})
    second = engine.scan("a", b"", None, reverse=reverse)
    found += islice(scan, 7)
    engine.sync()
    engine.apply({"a": dict.fromkeys(numbered(600)[100:500])})
    found += islice(scan, 50)
    engine.sync()
    assert found + list(scan) == whole
    assert [key for key, _ in second] == [
        key for key, _ in expected(dict.fromkeys(numbered(600), b""), b"", None, reverse)
    ]


def test_scan_ended_early_costs_nothing_later(engine: Engine) -> None:
    """A scan that nobody finishes does not keep the engine from writing, scanning or closing."""
    fill(engine, keys=numbered(100))
    for _ in range(50):
        assert next(iter(engine.scan("a", b"", None)))[0] == b"000000"
        engine.apply({"a": {b"000050": b"x"}})
    left = engine.scan("a", b"", None)
    next(left)
    engine.close()


def test_scan_that_goes_on_after_close_raises(engine: Engine) -> None:
    """A scan cut short by the end must not look complete."""
    fill(engine, keys=numbered(1000))
    engine.sync()
    scans = [engine.scan("a", b"", None, reverse=reverse) for reverse in (False, True)]
    for scan in scans:
        next(scan)
    engine.close()
    for scan in scans:
        with pytest.raises(EngineFault):
            list(scan)


# --- files ---------------------------------------------------------------------------------------------------------


def test_everything_is_there_after_reopening(disk_kind: str, tmp_path: Path) -> None:
    """Closing makes everything durable; further trees may be named at the next opening, and none need be."""
    engine = open_engine(disk_kind, tmp_path / "db")
    entries = fill(engine)
    engine.sync()
    engine.apply({"b": {b"late": b"1"}})
    engine.close()
    engine.close()
    again = open_engine(disk_kind, tmp_path / "db", ("global", "a", "b", "d"))
    assert dict(again.scan("a", b"", None)) == entries
    assert again.get("b", b"late") == b"1"
    assert list(again.scan("d", b"", None)) == []
    again.close()
    third = open_engine(disk_kind, tmp_path / "db")
    assert dict(third.scan("a", b"", None)) == entries
    third.close()


def test_open_scans_do_not_keep_the_directory(disk_kind: str, tmp_path: Path) -> None:
    """The directory can be opened again although scans were left unfinished."""
    engine = open_engine(disk_kind, tmp_path / "db")
    fill(engine, keys=numbered(1000))
    scans = [engine.scan("a", b"", None) for _ in range(3)]
    next(scans[0])
    engine.close()
    again = open_engine(disk_kind, tmp_path / "db")
    assert len(list(again.scan("a", b"", None))) == 1000
    again.close()


def test_calls_after_close_raise(engine: Engine) -> None:
    """A closed engine refuses everything."""
    engine.close()
    for call in (
        lambda: engine.get("a", b"k"),
        lambda: engine.get_many("a", [b"k"]),
        lambda: list(engine.scan("a", b"", None)),
        lambda: engine.apply({"a": {b"k": b"1"}}),
        engine.sync,
        engine.statistics,
    ):
        with pytest.raises(EngineFault):
            call()


def test_checkpoint_opens_like_the_original(disk_kind: str, tmp_path: Path) -> None:
    """A checkpoint holds all that was applied, synced or not, and nothing that came later."""
    engine = open_engine(disk_kind, tmp_path / "db")
    entries = fill(engine)
    engine.sync()
    engine.apply({"b": {b"unsynced": b"1"}})
    engine.checkpoint(tmp_path / "copy")
    engine.apply({"a": {b"later": b"1"}})
    copy = open_engine(disk_kind, tmp_path / "copy")
    assert dict(copy.scan("a", b"", None)) == entries
    assert copy.get("b", b"unsynced") == b"1"
    copy.close()
    with pytest.raises(EngineFault):
        engine.checkpoint(tmp_path / "copy")
    assert engine.get("a", b"later") == b"1"
    engine.close()


def test_checkpoint_runs_beside_writes(disk_kind: str, tmp_path: Path) -> None:
    """A checkpoint in another thread sees each batch whole."""
    engine = open_engine(disk_kind, tmp_path / "db")
    engine.apply({"a": {b"n": b"0"}, "b": {b"n": b"0"}})
    thread = threading.Thread(target=engine.checkpoint, args=(tmp_path / "copy",))
    thread.start()
    number = 0
    while thread.is_alive():
        number += 1
        engine.apply({"a": {b"n": b"%d" % number}, "b": {b"n": b"%d" % number}})
    thread.join()
    copy = open_engine(disk_kind, tmp_path / "copy")
    assert copy.get("a", b"n") == copy.get("b", b"n")
    copy.close()
    engine.close()


def test_syncs_run_beside_reads_and_writes(disk_kind: str, tmp_path: Path) -> None:
    """While another thread syncs, reads always see the newest value, by key and in scans."""
    engine = open_engine(disk_kind, tmp_path / "db")
    stop = threading.Event()

    def keep_syncing() -> None:
        while not stop.is_set():
            engine.sync()

    thread = threading.Thread(target=keep_syncing)
    thread.start()
    try:
        for number in range(2000):
            value = b"%d" % number
            engine.apply({"a": {b"x": value, b"y%d" % (number % 7): value}, "b": {b"x": value}})
            assert engine.get("a", b"x") == value
            assert engine.get_many("b", [b"x"]) == [value]
            assert dict(engine.scan("a", b"y", b"z"))[b"y%d" % (number % 7)] == value
    finally:
        stop.set()
        thread.join()
    engine.close()


def test_statistics_name_bytes_on_disk_and_in_memory(engine: Engine) -> None:
    """Operators see how much an engine holds."""
    fill(engine)
    engine.sync()
    figures = engine.statistics()
    assert {"disk_bytes", "memory_bytes"} <= figures.keys()
    assert all(figure >= 0 for figure in figures.values())


def sst_files(directory: Path) -> Iterator[Path]:
    """Return RocksDB's table files, largest first."""
    return iter(sorted(directory.glob("*.sst"), key=lambda path: -path.stat().st_size))


def test_rocksdb_scan_reports_a_damaged_block(tmp_path: Path) -> None:
    """A block that does not match its checksum is an error, not the end of the tree."""
    engine = open_engine("rocksdb", tmp_path / "db")
    engine.apply({"a": {key: bytes(str(key), "ascii") * 8 for key in numbered(20000)}})
    engine.close()
    path = next(sst_files(tmp_path / "db"))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 50] = bytes(50)
    path.write_bytes(data)
    engine = open_engine("rocksdb", tmp_path / "db")
    for reverse in (False, True):
        with pytest.raises(EngineFault, match="tree a"):
            list(engine.scan("a", b"", None, reverse=reverse))
    with pytest.raises(EngineFault, match="tree a"):
        engine.get_many("a", numbered(20000))
    engine.close()
