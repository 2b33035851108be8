"""Tests of the list of a room's threads."""

from __future__ import annotations

from typing import Any

from tests.api.client.test_relations import ids, relate
from tests.support.client import segment
from tests.support.homeserver import Homeserver


def path_of(room: str) -> str:
    """Return the path of a room's threads."""
    return f"/_matrix/client/v1/rooms/{room}/threads"


async def test_threads_come_by_their_last_reply_in_pages(hs: Homeserver) -> None:
    """The thread that was answered last comes first; a page goes on where the former ended."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    roots = [await alice.send(room, f"root{n}") for n in range(3)]
    for root in (*roots, roots[0]):
        await relate(alice, room, root, "m.thread")
    body = await alice.get(path_of(room))
    assert ids(body) == [roots[0], roots[2], roots[1]]
    assert body["chunk"][0]["unsigned"]["m.relations"]["m.thread"]["count"] == 2
    page = await alice.get(path_of(room), params={"limit": 2})
    assert ids(page) == [roots[0], roots[2]]
    page = await alice.get(path_of(room), params={"limit": 2, "from": page["next_batch"]})
    assert ids(page) == [roots[1]]
    assert "next_batch" not in page


async def test_threads_participated_are_those_begun_or_answered(hs: Homeserver) -> None:
    """`participated` keeps threads that the user has begun or replied in."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    others, own, answered = [await user.send(room, "r") for user in (alice, bob, alice)]
    for root in (others, own, answered):
        await relate(alice, room, root, "m.thread")
    await relate(bob, room, answered, "m.thread")
    assert set(ids(await bob.get(path_of(room)))) == {others, own, answered}
    assert set(ids(await bob.get(path_of(room), params={"include": "participated"}))) == {own, answered}


async def test_thread_of_an_ignored_user_has_a_bare_root(hs: Homeserver) -> None:
    """The root of somebody ignored comes without content; replies of ignored users do not count."""
    alice, bob, carol = [await hs.register(name) for name in ("alice", "bob", "carol")]
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    await carol.join(room)
    root = await bob.send(room, "unheard")
    await relate(alice, room, root, "m.thread")
    await relate(bob, room, root, "m.thread")
    await carol.put(
        f"/user/{segment(carol.user_id)}/account_data/m.ignored_user_list", {"ignored_users": {bob.user_id: {}}}
    )
    chunk: list[dict[str, Any]] = (await carol.get(path_of(room)))["chunk"]
    assert chunk[0]["content"] == {}
    thread = chunk[0]["unsigned"]["m.relations"]["m.thread"]
    assert thread["count"] == 1
    assert thread["latest_event"]["sender"] == alice.user_id


async def test_threads_of_a_foreign_room_are_refused(hs: Homeserver) -> None:
    """Strangers are refused; bad parameters are too."""
    alice, eve = await hs.register("alice"), await hs.register("eve")
    room = await alice.create_room()
    await eve.get(path_of(room), "M_FORBIDDEN")
    await alice.get(path_of(room), "M_INVALID_PARAM", params={"include": "some"})
    await alice.get(path_of(room), "M_INVALID_PARAM", params={"limit": 0})
    await alice.get(path_of(room), "M_INVALID_PARAM", params={"from": "nonsense"})
