"""Spaces between servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.service.browse.remote_rooms import KEPT_MS
from tests.support.client import User, segment
from tests.support.federation import Network, network
from tests.support.visitor import Visitor

PATH = "/_matrix/federation/v1/hierarchy/"
SPACE: dict[str, Any] = {"creation_content": {"type": "m.space"}}


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """Two homeservers."""
    async with network("one.test", "two.test") as found:
        yield found


async def add(user: User, space: str, child: str, via: str = "one.test", **content: Any) -> None:
    """Put a room into a space."""
    user.server.clock.jump(1)
    await user.set_state(space, "m.space.child", {"via": [via], **content}, child)


def hierarchy(space: str) -> str:
    """Return the path of a space's tree for users."""
    return f"/_matrix/client/v1/rooms/{segment(space)}/hierarchy"


def names(answer: Any) -> list[str]:
    """Return the names of the rooms in an answer."""
    return [room.get("name", "?") for room in answer["rooms"]]


async def restricted(user: User, allowed: str, name: str) -> str:
    """Make a room that members of another may join."""
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": allowed}]}
    return await user.create_room(
        name=name, initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rule}]
    )


async def test_space_is_told_with_what_the_server_could_enter(net: Network) -> None:
    """Public and allowed rooms with a summary, closed ones by their id, unknown ones not at all."""
    alice, peer = await net["one.test"].register("alice"), net.peer("peer.test")
    space = await alice.create_room(name="Space", preset="public_chat", **SPACE)
    public = await alice.create_room(name="Public", preset="public_chat")
    closed = await alice.create_room(name="Closed")
    members_only = await restricted(alice, space, "Members")
    for child in (public, closed, members_only, "!unknown:peer.test"):
        await add(alice, space, child)
    await add(alice, space, await alice.create_room(name="Hint", preset="public_chat"), suggested=True)
    answer = await peer.get("one.test", PATH + segment(space))
    assert answer["room"]["name"] == "Space"
    assert len(answer["room"]["children_state"]) == 5
    assert [room["name"] for room in answer["children"]] == ["Public", "Hint"]
    assert answer["inaccessible_children"] == [closed, members_only]
    await Visitor(peer, "one.test").join(space, "@eve:peer.test")
    answer = await peer.get("one.test", PATH + segment(space))
    assert [room["name"] for room in answer["children"]] == ["Public", "Members", "Hint"]
    answer = await peer.get("one.test", PATH + segment(space) + "?suggested_only=true")
    assert [room["name"] for room in answer["children"]] == ["Hint"]
    assert len(answer["room"]["children_state"]) == 1


async def test_advisory_14_closed_and_unknown_rooms_are_alike(net: Network) -> None:
    """To a server without any right to know of them."""
    alice, peer = await net["one.test"].register("alice"), net.peer("peer.test")
    closed = await alice.create_room(name="Closed", **SPACE)
    await peer.get("one.test", PATH + segment(closed), "M_NOT_FOUND")
    await peer.get("one.test", PATH + segment("!unknown:one.test"), "M_NOT_FOUND")
    await peer.get("one.test", PATH + "nonsense", "M_INVALID_PARAM")


async def test_rooms_that_shut_a_server_out_are_closed_to_it(net: Network) -> None:
    """By their access control list, or because they are closed to all others: it could not enter them, public as they are."""
    alice, peer = await net["one.test"].register("alice"), net.peer("peer.test")
    space = await alice.create_room(name="Space", preset="public_chat", **SPACE)
    public = await alice.create_room(name="Public", preset="public_chat")
    await add(alice, space, public)
    ours = await alice.create_room(name="Ours", preset="public_chat", creation_content={"m.federate": False})
    await add(alice, space, ours)
    denied = {"allow": ["*"], "deny": ["peer.test"]}
    await alice.set_state(public, "m.room.server_acl", denied)
    answer = await peer.get("one.test", PATH + segment(space))
    assert (answer["children"], answer["inaccessible_children"]) == ([], [public, ours])
    await alice.set_state(space, "m.room.server_acl", denied)
    await peer.get("one.test", PATH + segment(space), "M_NOT_FOUND")


async def test_tree_is_walked_over_several_servers(net: Network) -> None:
    """Spaces of other servers are entered, their rooms shown; what is known here comes from here."""
    alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
    far_space = await alice.create_room(name="Far", preset="public_chat", **SPACE)
    leaf = await alice.create_room(name="Leaf", preset="public_chat")
    near = await bob.create_room(name="Near", preset="public_chat")
    await add(alice, far_space, leaf)
    await add(alice, far_space, near, via="two.test")
    top = await bob.create_room(name="Top", preset="public_chat", **SPACE)
    await add(bob, top, far_space)
    await add(bob, top, "!nowhere:away.test", via="away.test")
    assert names(await bob.get(hierarchy(top))) == ["Top", "Far", "Leaf", "Near"]
    before = len(net.board.requests)
    page = await bob.get(hierarchy(top), params={"limit": 2})
    rest = await bob.get(hierarchy(top), params={"limit": 2, "from": page["next_batch"]})
    assert names(page) + names(rest) == ["Top", "Far", "Leaf", "Near"]
    assert len(net.board.requests) == before  # it is remembered
    net.clock.jump(KEPT_MS / 1000)
    await bob.get(hierarchy(top))
    assert len(net.board.requests) > before


async def test_advisory_14_user_sees_of_other_servers_only_what_they_may(net: Network) -> None:
    """What the server may know because of one user is not for another."""
    alice = await net["one.test"].register("alice")
    bob, carol = await net["two.test"].register("bob"), await net["two.test"].register("carol")
    gate = await alice.create_room(name="Gate", preset="public_chat")
    inner = await restricted(alice, gate, "Inner")
    space = await alice.create_room(name="Space", preset="public_chat", **SPACE)
    await add(alice, space, inner)
    await bob.post(f"/join/{gate}?via=one.test", {})
    top = await bob.create_room(name="Top", preset="public_chat", **SPACE)
    await add(bob, top, space)
    assert names(await bob.get(hierarchy(top))) == ["Top", "Space", "Inner"]
    assert names(await carol.get(hierarchy(top))) == ["Top", "Space"]


async def test_room_that_another_server_calls_closed_is_not_asked_about(net: Network) -> None:
    """Nor is a space that nobody tells of an error of its own."""
    bob, peer = await net["two.test"].register("bob"), net.peer("peer.test")
    child = {
        "type": "m.space.child",
        "state_key": "!closed:peer.test",
        "sender": "@eve:peer.test",
        "content": {"via": ["peer.test"]},
        "origin_server_ts": 1,
    }
    room = {"room_id": "!space:peer.test", "name": "Far", "room_type": "m.space", "join_rule": "public"}
    answer = {"room": {**room, "children_state": [child]}, "inaccessible_children": ["!closed:peer.test"]}
    peer.on("GET", "/_matrix/federation/v1/hierarchy/%21space.*", answer)
    top = await bob.create_room(name="Top", preset="public_chat", **SPACE)
    await add(bob, top, "!space:peer.test", via="peer.test")
    assert names(await bob.get(hierarchy(top))) == ["Top", "Far"]
    assert len(peer.received) == 1
    assert names(await bob.get(hierarchy("!space:peer.test"))) == ["Far"]
    await bob.get(hierarchy("!other:peer.test"), "M_FORBIDDEN")
