"""Tests of the events that relate to an event."""

from __future__ import annotations

from typing import Any

from tests.support.client import User, segment
from tests.support.homeserver import Homeserver

Json = dict[str, Any]


async def relate(user: User, room: str, target: str, rel_type: str, *, event_type: str = "m.room.message") -> str:
    """Send an event that relates to another one."""
    content: Json = {"m.relates_to": {"rel_type": rel_type, "event_id": target}}
    if event_type == "m.reaction":
        content["m.relates_to"]["key"] = user.next_txn()
    else:
        content.update(msgtype="m.text", body="x")
    return await user.send(room, content, event_type)


def path_to(room: str, target: str, *rest: str) -> str:
    """Return the path of the relations of an event."""
    return "/_matrix/client/v1/rooms/" + "/".join([room, "relations", segment(target), *rest])


def ids(body: Json) -> list[str]:
    """Return the ids of a chunk."""
    return [event["event_id"] for event in body["chunk"]]


async def test_relations_by_type_in_both_directions_and_pages(hs: Homeserver) -> None:
    """Children come newest first or oldest first, narrowed by relation and event type, in pages."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    target = await alice.send(room, "target")
    reactions = [await relate(alice, room, target, "m.annotation", event_type="m.reaction") for _ in range(3)]
    reference = await relate(alice, room, target, "m.reference")
    assert ids(await alice.get(path_to(room, target))) == [reference, *reversed(reactions)]
    assert ids(await alice.get(path_to(room, target), params={"dir": "f"})) == [*reactions, reference]
    assert ids(await alice.get(path_to(room, target, "m.reference"))) == [reference]
    # Where they were before they were specified.
    old = path_to(room, target, "m.annotation", "m.reaction").replace("/v1/", "/unstable/")
    assert ids(await alice.get(old)) == [*reversed(reactions)]
    assert ids(await alice.get(path_to(room, target, "m.annotation", "m.room.message"))) == []
    page = await alice.get(path_to(room, target, "m.annotation", "m.reaction"), params={"limit": 2})
    assert ids(page) == [reactions[2], reactions[1]]
    page = await alice.get(path_to(room, target, "m.annotation"), params={"limit": 2, "from": page["next_batch"]})
    assert ids(page) == [reactions[0]]
    assert "next_batch" not in page
    page = await alice.get(path_to(room, target), params={"limit": 3, "dir": "f"})
    page = await alice.get(path_to(room, target), params={"limit": 3, "dir": "f", "from": page["next_batch"]})
    assert ids(page) == [reference]


async def test_recursion_reaches_children_of_children(hs: Homeserver) -> None:
    """With recurse the children of children are there too, and the answer says how deep it went."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    target = await alice.send(room, "target")
    child = await relate(alice, room, target, "m.thread")
    grandchild = await relate(alice, room, child, "m.annotation", event_type="m.reaction")
    assert ids(await alice.get(path_to(room, target))) == [child]
    body = await alice.get(path_to(room, target), params={"recurse": True})
    assert ids(body) == [grandchild, child]
    assert body["recursion_depth"] >= 3


async def test_redacted_and_ignored_children_are_left_out(hs: Homeserver) -> None:
    """A redacted child relates to nothing any more; children of ignored users are not shown."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    target = await alice.send(room, "target")
    gone = await relate(alice, room, target, "m.reference")
    kept = await relate(alice, room, target, "m.reference")
    await relate(bob, room, target, "m.reference")
    await alice.redact(room, gone)
    await alice.put(
        f"/user/{segment(alice.user_id)}/account_data/m.ignored_user_list", {"ignored_users": {bob.user_id: {}}}
    )
    assert ids(await alice.get(path_to(room, target))) == [kept]
    event = await alice.get(f"/rooms/{room}/event/{segment(target)}")
    assert event["unsigned"]["m.relations"] == {"m.reference": {"chunk": [{"event_id": kept}]}}


async def test_relations_of_what_may_not_be_seen_are_not_found(hs: Homeserver) -> None:
    """Strangers and unknown events get the same answer."""
    alice, eve = await hs.register("alice"), await hs.register("eve")
    room = await alice.create_room()
    target = await alice.send(room, "target")
    await eve.get(path_to(room, target), "M_NOT_FOUND")
    await alice.get(path_to(room, "$unknown:localhost"), "M_NOT_FOUND")
    await alice.get(path_to(room, target), "M_INVALID_PARAM", params={"from": "x"})
