"""Tests of walking through spaces."""

from __future__ import annotations

from typing import Any

from tests.support.client import User
from tests.support.homeserver import Homeserver

Json = dict[str, Any]
SPACE: dict[str, Any] = {"creation_content": {"type": "m.space"}}


async def add(user: User, space: str, child: str, **content: Any) -> None:
    """Put a room into a space."""
    user.server.clock.jump(1)  # without an order, the older child comes first
    await user.set_state(space, "m.space.child", {"via": ["localhost"], **content}, child)


def path_of(space: str) -> str:
    """Return the path of a space's hierarchy."""
    return f"/_matrix/client/v1/rooms/{space}/hierarchy"


def names(body: Json) -> list[str]:
    """Return the names of the rooms in an answer."""
    return [room["name"] for room in body["rooms"]]


async def tree(alice: User) -> dict[str, str]:
    """Make: top -> (sub -> (leaf, top again), b, a with order), all public."""
    made = {name: await alice.create_room(name=name, preset="public_chat", **SPACE) for name in ("top", "sub")}
    for name in ("leaf", "b", "a"):
        made[name] = await alice.create_room(name=name, preset="public_chat")
    await add(alice, made["top"], made["sub"])
    await add(alice, made["top"], made["b"], suggested=True)
    await add(alice, made["top"], made["a"], order="1")
    await add(alice, made["sub"], made["leaf"])
    await add(alice, made["sub"], made["top"])
    return made


async def test_hierarchy_is_walked_depth_first_in_order_without_circles(hs: Homeserver) -> None:
    """Children with an order come first, subspaces are entered where they stand, and each room comes once."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    made = await tree(alice)
    body = await bob.get(path_of(made["top"]))
    assert names(body) == ["top", "a", "sub", "leaf", "b"]
    top = body["rooms"][0]
    assert [child["state_key"] for child in top["children_state"]] == [made["a"], made["sub"], made["b"]]
    assert top["room_type"] == "m.space"
    assert body["rooms"][1]["children_state"] == []


async def test_hierarchy_depth_and_suggestions(hs: Homeserver) -> None:
    """max_depth ends the walk, suggested_only keeps what is suggested."""
    alice = await hs.register("alice")
    made = await tree(alice)
    assert names(await alice.get(path_of(made["top"]), params={"max_depth": 0})) == ["top"]
    assert names(await alice.get(path_of(made["top"]), params={"max_depth": 1})) == ["top", "a", "sub", "b"]
    assert names(await alice.get(path_of(made["top"]), params={"suggested_only": True})) == ["top", "b"]


async def test_hierarchy_pages_keep_their_question(hs: Homeserver) -> None:
    """Pages go on where the former ended, and refuse another question."""
    alice = await hs.register("alice")
    made = await tree(alice)
    first = await alice.get(path_of(made["top"]), params={"limit": 2})
    assert names(first) == ["top", "a"]
    second = await alice.get(path_of(made["top"]), params={"limit": 3, "from": first["next_batch"]})
    assert names(second) == ["sub", "leaf", "b"]
    assert "next_batch" not in second
    for params in ({"max_depth": 1}, {"suggested_only": True}):
        await alice.get(path_of(made["top"]), "M_INVALID_PARAM", params={**params, "from": first["next_batch"]})
    await alice.get(path_of(made["top"]), "M_INVALID_PARAM", params={"from": "x"})


async def test_rooms_that_may_not_be_known_are_left_out(hs: Homeserver) -> None:
    """A private child is shown to its members only; a private space to nobody else; a removed child to nobody."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    space = await alice.create_room(name="space", preset="public_chat", **SPACE)
    private = await alice.create_room(name="private")
    knockable = await alice.create_room(
        name="knockable",
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}],
    )
    allow = [{"type": "m.room_membership", "room_id": space}]
    restricted = await alice.create_room(
        name="restricted",
        initial_state=[
            {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "restricted", "allow": allow}}
        ],
    )
    gone = await alice.create_room(name="gone", preset="public_chat")
    for child in (private, knockable, restricted, gone):
        await add(alice, space, child)
    await alice.set_state(space, "m.space.child", {}, gone)
    assert set(names(await alice.get(path_of(space)))) == {"space", "private", "knockable", "restricted"}
    assert set(names(await bob.get(path_of(space)))) == {"space", "knockable"}
    await bob.join(space)
    body = await bob.get(path_of(space))
    assert set(names(body)) == {"space", "knockable", "restricted"}
    entry = next(room for room in body["rooms"] if room["name"] == "restricted")
    assert entry["allowed_room_ids"] == [space]
    await bob.get(path_of(private), "M_FORBIDDEN")
    await bob.get(path_of("!nowhere:localhost"), "M_FORBIDDEN")


async def test_space_is_closed_to_the_banned(hs: Homeserver) -> None:
    """Though anybody else could join it; to forget the room does not help."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    space = await alice.create_room(name="space", preset="public_chat", **SPACE)
    assert names(await bob.get(path_of(space))) == ["space"]
    await bob.join(space)
    await alice.post(f"/rooms/{space}/ban", {"user_id": bob.user_id})
    await bob.get(path_of(space), "M_FORBIDDEN")
    await bob.post(f"/rooms/{space}/forget", {})
    await bob.get(path_of(space), "M_FORBIDDEN")
