"""Joining rooms of other servers."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.database import trees
from conduit.protocol.ids import RoomId, UserId
from conduit.protocol.pdu import seal
from conduit.service.actions import resident_join
from conduit.service.events import intents, recover
from conduit.service.rooms import members, partial, state, timeline
from tests.support.federation import Incoming, Network, network
from tests.support.outgoing import until
from tests.support.scripted_room import ScriptedRoom

ALL = ("1", "2", "3", "5", "6", "9", "10", "11", "12")


def asked(net: Network, server: str, act: str) -> int:
    """Count the requests for `act` that a server was sent."""
    pairs = zip(net.board.requests, net.board.deliveries, strict=True)
    return sum(f"/{act}/" in request.path and name == server for request, name in pairs)


@pytest.mark.parametrize("version", ALL)
async def test_join_through_another_server_shows_the_room(version: str) -> None:
    """A user joins a room of another server in any room version, sees its state, and may speak."""
    async with network("one.test", "two.test", allow_unstable_room_versions=True) as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        room = await alice.create_room(preset="public_chat", name="Lobby", room_version=version)
        assert await bob.post(f"/join/{room}?via=one.test", {}) == {"room_id": room}
        joined = await bob.get(f"/rooms/{room}/joined_members")
        assert set(joined["joined"]) == {alice.user_id, bob.user_id}
        assert await bob.state(room, "m.room.name") == {"name": "Lobby"}
        assert room in (await bob.sync())["rooms"]["join"]
        await bob.send(room, "hello")
        one, two = net["one.test"].ctx.db, net["two.test"].ctx.db
        assert partial.find(two, RoomId(room)) is None
        assert state.current_id(one, RoomId(room), "m.room.member", bob.user_id) == state.current_id(
            two, RoomId(room), "m.room.member", bob.user_id
        )
        assert list(intents.all_of(two)) == []


async def test_join_by_alias_of_another_server() -> None:
    """The alias is resolved by its server, which also names whom to ask."""
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        room = await alice.create_room(preset="public_chat", room_alias_name="lobby")
        assert await bob.post("/join/%23lobby:one.test", {}) == {"room_id": room}


async def test_join_without_a_server_to_ask_is_not_found() -> None:
    """Nobody is known to be in the room."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        await bob.post("/join/!room:two.test", {}, expect="M_NOT_FOUND")
        await bob.post("/join/!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", {}, expect="M_NOT_FOUND")


async def test_join_tries_servers_in_turn() -> None:
    """A dead server and one that does not know the room do not keep the user out."""
    async with network("one.test", "two.test", "three.test") as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        room = await alice.create_room(preset="public_chat")
        await bob.post(f"/join/{room}?server_name=dead.test&server_name=three.test&server_name=one.test", {})
        assert asked(net, "three.test", "make_join") == 1


async def test_join_refused_everywhere_says_the_most_telling_reason() -> None:
    """A prohibition weighs more than a server that does not know the room, and than one that does not answer."""
    async with network("one.test", "two.test", "three.test") as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        room = await alice.create_room(preset="private_chat")
        await bob.post(f"/join/{room}?via=dead.test&via=three.test&via=one.test", {}, expect="M_FORBIDDEN")
        await bob.post(f"/join/{room}?via=dead.test&via=one.test", {}, expect=403)
        net.board.down("one.test")
        await bob.post(f"/join/{room}?via=dead.test&via=one.test", {}, expect=502)
        assert members.membership(net["two.test"].ctx.db, RoomId(room), UserId(bob.user_id)) is None


async def test_join_of_a_room_version_that_is_not_spoken_says_which() -> None:
    """Both ways in which a server may tell an unknown version come to the client as one error."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        far = net.peer("far.test")
        refusal = {"errcode": "M_INCOMPATIBLE_ROOM_VERSION", "error": "no", "room_version": "99"}
        far.on("GET", r".*/make_join/.*", (400, refusal))
        answer = await bob.post("/join/!room:far.test", {}, expect="M_INCOMPATIBLE_ROOM_VERSION")
        assert answer["room_version"] == "99"
        far.on("GET", r".*/make_join/.*", {"room_version": "98", "event": {}})
        answer = await bob.post("/join/!room:far.test", {}, expect="M_INCOMPATIBLE_ROOM_VERSION")
        assert answer["room_version"] == "98"


@pytest.mark.parametrize(
    "change",
    [
        {"type": "m.room.power_levels"},
        {"room_id": "!other:far.test"},
        {"sender": "@carol:two.test"},
        {"state_key": "@carol:two.test"},
        {"content": {"membership": "ban"}},
        {"content": []},
        {"prev_events": "none"},
        {"prev_events": [7]},
        {"auth_events": ["$x"] * 11},
        {"auth_events": {}},
    ],
)
async def test_advisory_01_template_for_anything_else_is_not_signed(change: dict[str, Any]) -> None:
    """A hostile server that answers with another event gets no signature of ours on it."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        room = ScriptedRoom(net.peer("far.test"))
        room.serve()
        template = room.template("join", bob.user_id)
        template["event"].update(change)
        room.peer.on("GET", r".*/make_join/.*", template)
        await bob.post(f"/join/{room.room_id}", {}, expect=502)
        assert room.joins == []
        assert list(intents.all_of(net["two.test"].ctx.db)) == []


async def test_advisory_01_of_a_template_only_the_place_is_taken() -> None:
    """Whatever else a template holds does not come into the event that is signed."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        room = ScriptedRoom(net.peer("far.test"))
        room.serve()
        template = room.template("join", bob.user_id)
        template["event"].update({"origin_server_ts": 1, "redacts": "$x", "unsigned": {"a": 1}, "evil": True})
        template["event"]["content"].update({"displayname": "Mallory", "evil": True})
        room.peer.on("GET", r".*/make_join/.*", template)
        await bob.post(f"/join/{room.room_id}", {})
        [join] = room.joins
        assert join["content"] == {"membership": "join", "displayname": "bob"}
        assert not {"redacts", "unsigned", "evil"} & join.keys()
        assert join["origin_server_ts"] > 1


async def test_join_into_a_closed_room_fails_by_our_own_check() -> None:
    """A server that lets in whom the room's state does not is not believed."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        for options in ({"join_rule": "invite"}, {"m.federate": False}):
            room = ScriptedRoom(net.peer("far.test"), **options)
            room.serve()
            await bob.post(f"/join/{room.room_id}", {}, expect=502)
            assert not state.exists(net["two.test"].ctx.db, RoomId(room.room_id))


@pytest.mark.parametrize("fault", ["no create", "other create", "no json", "no list", "other version", "forged"])
async def test_answer_without_a_sound_create_event_is_refused_and_the_join_taken_back(fault: str) -> None:
    """Nothing of the room is shown, and the other server hears that the user is not in it."""
    async with network("two.test") as net:
        hs = net["two.test"]
        bob = await hs.register("bob")
        room = ScriptedRoom(net.peer("far.test"))
        room.serve()
        answer = room.answer()
        if fault == "no create":
            answer["state"] = [pdu for pdu in answer["state"] if pdu["type"] != "m.room.create"]
        elif fault == "other create":
            answer["state"].append(room.build("m.room.create", {"creator": "@a:b"}, state_key="", prev=[]).pdu)
        elif fault == "no list":
            answer["state"] = {}
        elif fault == "other version":
            answer["state"][0]["content"]["room_version"] = "9"
        elif fault == "forged":
            for pdu in answer["state"]:
                pdu["signatures"] = {"far.test": {"ed25519:peer": "A" * 86}}
        room.peer.on("PUT", r".*/send_join/.*", [] if fault == "no json" else answer)
        await bob.post(f"/join/{room.room_id}", {}, expect=502)
        assert not state.exists(hs.ctx.db, RoomId(room.room_id))
        assert "join" not in (await bob.sync()).get("rooms", {})
        await until(lambda: bool(room.leaves))
        assert room.leaves[0]["content"]["membership"] == "leave"
        await until(lambda: not list(intents.all_of(hs.ctx.db)))


async def test_advisory_08_rejected_events_are_no_part_of_the_state() -> None:
    """State that the rules refuse, and what builds on it, is left out; the rest of the room stands."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        room = ScriptedRoom(net.peer("far.test"))
        mallory = "@mallory:far.test"
        joined = room.member(mallory)
        levels = room.build("m.room.power_levels", {"users": {mallory: 100}}, state_key="", sender=mallory)
        auth = [room.state["m.room.create", ""], levels, joined]
        topic = room.build("m.room.topic", {"topic": "mine"}, state_key="", sender=mallory, auth=auth)
        room.serve()
        answer = room.answer()
        kept = [pdu for pdu in answer["state"] if pdu["type"] != "m.room.power_levels"]
        answer["state"] = [*kept, levels.pdu, topic.pdu]
        room.peer.on("PUT", r".*/send_join/.*", answer)
        await bob.post(f"/join/{room.room_id}", {})
        await bob.state(room.room_id, "m.room.topic", expect=404)
        await bob.state(room.room_id, "m.room.power_levels", expect=404)
        assert timeline.event(net["two.test"].ctx.db, topic.event_id) is None


async def test_advisory_07_events_with_odd_values_are_dropped() -> None:
    """One event of an odd shape in the answer does not keep the user out, and is not taken in."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        room = ScriptedRoom(net.peer("far.test"))
        room.serve()
        answer = room.answer()
        odd = room.build("m.room.topic", {"topic": "odd"}, state_key="").pdu
        answer["state"] += [{**odd, "depth": -1}, {**odd, "origin_server_ts": 1.5}, {**odd, "content": 7}, 7, None, {}]
        room.peer.on("PUT", r".*/send_join/.*", answer)
        await bob.post(f"/join/{room.room_id}", {})
        await bob.state(room.room_id, "m.room.topic", expect=404)


async def test_advisory_02_events_of_other_rooms_in_the_answer_are_dropped() -> None:
    """State of another room does not become state of this one."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        room = ScriptedRoom(net.peer("far.test"))
        room.serve()
        answer = room.answer()
        room.room_id, here = "!other:far.test", room.room_id
        answer["state"].append(room.build("m.room.topic", {"topic": "elsewhere"}, state_key="").pdu)
        room.room_id = here
        room.peer.on("PUT", r".*/send_join/.*", answer)
        await bob.post(f"/join/{room.room_id}", {})
        await bob.state(room.room_id, "m.room.topic", expect=404)


@pytest.mark.parametrize("body", [{"errcode": "M_UNRECOGNIZED", "error": ""}, {}])
async def test_join_falls_back_to_the_first_version_of_send_join(body: Any) -> None:
    """An old server wraps its answer in an array; an older one has no error code for an endpoint that it does not know."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        room = ScriptedRoom(net.peer("far.test"), "1")
        room.serve()
        answer = room.answer()
        room.peer.on("PUT", r".*/v2/send_join/.*", (404, body))
        room.peer.on("PUT", r".*/v1/send_join/.*", [200, answer])
        await bob.post(f"/join/{room.room_id}", {})
        await bob.send(room.room_id, "hello")


async def test_lost_answer_is_followed_by_a_leave() -> None:
    """Nobody knows whether the join was taken; so it is taken back, and the user may try again."""
    async with network("two.test") as net:
        hs = net["two.test"]
        bob = await hs.register("bob")
        room = ScriptedRoom(net.peer("far.test"))
        room.serve()

        def lose(incoming: Incoming) -> Any:
            return 500, {}

        room.peer.on("PUT", r".*/send_join/.*", lose)
        await bob.post(f"/join/{room.room_id}", {}, expect=502)
        await until(lambda: bool(room.leaves))
        room.serve()
        await bob.post(f"/join/{room.room_id}", {})
        assert list(intents.all_of(hs.ctx.db)) == []


async def test_join_under_way_at_a_crash_is_completed_at_the_start() -> None:
    """The signed join had left; the same is sent again, and the room is there."""
    async with network("two.test") as net:
        hs = net["two.test"]
        bob = await hs.register("bob")
        room = ScriptedRoom(net.peer("far.test"))
        room.serve()
        ctx = hs.ctx
        draft = room.build("m.room.member", {"membership": "join"}, state_key=bob.user_id, sender=bob.user_id)
        event = seal(dict(draft.pdu, signatures={}), room.version, "two.test", ctx.signing_key)
        intent = intents.Intent(event.room_id, UserId(bob.user_id), "join", "far.test", event)  # type: ignore[arg-type]
        with ctx.db.batch() as batch:
            intents.begin(batch, intent)
        task = hs.start(recover.run(ctx))
        await until(lambda: members.is_joined(ctx.db, event.room_id, UserId(bob.user_id)))
        assert not task.done()
        await bob.send(room.room_id, "hello")
        assert list(intents.all_of(ctx.db)) == []


async def test_join_again_after_everybody_here_had_left_goes_through_the_room() -> None:
    """What was known of the room is old: the new state counts, and /sync shows it."""
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        room = await alice.create_room(preset="public_chat", topic="old")
        await bob.post(f"/join/{room}?via=one.test", {})
        first = (await bob.sync())["next_batch"]
        await bob.leave(room)
        await until(lambda: not members.is_joined(net["one.test"].ctx.db, RoomId(room), UserId(bob.user_id)))
        net.board.split(["one.test"], ["two.test"])
        await alice.set_state(room, "m.room.topic", {"topic": "new"})
        net.board.heal()
        await bob.join(room)
        assert await bob.state(room, "m.room.topic") == {"topic": "new"}
        assert asked(net, "one.test", "send_join") == 2
        assert room in (await bob.sync(first))["rooms"]["join"]
        await bob.send(room, "back again")


async def test_second_user_of_a_server_joins_here() -> None:
    """Once the server is in the room nobody else is asked."""
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        carol = await net["two.test"].register("carol")
        room = await alice.create_room(preset="public_chat")
        await bob.post(f"/join/{room}?via=one.test", {})
        await carol.post(f"/join/{room}?via=one.test", {})
        assert asked(net, "one.test", "make_join") == 1


async def test_guests_do_not_join_rooms_of_other_servers() -> None:
    """Whether the room takes guests is not known before."""
    async with network("two.test", allow_guest_registration=True) as net:
        hs = net["two.test"]
        answer = await hs.client().post("/register?kind=guest", {})
        guest = hs.client(answer["access_token"])
        await guest.post("/join/!room:far.test", {}, expect="M_GUEST_ACCESS_FORBIDDEN")


async def test_restricted_room_is_joined_by_the_word_of_its_server() -> None:
    """The resident server vouches for who is in the room that the condition names, and signs."""
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        lobby = await alice.create_room(preset="public_chat")
        rules = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": lobby}]}
        closed = await alice.create_room(
            preset="private_chat", initial_state=[{"type": "m.room.join_rules", "content": rules}]
        )
        await bob.post(f"/join/{closed}?via=one.test", {}, expect="M_FORBIDDEN")
        await bob.post(f"/join/{lobby}?via=one.test", {})
        await bob.post(f"/join/{closed}?via=one.test", {})
        own = state.current(net["two.test"].ctx.db, RoomId(closed), "m.room.member", bob.user_id)
        assert own is not None
        assert own.content["join_authorised_via_users_server"] == alice.user_id
        assert "one.test" in own.pdu["signatures"]


async def test_restricted_room_is_joined_though_the_voucher_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resident server may leave all memberships out of the state of a named room; the one that counts is in the auth chain."""
    monkeypatch.setattr(resident_join, "_heroes", lambda *_: [])
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        lobby = await alice.create_room(preset="public_chat")
        rules = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": lobby}]}
        closed = await alice.create_room(initial_state=[{"type": "m.room.join_rules", "content": rules}])
        await bob.post(f"/join/{lobby}?via=one.test", {})
        await bob.post(f"/join/{closed}?via=one.test", {})
        assert members.is_joined(net["two.test"].ctx.db, RoomId(closed), UserId(bob.user_id))


async def test_restricted_room_that_nobody_here_may_open_is_joined_through_another_server() -> None:
    """The server is in the room, but only a user elsewhere may let others in."""
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        carol = await net["two.test"].register("carol")
        lobby = await alice.create_room(preset="public_chat")
        rules = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": lobby}]}
        closed = await alice.create_room(
            preset="private_chat",
            initial_state=[{"type": "m.room.join_rules", "content": rules}],
            power_level_content_override={"invite": 50},
        )
        for user in (bob, carol):
            await user.post(f"/join/{lobby}?via=one.test", {})
            await user.post(f"/join/{closed}?via=one.test", {})
        assert asked(net, "one.test", "send_join") == 3
        assert members.is_joined(net["two.test"].ctx.db, RoomId(closed), UserId(carol.user_id))
        assert list(intents.all_of(net["two.test"].ctx.db)) == []


async def test_blocked_room_is_not_joined() -> None:
    """What the administrators have closed stays closed."""
    async with network("two.test") as net:
        bob = await net["two.test"].register("bob")
        with net["two.test"].ctx.db.batch() as batch:
            trees.disabledroomids.put(batch, "!room:far.test", True)
        await bob.post("/join/!room:far.test", {}, expect="M_FORBIDDEN")
