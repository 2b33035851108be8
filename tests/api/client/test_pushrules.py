"""The API of push rules, and what unread counts make of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.client import User
from tests.support.homeserver import Homeserver
from tests.support.people import people, person


async def test_rules_are_read_changed_and_removed(hs: Homeserver) -> None:
    """One rule's life through its endpoints; /sync tells of each change."""
    alice = await person(hs)
    since = (await alice.sync())["next_batch"]
    path = "/pushrules/global/content/cake"
    await alice.get(path, expect="M_NOT_FOUND")
    await alice.put(path, {"pattern": "cake", "actions": ["notify"]})
    expected = {"rule_id": "cake", "default": False, "enabled": True, "pattern": "cake", "actions": ["notify"]}
    assert await alice.get(path) == expected
    assert (await alice.get("/pushrules/"))["global"]["content"] == [expected]
    assert (await alice.get("/pushrules/global/"))["content"] == [expected]
    assert await alice.get("/pushrules/global/content/") == [expected]
    changed = await alice.sync(since)
    assert [event["type"] for event in changed["account_data"]["events"]] == ["m.push_rules"]
    refused = await alice.put(path, {"pattern": "cake", "actions": []}, expect=400, params={"before": "unknown"})
    assert refused["errcode"] == "M_UNKNOWN"
    await alice.put(f"{path}/enabled", {"enabled": False})
    assert await alice.get(f"{path}/enabled") == {"enabled": False}
    await alice.put(f"{path}/actions", {"actions": []})
    assert await alice.get(f"{path}/actions") == {"actions": []}
    await alice.delete(path)
    await alice.delete(path, expect="M_NOT_FOUND")
    await alice.delete("/pushrules/global/override/.m.rule.master", expect="M_INVALID_PARAM")
    await alice.get("/pushrules/global/nonsense/x", expect="M_INVALID_PARAM")
    await alice.get("/pushrules/global/nonsense/", expect="M_INVALID_PARAM")


async def room_of_two(hs: Homeserver) -> tuple[User, User, str]:
    """Return two users in a room, the second having read nothing yet."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    return alice, bob, room_id


async def unread(user: User, room_id: str) -> tuple[int, int]:
    """Return what a full /sync says of a room: notifications and highlights."""
    counts = (await user.sync())["rooms"]["join"][room_id]["unread_notifications"]
    return counts["notification_count"], counts["highlight_count"]


async def test_unread_counts_follow_messages_and_receipts(hs: Homeserver) -> None:
    """Messages count, notices, reactions and edits do not; a receipt takes away what lies up to it."""
    alice, bob, room_id = await room_of_two(hs)
    first = await alice.send(room_id, "one")
    await alice.send(room_id, {"msgtype": "m.notice", "body": "beep"})
    await alice.send(
        room_id, {"m.relates_to": {"rel_type": "m.annotation", "event_id": first, "key": "x"}}, "m.reaction"
    )
    edit = {"rel_type": "m.replace", "event_id": first}
    new = {"msgtype": "m.text", "body": "1"}
    await alice.send(room_id, {**new, "m.new_content": new, "m.relates_to": edit})
    second = await alice.send(room_id, "two")
    assert await unread(bob, room_id) == (2, 0)
    assert await unread(alice, room_id) == (0, 0)
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{first}", {})
    assert await unread(bob, room_id) == (1, 0)
    await bob.post(f"/rooms/{room_id}/receipt/m.read.private/{second}", {})
    assert await unread(bob, room_id) == (0, 0)
    # An older receipt takes nothing back.
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{first}", {})
    assert await unread(bob, room_id) == (0, 0)


async def test_sending_reads_what_came_before(hs: Homeserver) -> None:
    """Who answers has read the question."""
    alice, bob, room_id = await room_of_two(hs)
    await alice.send(room_id, "question")
    assert await unread(bob, room_id) == (1, 0)
    await bob.send(room_id, "answer")
    assert await unread(bob, room_id) == (0, 0)
    assert await unread(alice, room_id) == (1, 0)


async def test_mentions_highlight(hs: Homeserver) -> None:
    """A mention of the user highlights; of the room only from somebody with the power for it."""
    alice, bob, room_id = await room_of_two(hs)
    await alice.send(room_id, {"msgtype": "m.text", "body": "x", "m.mentions": {"user_ids": [bob.user_id]}})
    assert await unread(bob, room_id) == (1, 1)
    await alice.send(room_id, {"msgtype": "m.text", "body": "x", "m.mentions": {"room": True}})
    assert await unread(bob, room_id) == (2, 2)
    await bob.send(room_id, {"msgtype": "m.text", "body": "x", "m.mentions": {"room": True}})
    assert await unread(alice, room_id) == (1, 0)


async def test_joining_starts_without_unread_messages(hs: Homeserver) -> None:
    """What was said before the join is not unread."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await alice.send(room_id, "early")
    await bob.join(room_id)
    assert await unread(bob, room_id) == (0, 0)


async def test_own_rules_change_the_counts(hs: Homeserver) -> None:
    """A silenced room counts nothing, a keyword highlights, and the others' counts stay as they are."""
    alice, bob, room_id = await room_of_two(hs)
    carol = await hs.register("carol")
    await carol.join(room_id)
    actions: list[Any] = ["notify", {"set_tweak": "highlight"}]
    await bob.put("/pushrules/global/content/cake", {"pattern": "cake", "actions": actions})
    await carol.put(f"/pushrules/global/room/{room_id}", {"actions": []})
    await alice.send(room_id, "there is cake")
    await alice.send(room_id, "no pie")
    assert await unread(bob, room_id) == (2, 1)
    assert await unread(carol, room_id) == (0, 0)


async def test_threads_are_counted_apart(hs: Homeserver) -> None:
    """With the filter's switch each thread has counts of its own, and a threaded receipt clears only it."""
    alice, bob, room_id = await room_of_two(hs)
    root = await alice.send(room_id, "root")
    thread = {"rel_type": "m.thread", "event_id": root}
    last = ""
    for _ in range(2):
        last = await alice.send(room_id, {"msgtype": "m.text", "body": "x", "m.relates_to": thread})
    wanted = {"room": {"timeline": {"unread_thread_notifications": True}}}

    async def counts() -> tuple[int, dict[str, Any]]:
        room = (await bob.sync(filter=wanted))["rooms"]["join"][room_id]
        return room["unread_notifications"]["notification_count"], room.get("unread_thread_notifications", {})

    assert await counts() == (1, {root: {"notification_count": 2, "highlight_count": 0}})
    assert await unread(bob, room_id) == (3, 0)
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{last}", {"thread_id": root})
    assert await counts() == (1, {})
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{root}", {"thread_id": "main"})
    assert await counts() == (0, {})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/pushrules/override/x"),
        ("PUT", "/pushrules/elsewhere/override/x"),
        ("PUT", "/pushrules/global/x"),
        ("PUT", "/pushrules/global/override/"),
        ("PUT", "/pushrules/global/override/x/colour"),
        ("GET", "/pushrules/global/override/x/colour"),
        ("GET", "/pushrules/elsewhere/"),
        ("GET", "/pushrules/global"),
        ("DELETE", "/pushrules/global/override"),
    ],
)
async def test_paths_that_name_no_rule_are_refused(hs: Homeserver, method: str, path: str) -> None:
    """A wrong scope, kind or attribute is a wrong value, not an unknown endpoint."""
    alice = await hs.register("alice")
    answer = await alice.raw(method, path, {} if method == "PUT" else None)
    assert (answer.status, answer.json()["errcode"]) == (400, "M_INVALID_PARAM")


async def test_rules_are_account_data_from_the_first(hs: Homeserver) -> None:
    """Whoever never changed one: in the first /sync and wherever account data is read; an incremental /sync tells of changes alone."""
    alice = await person(hs)
    expected = await alice.get("/pushrules/")
    first = await alice.sync()
    assert {"type": "m.push_rules", "content": expected} in first["account_data"]["events"]
    assert "account_data" not in await alice.sync(first["next_batch"])
    assert await alice.get(f"/user/{alice.user_id}/account_data/m.push_rules") == expected
    await alice.get(f"/user/{alice.user_id}/rooms/!room:localhost/account_data/m.push_rules", expect="M_NOT_FOUND")
