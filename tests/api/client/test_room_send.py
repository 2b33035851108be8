"""PUT /send and /redact: transaction ids and hostile input."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.ids import RoomId, UserId
from conduit.service.rooms import timeline
from conduit.service.users import accounts
from tests.support.client import segment
from tests.support.homeserver import Homeserver
from tests.support.people import people, person


def count_of(hs: Homeserver, room_id: str) -> int:
    """Return how many events a room has."""
    return sum(1 for _ in timeline.scan(hs.ctx.db, RoomId(room_id)))


async def test_send_twice_with_one_transaction_sends_once(hs: Homeserver) -> None:
    """A repeated request is answered with the same event, whatever its body."""
    alice = await person(hs)
    room_id = await alice.create_room()
    first = await alice.send(room_id, "hello", txn="x")
    before = count_of(hs, room_id)
    assert await alice.send(room_id, "other", txn="x") == first
    assert count_of(hs, room_id) == before


async def test_send_without_a_transaction_sends_every_time(hs: Homeserver) -> None:
    """The older form has the same rules for what is sent and by whom."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room()
    path, body = f"/rooms/{room_id}/send/m.room.message", {"body": "x", "msgtype": "m.text"}
    one, two = [(await alice.post(path, body))["event_id"] for _ in range(2)]
    assert one != two
    before = count_of(hs, room_id)
    await alice.post(path, {"body": 1.5}, "M_BAD_JSON")
    await alice.post(path, {"body": 2**53}, "M_BAD_JSON")
    await alice.post(path, {"body": "x" * 70_000}, "M_TOO_LARGE")
    await bob.post(path, body, "M_FORBIDDEN")
    assert count_of(hs, room_id) == before


async def test_redaction_without_a_transaction_redacts(hs: Homeserver) -> None:
    """In the older form too."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room()
    event_id = await alice.send(room_id, "secret")
    path = f"/rooms/{room_id}/redact/{segment(event_id)}"
    await bob.post(path, {}, "M_FORBIDDEN")
    redaction = (await alice.post(path, {"reason": "spam"}))["event_id"]
    event = await alice.get(f"/rooms/{room_id}/event/{segment(event_id)}")
    assert event["content"] == {}
    assert event["unsigned"]["redacted_because"]["event_id"] == redaction


async def test_send_at_once_with_one_transaction_sends_once(hs: Homeserver) -> None:
    """Requests that overlap are the same request too."""
    alice = await person(hs)
    room_id = await alice.create_room()
    before = count_of(hs, room_id)
    tasks = [alice.start(alice.send(room_id, "hello", txn="x")) for _ in range(10)]
    assert len({await task for task in tasks}) == 1
    assert count_of(hs, room_id) == before + 1


async def test_transaction_belongs_to_the_device_room_type_and_endpoint(hs: Homeserver) -> None:
    """The same id on another device, in another room, for another type or endpoint is another request."""
    alice = await person(hs)
    other = await hs.login("alice")
    one, two = [await alice.create_room() for _ in range(2)]
    events = {
        await alice.send(one, txn="x"),
        await other.send(one, txn="x"),
        await alice.send(two, txn="x"),
        await alice.send(one, {"a": 1}, "org.example", txn="x"),
    }
    target = await alice.send(one, txn="y")
    redaction = await alice.put(f"/rooms/{one}/redact/{target}/x", {})
    events.add(redaction["event_id"])
    assert len(events) == 5
    assert await alice.put(f"/rooms/{one}/redact/{target}/x", {}) == redaction


async def test_transaction_parts_cannot_be_shifted_into_each_other(hs: Homeserver) -> None:
    """A type that ends as another's transaction begins is no collision."""
    alice = await person(hs)
    room_id = await alice.create_room()
    one = await alice.send(room_id, {}, "a/b", txn="c")
    assert await alice.send(room_id, {}, "a", txn="b/c") != one


BODIES: list[tuple[Any, str]] = [
    ({"x": 1.5}, "M_BAD_JSON"),
    ({"x": 2**53}, "M_BAD_JSON"),
    ({"x": -(2**53)}, "M_BAD_JSON"),
    ({"x": [{"y": 1e3}]}, "M_BAD_JSON"),
    ({"body": "x" * 65_536}, "M_TOO_LARGE"),
    ([], "M_BAD_JSON"),
    ("text", "M_BAD_JSON"),
    (5, "M_BAD_JSON"),
]


async def test_send_of_what_cannot_be_an_event_is_refused(hs: Homeserver) -> None:
    """Floats, huge integers, big bodies and other JSON than objects are refused, and nothing is sent."""
    alice = await person(hs)
    room_id = await alice.create_room()
    before = count_of(hs, room_id)
    for number, (body, errcode) in enumerate(BODIES):
        await alice.put(f"/rooms/{room_id}/send/m.room.message/t{number}", body, errcode)
    raw: list[tuple[bytes, str]] = [
        (b"", "M_NOT_JSON"),
        (b"{", "M_NOT_JSON"),
        (b'{"x":NaN}', "M_NOT_JSON"),
        (b'{"x":"\\ud800"}', "M_NOT_JSON"),
        (b"\xff", "M_NOT_JSON"),
        (b'{"x":' + b"[" * 300 + b"]" * 300 + b"}", "M_BAD_JSON"),
        (b'{"x":' + b"9" * 40 + b"}", "M_BAD_JSON"),
    ]
    for number, (data, errcode) in enumerate(raw):
        path = f"/rooms/{room_id}/send/m.room.message/r{number}"
        await alice.request("PUT", path, None, errcode, data=data)
    assert count_of(hs, room_id) == before


@pytest.mark.parametrize(
    ("path", "errcode"),
    [
        ("/rooms/nowhere/send/m.room.message/x", "M_INVALID_PARAM"),
        ("/rooms/!nowhere:localhost/send/m.room.message/x", "M_FORBIDDEN"),
        ("/rooms/{id}/send/m.room.message/" + "x" * 300, "M_INVALID_PARAM"),
        ("/rooms/{id}/send/m.room.message/%00", "M_INVALID_PARAM"),
        ("/rooms/{id}/send/m.room.message/%ff", "M_INVALID_PARAM"),
        ("/rooms/{id}/send/" + "t" * 300 + "/x", "M_TOO_LARGE"),
        ("/rooms/{id}/send/m.room.message/", "M_UNRECOGNIZED"),
        ("/rooms/{id}/send/m.room.redaction/x", "M_BAD_JSON"),
        ("/rooms/{id}/redact/nothing/x", "M_NOT_FOUND"),
        ("/rooms/{id}/redact/$nothing:localhost/" + "x" * 300, "M_INVALID_PARAM"),
    ],
)
async def test_send_to_bad_paths_is_refused(hs: Homeserver, path: str, errcode: str) -> None:
    """Bad rooms, types and transaction ids have the fitting code."""
    alice = await person(hs)
    room_id = await alice.create_room()
    await alice.put(path.format(id=room_id), {}, errcode)


async def test_send_by_who_is_not_in_the_room_is_refused(hs: Homeserver) -> None:
    """Strangers, invited users and people who have left cannot speak."""
    alice, bob, carol, dave = await people(hs, "alice", "bob", "carol", "dave")
    room_id = await alice.create_room(preset="public_chat", invite=[carol.user_id])
    await dave.join(room_id)
    await dave.leave(room_id)
    for user in (bob, carol, dave):
        await user.send(room_id, expect="M_FORBIDDEN")


async def test_send_while_suspended_is_refused_but_for_own_redactions(hs: Homeserver) -> None:
    """Suspended users can take back what they said, and nothing else."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    own, others = await bob.send(room_id), await alice.send(room_id)
    third = await bob.send(room_id)
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, UserId(bob.user_id), suspended=True)
    await bob.send(room_id, expect="M_USER_SUSPENDED")
    await bob.set_state(room_id, "org.example", {}, expect="M_USER_SUSPENDED")
    await bob.redact(room_id, others, expect="M_USER_SUSPENDED")
    await bob.send(room_id, {"redacts": others}, "m.room.redaction", expect="M_USER_SUSPENDED")
    await bob.redact(room_id, own)
    await bob.send(room_id, {"redacts": third}, "m.room.redaction")
