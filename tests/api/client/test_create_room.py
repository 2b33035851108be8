"""POST /createRoom: what a client may ask for, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.ids import RoomId
from conduit.service.rooms import timeline
from tests.support.homeserver import Homeserver, serve
from tests.support.people import admin, people, person


def types_of(hs: Homeserver, room_id: str) -> list[str]:
    """Return the types of a room's events in the order of its timeline."""
    return [event.type for _, event in timeline.scan(hs.ctx.db, RoomId(room_id))]


@pytest.mark.parametrize("version", [str(number) for number in range(1, 13)])
async def test_create_every_version_gives_a_room_of_it(hs: Homeserver, version: str) -> None:
    """Every room version can be asked for, and its creator is in the room."""
    alice = await person(hs)
    room_id = await alice.create_room(room_version=version)
    create = await alice.state(room_id, "m.room.create")
    assert create["room_version"] == version
    assert create.get("creator") == (alice.user_id if int(version) <= 10 else None)
    assert (await alice.state(room_id, "m.room.member", alice.user_id))["membership"] == "join"
    assert (":" in room_id) is (version != "12")


async def test_create_sends_the_events_in_the_prescribed_order(hs: Homeserver) -> None:
    """Create, join, levels, alias, preset, initial state, name and topic, invites."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(
        room_alias_name="lobby",
        name="Lobby",
        topic="All about happy hour",
        invite=[bob.user_id],
        initial_state=[{"type": "org.example.one", "content": {"n": 1}}],
    )
    assert types_of(hs, room_id) == [
        "m.room.create",
        "m.room.member",
        "m.room.power_levels",
        "m.room.canonical_alias",
        "m.room.join_rules",
        "m.room.history_visibility",
        "m.room.guest_access",
        "org.example.one",
        "m.room.name",
        "m.room.topic",
        "m.room.member",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("invite", "shared", "can_join")),
        ({"visibility": "public"}, ("public", "shared", "forbidden")),
        ({"preset": "private_chat", "visibility": "public"}, ("invite", "shared", "can_join")),
        ({"preset": "trusted_private_chat"}, ("invite", "shared", "can_join")),
        ({"preset": "public_chat"}, ("public", "shared", "forbidden")),
    ],
)
async def test_create_preset_sets_access(
    hs: Homeserver, options: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    """The preset, or the visibility in its place, sets join rule, history visibility and guest access."""
    alice = await person(hs)
    room_id = await alice.create_room(**options)
    assert (await alice.state(room_id, "m.room.join_rules"))["join_rule"] == expected[0]
    assert (await alice.state(room_id, "m.room.history_visibility"))["history_visibility"] == expected[1]
    assert (await alice.state(room_id, "m.room.guest_access"))["guest_access"] == expected[2]
    listed = await alice.get(f"/directory/list/room/{room_id}")
    assert listed == {"visibility": options.get("visibility", "private")}


async def test_create_topic_is_a_content_block_too(hs: Homeserver) -> None:
    """The topic is there as plain text and as text content block."""
    alice = await person(hs)
    room_id = await alice.create_room(topic="Cheese")
    assert await alice.state(room_id, "m.room.topic") == {
        "topic": "Cheese",
        "m.topic": {"m.text": [{"body": "Cheese"}]},
    }


async def test_create_parameters_override_initial_state_which_overrides_the_preset(hs: Homeserver) -> None:
    """`name` wins over a name in `initial_state`, which wins over what the preset sets."""
    alice = await person(hs)
    room_id = await alice.create_room(
        preset="private_chat",
        name="Right",
        initial_state=[
            {"type": "m.room.name", "state_key": "", "content": {"name": "Wrong"}},
            {"type": "m.room.join_rules", "content": {"join_rule": "knock"}},
        ],
    )
    assert await alice.state(room_id, "m.room.name") == {"name": "Right"}
    assert await alice.state(room_id, "m.room.join_rules") == {"join_rule": "knock"}
    assert types_of(hs, room_id).count("m.room.join_rules") == 1


async def test_create_power_level_override_replaces_whole_keys(hs: Homeserver) -> None:
    """The override lies on top of the generated levels."""
    alice = await person(hs)
    override = {"events": {"m.room.name": 7}, "invite": 33}
    levels = await alice.state(
        await alice.create_room(room_version="11", power_level_content_override=override), "m.room.power_levels"
    )
    assert levels["events"] == {"m.room.name": 7}
    assert levels["invite"] == 33
    assert levels["users"] == {alice.user_id: 100}


async def test_create_trusted_chat_gives_invitees_the_creators_power(hs: Homeserver) -> None:
    """All invitees of a trusted chat have the level of its creator."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="trusted_private_chat", invite=[bob.user_id], room_version="11")
    levels = await alice.state(room_id, "m.room.power_levels")
    assert levels["users"] == {alice.user_id: 100, bob.user_id: 100}


async def test_create_trusted_chat_of_version_12_makes_invitees_creators(hs: Homeserver) -> None:
    """From version 12 on the invitees of a trusted chat join the additional creators, each once."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(
        preset="trusted_private_chat",
        room_version="12",
        invite=[bob.user_id],
        creation_content={"additional_creators": ["@carol:localhost", bob.user_id]},
    )
    create = await alice.state(room_id, "m.room.create")
    assert create["additional_creators"] == ["@carol:localhost", bob.user_id]
    levels = await alice.state(room_id, "m.room.power_levels")
    assert levels["users"] == {}
    assert levels["events"]["m.room.tombstone"] > levels["state_default"]


async def test_create_direct_chat_marks_the_invite(hs: Homeserver) -> None:
    """`is_direct` reaches the invited user's member event, and only that."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(is_direct=True, invite=[bob.user_id])
    assert (await alice.state(room_id, "m.room.member", bob.user_id))["is_direct"] is True
    assert "is_direct" not in await alice.state(room_id, "m.room.member", alice.user_id)


async def test_create_content_keeps_further_keys_but_not_the_servers(hs: Homeserver) -> None:
    """`creation_content` is taken over, except for the keys that the server sets itself."""
    alice = await person(hs)
    content = {"m.federate": False, "type": "m.space", "room_version": "1", "creator": "@x:y", "org.example": 1}
    create = await alice.state(await alice.create_room(room_version="11", creation_content=content), "m.room.create")
    assert create == {"m.federate": False, "type": "m.space", "room_version": "11", "org.example": 1}


async def test_create_twice_in_a_millisecond_gives_two_rooms(hs: Homeserver) -> None:
    """Equal requests at the same time are two rooms, also where the id is the hash of the create event."""
    alice = await person(hs)
    rooms = {await alice.create_room(room_version="12") for _ in range(5)}
    assert len(rooms) == 5
    assert set((await alice.get("/joined_rooms"))["joined_rooms"]) == rooms


async def test_create_taken_alias_makes_no_room(hs: Homeserver) -> None:
    """A taken alias is M_ROOM_IN_USE, and nothing has been made."""
    alice = await person(hs)
    await alice.create_room(room_alias_name="lobby")
    await alice.create_room(room_alias_name="lobby", expect="M_ROOM_IN_USE")
    assert len((await alice.get("/joined_rooms"))["joined_rooms"]) == 1


BAD_JSON: list[dict[str, Any]] = [
    {"room_version": 1},
    {"room_version": {}},
    {"visibility": 1},
    {"preset": []},
    {"name": 5},
    {"topic": {}},
    {"invite": "@bob:localhost"},
    {"invite": [5]},
    {"invite": {"a": 1}},
    {"is_direct": "yes"},
    {"creation_content": []},
    {"creation_content": {"type": 5}},
    {"creation_content": {"m.federate": "no"}},
    {"creation_content": {"predecessor": "!a:b"}},
    {"creation_content": {"additional_creators": "@a:b"}},
    {"creation_content": {"additional_creators": ["nobody"]}},
    {"creation_content": {"x": 1.5}},
    {"initial_state": {}},
    {"initial_state": ["x"]},
    {"initial_state": [{"type": 5, "content": {}}]},
    {"initial_state": [{"type": "a", "state_key": 5, "content": {}}]},
    {"initial_state": [{"type": "a", "content": "x"}]},
    {"initial_state": [{"type": "a", "content": {"x": 1e30}}]},
    {"power_level_content_override": []},
    {"power_level_content_override": {"users": []}},
    {"power_level_content_override": {"users": {"nobody": 5}}},
    {"power_level_content_override": {"users": {"@a:b": "high"}}},
    {"power_level_content_override": {"events": {"m.room.name": None}}},
    {"power_level_content_override": {"ban": "50"}},
    {"invite_3pid": "x"},
    {"invite_3pid": [5]},
]


async def test_create_wrong_types_are_refused_and_make_nothing(hs: Homeserver) -> None:
    """Every parameter of a wrong type is M_BAD_JSON, and no room comes of it."""
    alice = await person(hs)
    for body in BAD_JSON:
        await alice.post("/createRoom", body, "M_BAD_JSON")
    assert (await alice.get("/joined_rooms"))["joined_rooms"] == []


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"room_version": "99"}, "M_UNSUPPORTED_ROOM_VERSION"),
        ({"visibility": "secret"}, "M_INVALID_PARAM"),
        ({"preset": "secret"}, "M_INVALID_PARAM"),
        ({"room_alias_name": "a:b"}, "M_INVALID_PARAM"),
        ({"room_alias_name": "a b"}, "M_INVALID_PARAM"),
        ({"room_alias_name": "a\x00"}, "M_INVALID_PARAM"),
        ({"room_alias_name": "a" * 300}, "M_INVALID_PARAM"),
        ({"invite": ["bob"]}, "M_INVALID_PARAM"),
        ({"invite": ["@" + "b" * 300 + ":localhost"]}, "M_INVALID_PARAM"),
        ({"initial_state": [{"content": {}}]}, "M_MISSING_PARAM"),
        ({"initial_state": [{"type": "a"}]}, "M_MISSING_PARAM"),
        ({"initial_state": [{"type": "a" * 300, "content": {}}]}, "M_TOO_LARGE"),
        ({"initial_state": [{"type": "a", "content": {"x": "y" * 70_000}}]}, "M_TOO_LARGE"),
        ({"initial_state": [{"type": "m.room.create", "content": {}}]}, "M_INVALID_ROOM_STATE"),
        (
            {"initial_state": [{"type": "m.room.member", "state_key": "@a:b", "content": {"membership": "join"}}]},
            "M_INVALID_ROOM_STATE",
        ),
        ({"initial_state": [{"type": "a", "state_key": "@bob:localhost", "content": {}}]}, "M_INVALID_ROOM_STATE"),
        (
            {"initial_state": [{"type": "m.room.canonical_alias", "content": {"alias": "#other:localhost"}}]},
            "M_BAD_ALIAS",
        ),
        (
            {"room_version": "11", "power_level_content_override": {"users": {}}, "name": "x"},
            "M_INVALID_ROOM_STATE",
        ),
        (
            {"room_version": "12", "power_level_content_override": {"users": {"@alice:localhost": 100}}},
            "M_INVALID_ROOM_STATE",
        ),
        ({"invite_3pid": [{"medium": "email"}]}, "M_MISSING_PARAM"),
        (
            {"invite_3pid": [{"medium": "email", "address": "nobody", "id_server": "x.y", "id_access_token": "z"}]},
            "M_INVALID_PARAM",
        ),
        (
            {"invite_3pid": [{"medium": "email", "address": "a@b.c", "id_server": "x.y", "id_access_token": "z"}] * 51},
            "M_INVALID_PARAM",
        ),
        ({"invite": ["@bob:elsewhere.org"]}, "M_FORBIDDEN"),
        ({"invite": [f"@u{n}:localhost" for n in range(501)]}, "M_INVALID_ROOM_STATE"),
    ],
)
async def test_create_impossible_wish_is_refused_and_makes_nothing(
    hs: Homeserver, body: dict[str, Any], errcode: str
) -> None:
    """What cannot be has the fitting code; neither a room nor an alias comes of it."""
    alice = await person(hs)
    await alice.post("/createRoom", {"room_alias_name": "lobby", **body}, errcode)
    assert (await alice.get("/joined_rooms"))["joined_rooms"] == []
    await alice.get("/directory/room/%23lobby:localhost", "M_NOT_FOUND")


async def test_create_alias_may_stand_in_the_initial_state(hs: Homeserver) -> None:
    """A canonical alias event in the initial state may name the alias that the request makes."""
    alice = await person(hs)
    content = {"alias": "#lobby:localhost", "alt_aliases": ["#lobby:localhost"]}
    room_id = await alice.create_room(
        room_alias_name="lobby", initial_state=[{"type": "m.room.canonical_alias", "content": content}]
    )
    assert await alice.state(room_id, "m.room.canonical_alias") == content


async def test_create_without_token_is_refused(hs: Homeserver) -> None:
    """Nobody creates rooms without an account."""
    await hs.client().post("/createRoom", {}, "M_MISSING_TOKEN")


async def test_create_body_that_is_no_json_is_refused(hs: Homeserver) -> None:
    """The body must be a JSON object."""
    alice = await person(hs)
    await alice.request("POST", "/createRoom", None, "M_NOT_JSON", data=b"{")
    await alice.request("POST", "/createRoom", None, "M_BAD_JSON", data=b"[]")


async def test_create_where_only_administrators_may_is_refused_to_others() -> None:
    """With `allow_room_creation = false` an ordinary user is refused and an administrator is not."""
    async with serve(allow_room_creation=False) as hs:
        await (await admin(hs)).create_room()
        await (await person(hs)).create_room(expect="M_FORBIDDEN")


async def test_create_encrypted_room_where_encryption_is_off_is_made_without_it() -> None:
    """Where encryption is switched off it is left out of the initial state, as in Conduit."""
    async with serve(allow_encryption=False) as hs:
        alice = await person(hs)
        event = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
        room_id = await alice.create_room(initial_state=[event])
        await alice.state(room_id, "m.room.encryption", expect="M_NOT_FOUND")


async def test_create_old_version_where_these_are_switched_off_is_refused() -> None:
    """`allow_unstable_room_versions = false` bars versions 3 to 5."""
    async with serve(allow_unstable_room_versions=False, default_room_version="11") as hs:
        alice = await person(hs)
        await alice.create_room(room_version="4", expect="M_UNSUPPORTED_ROOM_VERSION")
        assert (await alice.state(await alice.create_room(), "m.room.create"))["room_version"] == "11"
