"""The list of what a user was notified of."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.service.browse import notifications
from tests.support.client import User, segment
from tests.support.federation import network
from tests.support.guest import Guest
from tests.support.homeserver import Homeserver
from tests.support.people import people, person
from tests.support.visitor import FEDERATION


async def bodies(user: User, **params: Any) -> list[str]:
    """Return the texts of a page of notifications."""
    page = await user.get("/notifications", params=params)
    return [entry["event"]["content"]["body"] for entry in page["notifications"]]


def mention(user: User, body: str) -> dict[str, Any]:
    """Return a message that mentions somebody."""
    return {"msgtype": "m.text", "body": body, "m.mentions": {"user_ids": [user.user_id]}}


async def test_events_that_notify_are_listed_newest_first_over_all_rooms(hs: Homeserver) -> None:
    """With what the rules say and whether they were read; one's own, notices, redacted ones and those of ignored users are not."""
    alice, bob, carol = await people(hs, "alice", "bob", "carol")
    rooms = [await alice.create_room(preset="public_chat", invite=[bob.user_id]) for _ in range(2)]
    await alice.send(rooms[0], "before the join")
    for room_id in rooms:
        await bob.join(room_id)
    await carol.join(rooms[0])
    await alice.send(rooms[0], "one")
    second = await alice.send(rooms[1], "two")
    await bob.send(rooms[0], "mine")
    await alice.send(rooms[1], {"msgtype": "m.notice", "body": "beep"})
    await alice.redact(rooms[1], await alice.send(rooms[1], "oops"))
    await alice.send(rooms[0], mention(bob, "three"))
    await carol.send(rooms[0], "ignored")
    await bob.put(f"/user/{bob.user_id}/account_data/m.ignored_user_list", {"ignored_users": {carol.user_id: {}}})
    page = await bob.get("/notifications")
    told = [(entry["room_id"], entry["event"]["content"]["body"], entry["read"]) for entry in page["notifications"]]
    # What bob has sent to the first room has read what was there before.
    assert told == [(rooms[0], "three", False), (rooms[1], "two", False), (rooms[0], "one", True)]
    assert "next_token" not in page
    newest = page["notifications"][0]
    assert newest["actions"][0] == "notify"
    assert newest["ts"] == newest["event"]["origin_server_ts"]
    assert "room_id" not in newest["event"]
    await bob.post(f"/rooms/{rooms[1]}/receipt/m.read/{second}", {})
    page = await bob.get("/notifications")
    assert [entry["read"] for entry in page["notifications"]] == [False, True, True]
    assert await bodies(bob, only="highlight") == ["three"]
    assert await bodies(carol) == ["three", "mine", "one"]


async def test_pages_follow_each_other(hs: Homeserver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told twice or left out between them, also where a page ends because it has looked at enough."""
    alice, bob = await people(hs, "alice", "bob")
    rooms = [await alice.create_room(preset="public_chat") for _ in range(2)]
    for room_id in rooms:
        await bob.join(room_id)
    sent = [str(number) for number in range(9)]
    for number in sent:
        await alice.send(rooms[int(number) % 2], number)
    monkeypatch.setattr(notifications, "STEP", 2)

    async def read_all(**params: Any) -> tuple[list[str], int]:
        found: list[str] = []
        for pages in range(1, 20):
            page = await bob.get("/notifications", params=params)
            found += [entry["event"]["content"]["body"] for entry in page["notifications"]]
            if "next_token" not in page:
                return found, pages
            params["from"] = page["next_token"]
        raise AssertionError("there is no end")

    assert await read_all(limit=2) == (sent[::-1], 5)
    monkeypatch.setattr(notifications, "MAX_LOOKED_AT", 4)
    found, _ = await read_all()
    assert found == sent[::-1]


async def test_filled_gap_hides_nothing_from_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was missed and filled in later has notified nobody, however much it is; what came before has."""
    monkeypatch.setattr(notifications, "STEP", 2)
    async with network("one.test") as net:
        alice = await net["one.test"].register("alice")
        room = await alice.create_room(preset="public_chat")
        guest = await Guest.enter(net, room)
        guest.serve()
        await guest.send(guest.message("first"))
        missed = [guest.message(f"missed {number}") for number in range(7)]
        guest.peer.on("POST", f"{FEDERATION}/v1/get_missing_events/.*", {"events": [missed[-1].pdu]})
        await guest.send(guest.message("last"))
        await alice.get(f"/rooms/{segment(room)}/messages", params={"dir": "b", "limit": "50"})
        shown = (await alice.get(f"/rooms/{segment(room)}/messages", params={"dir": "b", "limit": "50"}))["chunk"]
        assert {event.event_id for event in missed} <= {event["event_id"] for event in shown}
        told = await bodies(alice)
        assert (told[0], told[-1]) == ("last", "first")
        pages, start = [], {}
        for _ in told:
            page = await alice.get("/notifications", params={"limit": 1, **start})
            pages += [entry["event"]["content"]["body"] for entry in page["notifications"]]
            start = {"from": page.get("next_token", "")}
        assert pages == told


async def test_reading_a_thread_reads_its_notifications(hs: Homeserver) -> None:
    """And none of the main timeline."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    root = await alice.send(room_id, "root")
    answer = {"msgtype": "m.text", "body": "x", "m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{await alice.send(room_id, answer)}", {"thread_id": root})
    page = await bob.get("/notifications")
    assert [entry["read"] for entry in page["notifications"]] == [True, False]


async def test_unknown_token_is_refused(hs: Homeserver) -> None:
    """With M_INVALID_PARAM."""
    alice = await person(hs)
    await alice.get("/notifications", params={"from": "s1_2"}, expect="M_INVALID_PARAM")
    assert await alice.get("/notifications", params={"from": "n1", "limit": "0"}) == {"notifications": []}
