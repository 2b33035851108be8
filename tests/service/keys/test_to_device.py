"""Messages between devices."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.database import trees
from conduit.database.database import Database
from conduit.protocol.ids import DeviceId, UserId
from conduit.service.keys import to_device
from conduit.service.users import devices
from tests.support.rooms import ALICE, BOB, CAROL

PHONE, PHONE2 = DeviceId("PHONE"), DeviceId("PHONE2")


@pytest.fixture(autouse=True)
def _devices(db: Database) -> None:
    """Bob has two devices, of which one's id begins like the other's."""
    with db.batch() as batch:
        for device_id in (PHONE, PHONE2):
            devices.create(batch, BOB, device_id)


def send(db: Database, contents: dict[str, Any], to: UserId = BOB) -> None:
    """Send messages from Alice."""
    with db.batch() as batch:
        to_device.deliver(batch, ALICE, "org.example", to, contents)


def received(db: Database, device_id: DeviceId = PHONE) -> list[Any]:
    """Return the contents that wait for a device of Bob's, at most one answer's worth."""
    messages, _ = to_device.pending(db, BOB, device_id, 0, db.current_count())
    assert all((message["type"], message["sender"]) == ("org.example", ALICE) for message in messages)
    return [message["content"]["n"] for message in messages]


def test_message_goes_to_the_devices_named(db: Database) -> None:
    """`*` stands for all; unknown devices and users take nothing up."""
    send(db, {PHONE: {"n": 1}, "NONE": {"n": 2}})
    send(db, {"*": {"n": 3}})
    send(db, {"*": {"n": 4}}, UserId("@nobody:localhost"))
    assert received(db) == [1, 3]
    assert received(db, PHONE2) == [3]
    assert len(list(trees.todeviceid_events.keys(db))) == 3


def test_receiver_is_woken(db: Database) -> None:
    """The sender is not."""
    before = db.watch.last(("user", ALICE))
    send(db, {PHONE: {"n": 1}})
    assert db.watch.last(("user", BOB)) == db.current_count()
    assert db.watch.last(("user", ALICE)) == before


@pytest.mark.parametrize("number", [99, 100, 101, 250])
def test_many_messages_come_in_several_answers(db: Database, number: int) -> None:
    """Oldest first, none twice, none lost; the last answer reaches up to now."""
    for n in range(number):
        send(db, {PHONE: {"n": n}})
    upto, since = db.current_count(), 0
    found: list[int] = []
    while since < upto:
        messages, since = to_device.pending(db, BOB, PHONE, since, upto)
        assert len(messages) <= to_device.MAX_PER_SYNC
        found += [message["content"]["n"] for message in messages]
        with db.batch() as batch:
            to_device.acknowledge(batch, BOB, PHONE, since)
    assert found == list(range(number))
    assert since == upto
    assert received(db) == []


def test_only_what_was_acknowledged_goes(db: Database) -> None:
    """Up to and with the count, of that device only."""
    counts: list[int] = []
    for n in range(3):
        send(db, {"*": {"n": n}})
        counts.append(next(key[2] for key in trees.todeviceid_events.keys(db, (BOB, PHONE), after=([0, *counts])[-1])))
    with db.batch() as batch:
        to_device.acknowledge(batch, BOB, PHONE, counts[1])
    assert received(db) == [2]
    assert received(db, PHONE2) == [0, 1, 2]
    messages, upto = to_device.pending(db, BOB, PHONE, 0, counts[2] - 1)
    assert (messages, upto) == ([], counts[2] - 1)


def fill(db: Database, sender: str, *, size: int = 900) -> int:
    """Let a sender send until nothing is taken any more; return how many messages were."""
    before = len(list(trees.todeviceid_events.keys(db, (BOB, PHONE))))
    with db.batch() as batch:
        for number in range(100):
            to_device.deliver(batch, UserId(sender), "org.example", BOB, {PHONE: {"n": number, "x": "x" * size}})
    return len(list(trees.todeviceid_events.keys(db, (BOB, PHONE)))) - before


@pytest.fixture
def small_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen messages of a kilobyte fill an inbox."""
    monkeypatch.setattr(to_device, "MAX_BYTES", 16_400)


@pytest.mark.usefixtures("small_inbox")
def test_advisory_25_nobody_has_more_in_an_inbox_than_is_left_free(db: Database) -> None:
    """Whoever fills it leaves room for the next, who leaves room for the one after; and all names of one owner count as one."""
    assert fill(db, "@a:one.evil.test") == 8
    assert fill(db, "@b:two.evil.test") == 0
    assert fill(db, "@c:other.test") == 4
    assert fill(db, ALICE) == 2
    assert fill(db, CAROL) == 1
    assert fill(db, BOB, size=100) > 0


@pytest.mark.usefixtures("small_inbox")
def test_inbox_that_was_emptied_takes_as_much_again(db: Database) -> None:
    """Whether all of it was given to the device, or only a part."""
    assert fill(db, "@a:evil.test") == 8
    assert fill(db, ALICE) == 4
    counts = [key[2] for key in trees.todeviceid_events.keys(db, (BOB, PHONE))]
    with db.batch() as batch:
        to_device.acknowledge(batch, BOB, PHONE, counts[3])
    assert trees.todevice_waiting.get(db, (BOB, PHONE)) is not None
    assert fill(db, "@a:evil.test") > 0
    with db.batch() as batch:
        to_device.acknowledge(batch, BOB, PHONE, db.current_count())
    assert trees.todevice_waiting.get(db, (BOB, PHONE)) is None
    assert fill(db, "@a:evil.test") == 8


def test_advisory_25_who_shares_no_room_has_little_in_an_inbox(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server in no room of the user's can leave few messages for a device that does not come for them; the user's own devices have all the room there is."""
    monkeypatch.setattr(to_device, "MAX_BYTES_OF_STRANGERS", 3_300)
    assert fill(db, "@a:evil.test") == 3
    assert fill(db, BOB) == 100


def test_messages_from_before_they_were_counted_do_no_harm(db: Database) -> None:
    """A directory of Conduit's has them: they are given and acknowledged like others."""
    with db.batch() as batch:
        trees.todeviceid_events.put(batch, (BOB, PHONE, batch.next_count()), {"type": "x", "content": {}})
    send(db, {PHONE: {"n": 1}})
    with db.batch() as batch:
        to_device.acknowledge(batch, BOB, PHONE, db.current_count())
    assert trees.todevice_waiting.get(db, (BOB, PHONE)) is None
