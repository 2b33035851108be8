"""What a client may not set although the rules would allow it."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.ids import RoomAlias
from conduit.service.actions.content_checks import MAX_ELSEWHERE
from conduit.service.rooms import aliases
from tests.support.client import segment
from tests.support.federation import network
from tests.support.homeserver import Homeserver
from tests.support.people import person


@pytest.mark.parametrize(
    ("content", "errcode"),
    [
        ({"alias": "#missing:localhost"}, "M_BAD_ALIAS"),
        ({"alias": "#other:localhost"}, "M_BAD_ALIAS"),
        ({"alias": "#lobby:elsewhere.org"}, "M_BAD_ALIAS"),
        ({"alias": "%lobby:localhost"}, "M_INVALID_PARAM"),
        ({"alias": "#lobby:localhost", "alt_aliases": ["#missing:localhost"]}, "M_BAD_ALIAS"),
        ({"alias": "#lobby:localhost", "alt_aliases": ["lobby"]}, "M_INVALID_PARAM"),
        ({"alt_aliases": "#lobby:localhost"}, "M_BAD_JSON"),
        ({"alt_aliases": [5]}, "M_BAD_JSON"),
        ({"alias": ["#lobby:localhost"]}, "M_BAD_JSON"),
    ],
)
async def test_canonical_alias_must_point_to_the_room(hs: Homeserver, content: dict[str, Any], errcode: str) -> None:
    """Aliases that lead elsewhere, or nowhere, or are none, cannot be made canonical."""
    alice = await person(hs)
    await alice.create_room(room_alias_name="other")
    room_id = await alice.create_room(room_alias_name="lobby")
    await alice.set_state(room_id, "m.room.canonical_alias", content, expect=errcode)


@pytest.mark.parametrize(
    "content",
    [{}, {"alias": None}, {"alias": ""}, {"alias": "#lobby:localhost", "alt_aliases": ["#lobby:localhost"]}],
)
async def test_canonical_alias_that_is_right_or_absent_is_taken(hs: Homeserver, content: dict[str, Any]) -> None:
    """A room may have none, or its own."""
    alice = await person(hs)
    room_id = await alice.create_room(room_alias_name="lobby")
    await alice.set_state(room_id, "m.room.canonical_alias", content)


async def test_canonical_alias_that_stands_there_already_is_not_checked_again(hs: Homeserver) -> None:
    """An alias that has drifted away since may stay when others are added."""
    alice = await person(hs)
    room_id = await alice.create_room(room_alias_name="lobby")
    await alice.set_state(room_id, "org.example", {})

    with hs.ctx.db.batch() as batch:
        aliases.remove(batch, RoomAlias("#lobby:localhost"))
    await alice.put("/directory/room/%23hall:localhost", {"room_id": room_id})
    content = {"alias": "#lobby:localhost", "alt_aliases": ["#hall:localhost"]}
    await alice.set_state(room_id, "m.room.canonical_alias", content)


@pytest.mark.parametrize("content", [{}, {"allow": ["elsewhere.org"]}, {"deny": ["*.evil.org"]}])
async def test_access_list_that_shuts_out_this_server_is_refused(hs: Homeserver, content: dict[str, Any]) -> None:
    """Nobody locks their own server out by forgetting to let it in; who denies it in so many words may."""
    alice = await person(hs)
    room_id = await alice.create_room()
    await alice.set_state(room_id, "m.room.server_acl", content, expect="M_UNKNOWN")
    for denied in ("*.evil.org", "local*"):
        await alice.set_state(room_id, "m.room.server_acl", {"allow": ["*"], "deny": [denied]})


async def test_access_list_of_hostile_globs_costs_little(hs: Homeserver) -> None:
    """Globs made to blow up a regular expression are answered at once."""
    alice = await person(hs)
    room_id = await alice.create_room()
    content = {"allow": ["*"], "deny": ["*a" * 500 + "b", "?*" * 500 + "x"]}
    await alice.set_state(room_id, "m.room.server_acl", content)


async def test_alias_of_another_server_is_looked_up_there() -> None:
    """It may be made canonical if its server says that it points to the room."""
    async with network("one.test", "two.test") as (one, two):
        alice, bob = await person(one), await person(two, "bob")
        room_id = await alice.create_room(preset="public_chat")
        await bob.post(f"/join/{segment(room_id)}?via=one.test")
        await bob.put("/directory/room/%23here:two.test", {"room_id": room_id})
        await bob.create_room(room_alias_name="other")
        await alice.set_state(room_id, "m.room.canonical_alias", {"alt_aliases": ["#here:two.test"]})
        for wrong in ("#other:two.test", "#missing:two.test", "#here:nowhere.test"):
            content = {"alt_aliases": ["#here:two.test", wrong]}
            await alice.set_state(room_id, "m.room.canonical_alias", content, expect="M_BAD_ALIAS")
        many = {"alt_aliases": [f"#{number}:two.test" for number in range(MAX_ELSEWHERE + 1)]}
        await alice.set_state(room_id, "m.room.canonical_alias", many, expect="M_BAD_ALIAS")
