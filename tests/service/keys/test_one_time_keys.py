"""One-time keys: each handed out once, in order, and counted right whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import DeviceId
from conduit.service.actions.log_in import end_sessions
from conduit.service.keys import one_time_keys
from conduit.service.users import devices
from tests.support.rooms import ALICE

PHONE, PHONE2 = DeviceId("PHONE"), DeviceId("PHONE2")
SIGNED = "signed_curve25519"


def upload(db: Database, *names: str, device_id: DeviceId = PHONE) -> None:
    """Upload keys of these ids."""
    with db.batch() as batch:
        one_time_keys.upload(batch, ALICE, device_id, {name: {"key": name} for name in names})


def upload_fallback(db: Database, *names: str) -> None:
    """Set fallback keys of these ids."""
    with db.batch() as batch:
        one_time_keys.upload_fallback(batch, ALICE, PHONE, {name: {"key": name} for name in names})


def claim(db: Database, algorithm: str = "a", device_id: DeviceId = PHONE) -> str | None:
    """Claim a key and return its id."""
    with db.batch() as batch:
        claimed = one_time_keys.claim(batch, ALICE, device_id, algorithm)
    if claimed is None:
        return None
    ((name, key),) = claimed.items()
    assert key == {"key": name}
    return name


def counts(db: Database, device_id: DeviceId = PHONE) -> dict[str, int]:
    """Return the counts, which a look into the trees confirms."""
    told = dict(one_time_keys.counts(db, ALICE, device_id))
    rows = [key[2] for key in trees.onetimekeyid_onetimekeys.keys(db, (ALICE, device_id))]
    assert sum(told.values()) == len(rows)
    return told


def test_keys_are_handed_out_once_and_in_order(db: Database) -> None:
    """As they stand in the upload, whatever they are called, each algorithm for itself, each device for itself."""
    upload(db, "a:9", "a:1", "ab:0", "b:5")
    upload(db, "a:0")
    upload(db, "a:9", device_id=PHONE2)
    assert counts(db) == {SIGNED: 0, "a": 3, "ab": 1, "b": 1}
    assert [claim(db) for _ in range(4)] == ["a:9", "a:1", "a:0", None]
    assert counts(db) == {SIGNED: 0, "ab": 1, "b": 1}
    assert claim(db, device_id=PHONE2) == "a:9"


def test_many_keys_keep_their_order_over_rows(db: Database) -> None:
    """An upload shares rows of the order, and each claim shortens one; a key that is uploaded again after its claim comes last."""
    names = [f"a:{number}" for number in range(230)]
    upload(db, *names)
    assert len(list(trees.onetimekey_order.keys(db))) == 3
    assert [claim(db) for _ in range(105)] == names[:105]
    assert counts(db)["a"] == 125
    upload(db, "a:7", *names[105:])
    assert counts(db)["a"] == 126
    assert [claim(db) for _ in range(127)] == [*names[105:], "a:7", None]
    assert list(trees.onetimekey_order.keys(db)) == []


def test_same_key_again_keeps_its_place(db: Database) -> None:
    """A different one under its id is refused with the whole upload."""
    upload(db, "a:1", "a:2")
    upload(db, "a:1")
    assert counts(db)["a"] == 2
    with pytest.raises(InvalidParam), db.batch() as batch:
        one_time_keys.upload(batch, ALICE, PHONE, {"a:3": {"key": "a:3"}, "a:1": {"key": "other"}})
    assert [claim(db) for _ in range(3)] == ["a:1", "a:2", None]


def test_keys_that_conduit_stored_are_handed_out_too(db: Database) -> None:
    """They have no place in the order, and come after those that have."""
    with db.batch() as batch:
        for name in ("a:x", "ab:x"):
            row = (ALICE, PHONE, orjson.dumps(name).decode())
            trees.onetimekeyid_onetimekeys.put(batch, row, {"key": name})
    upload(db, "a:y")
    assert [claim(db) for _ in range(3)] == ["a:y", "a:x", None]
    assert counts(db) == {SIGNED: 0, "ab": 1}


def test_fallback_key_serves_when_nothing_else_is_left(db: Database) -> None:
    """Again and again; it is used from the first time on, until it is replaced by another."""
    upload(db, "a:1")
    upload_fallback(db, "a:f", "b:f")

    def unused() -> list[str]:
        return list(one_time_keys.unused_fallback_types(db, ALICE, PHONE))

    assert unused() == ["a", "b"]
    assert [claim(db) for _ in range(3)] == ["a:1", "a:f", "a:f"]
    assert unused() == ["b"]
    upload_fallback(db, "a:f")
    assert unused() == ["b"]
    upload_fallback(db, "a:g")
    assert unused() == ["a", "b"]
    assert claim(db) == "a:g"
    assert counts(db) == {SIGNED: 0}


def test_second_fallback_key_of_an_algorithm_is_refused(db: Database) -> None:
    """There is one for each."""
    with pytest.raises(InvalidParam):
        upload_fallback(db, "a:1", "a:2")
    assert one_time_keys.unused_fallback_types(db, ALICE, PHONE) == []


def test_a_device_has_a_bearable_number_of_keys(db: Database) -> None:
    """All of an upload are stored in one batch, and what there is of each algorithm is told in every /sync."""
    upload(db, *(f"a:{number}" for number in range(4999)))
    for names in (("a:x", "b:x"), [f"a:{number}" for number in range(6000)]):
        with pytest.raises(InvalidParam):
            upload(db, *names)
    upload(db, "a:x")
    upload_fallback(db, *(f"a{number}:x" for number in range(100)))
    upload_fallback(db, "a0:y")
    with pytest.raises(InvalidParam):
        upload_fallback(db, "b:x")


async def test_owner_is_woken_when_keys_come_or_go(db: Database) -> None:
    """/sync tells the owner how many are left; a fallback key that was used before is no news."""
    acts: list[Callable[[], object]] = [
        lambda: upload(db, "a:1"),
        lambda: upload_fallback(db, "a:f"),
        lambda: claim(db),
        lambda: claim(db),
    ]
    for act in acts:
        with db.watch.register([("user", ALICE)]) as waiter:
            act()
            assert await waiter.wait(0)
    with db.watch.register([("user", ALICE)]) as waiter:
        claim(db)
        assert not await waiter.wait(0)


def test_device_that_comes_again_under_its_id_has_no_keys(db: Database) -> None:
    """Nothing of the deleted device is left, in no tree and in no cache: else its client would upload too few."""
    for _ in range(2):
        with db.batch() as batch:
            devices.create(batch, ALICE, PHONE)
        assert counts(db) == {SIGNED: 0}
        assert one_time_keys.unused_fallback_types(db, ALICE, PHONE) == []
        upload(db, "a:1", "a:2")
        upload_fallback(db, "a:f")
        assert counts(db) == {SIGNED: 0, "a": 2}
        assert one_time_keys.unused_fallback_types(db, ALICE, PHONE) == ["a"]
        with db.batch() as batch:
            end_sessions(batch, ALICE, iter([PHONE]))
        assert claim(db) is None
        assert list(trees.onetimekey_order.keys(db)) == []


_STEPS = st.lists(
    st.tuples(st.sampled_from(["upload", "claim"]), st.sampled_from("ab"), st.integers(0, 9)), max_size=30
)


@settings(max_examples=50, deadline=None)
@given(_STEPS)
def test_any_history_is_a_queue_for_each_algorithm(steps: list[tuple[str, str, int]]) -> None:
    """First in, first out, nothing twice, and the counts always right."""
    db = Database(MemoryEngine(trees.TREE_NAMES))
    model: dict[str, list[str]] = {"a": [], "b": []}
    for act, algorithm, number in steps:
        queue = model[algorithm]
        if act == "upload":
            name = f"{algorithm}:{number}"
            upload(db, name)
            if name not in queue:
                queue.append(name)
        else:
            assert claim(db, algorithm) == (queue.pop(0) if queue else None)
        expected: dict[str, Any] = {name: len(left) for name, left in model.items() if left}
        assert counts(db) == {SIGNED: 0, **expected}
