"""Invites by users of other servers."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.config.schema import RateLimits
from conduit.database import trees
from conduit.protocol.ids import RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import SUPPORTED
from conduit.service.outbound.errors import Unreachable
from conduit.service.rooms import members, state, timeline
from tests.support.client import segment
from tests.support.federation import Incoming, Network, network
from tests.support.foreign_room import ForeignRoom
from tests.support.guest import until
from tests.support.visitor import FEDERATION, Visitor

EVE = "@eve:peer.test"


@pytest.fixture
async def net() -> Any:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


def target_of(event: Event, form: str = "v2", room_id: str | None = None, event_id: str | None = None) -> str:
    """Return where an invite is sent to."""
    room, name = segment(room_id or event.room_id), segment(event_id or event.event_id)
    return f"{FEDERATION}/{form}/invite/{room}/{name}"


def body_of(room: ForeignRoom, event: Event, **changes: Any) -> dict[str, Any]:
    """Return the body of an invite."""
    return {"room_version": room.version.id, "event": event.pdu, "invite_room_state": room.told(), **changes}


def invite_to(room: ForeignRoom, user_id: str, **more: Any) -> Event:
    """Return an invite of a user, which is not yet in the room."""
    return room.build("m.room.member", {"membership": "invite"}, key=user_id, **more)


async def invited(user: Any) -> dict[str, Any]:
    """Return the invites that a user sees."""
    found: dict[str, Any] = (await user.sync()).get("rooms", {}).get("invite", {})
    return found


@pytest.mark.parametrize("version", SUPPORTED)
async def test_invite_is_signed_back_and_shown_to_the_user(net: Network, version: str) -> None:
    """In every room version, with what came along of the room and the invite itself last."""
    alice = await net["one.test"].register("alice")
    peer = net.peer("peer.test")
    room = ForeignRoom(peer, EVE, version=version)
    event = invite_to(room, alice.user_id)
    answer = await peer.put("one.test", target_of(event), body_of(room, event))
    signatures = answer["event"].pop("signatures")
    assert set(signatures) == {"one.test", "peer.test"}
    assert answer["event"] == {key: value for key, value in event.pdu.items() if key != "signatures"}
    shown = (await invited(alice))[room.id]["invite_state"]["events"]
    assert {"m.room.create", "m.room.name", "m.room.member"} <= {item["type"] for item in shown}
    assert shown[-1] == {
        "type": "m.room.member",
        "state_key": alice.user_id,
        "sender": EVE,
        "content": {"membership": "invite"},
    }
    keys = net["one.test"].ctx.outbound.keyring
    await keys.verify_json("one.test", {**_redacted(event), "signatures": signatures}, valid_at_ms=None)


def _redacted(event: Event) -> dict[str, Any]:
    return event.redacted().pdu


async def test_invite_in_the_first_form_is_answered_in_a_pair(net: Network) -> None:
    """Its room state lies in unsigned, and may have the four fields of stripped state only."""
    alice = await net["one.test"].register("alice")
    peer = net.peer("peer.test")
    room = ForeignRoom(peer, EVE, version="1")
    event = invite_to(room, alice.user_id)
    stripped = [{"type": "m.room.name", "state_key": "", "sender": EVE, "content": {"name": "There"}}]
    body = {**event.pdu, "unsigned": {"invite_room_state": stripped}}
    status, answer = await peer.put("one.test", target_of(event, "v1"), body)
    assert status == 200
    assert set(answer["event"]["signatures"]) == {"one.test", "peer.test"}
    assert [item["type"] for item in (await invited(alice))[room.id]["invite_state"]["events"]] == [
        "m.room.name",
        "m.room.member",
    ]


async def test_invite_wakes_the_user(net: Network) -> None:
    """A /sync that waits hears of it."""
    alice = await net["one.test"].register("alice")
    peer = net.peer("peer.test")
    room = ForeignRoom(peer, EVE)
    event = invite_to(room, alice.user_id)
    since = (await alice.sync())["next_batch"]
    poll = alice.start(alice.sync(since, timeout_ms=30_000))
    await peer.put("one.test", target_of(event), body_of(room, event))
    assert room.id in (await poll)["rooms"]["invite"]


async def test_invite_to_a_room_of_an_unknown_version_is_refused(net: Network) -> None:
    """M_INCOMPATIBLE_ROOM_VERSION, with the version."""
    alice = await net["one.test"].register("alice")
    peer = net.peer("peer.test")
    room = ForeignRoom(peer, EVE)
    event = invite_to(room, alice.user_id)
    refusal = await peer.put(
        "one.test", target_of(event), body_of(room, event, room_version="org.odd"), "M_INCOMPATIBLE_ROOM_VERSION"
    )
    assert refusal["room_version"] == "org.odd"


async def test_invite_of_somebody_else_is_refused(net: Network) -> None:
    """The invited user is of this server, exists, and is active."""
    server = net["one.test"]
    bob = await server.register("bob")
    await bob.post(
        "/account/deactivate",
        {
            "auth": {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": "bob"},
                "password": bob.password,
            }
        },
    )
    peer = net.peer("peer.test")
    room = ForeignRoom(peer, EVE)
    cases = (
        ("@x:elsewhere.test", "M_INVALID_PARAM"),
        ("@nobody:one.test", "M_FORBIDDEN"),
        (bob.user_id, "M_FORBIDDEN"),
    )
    for user_id, errcode in cases:
        event = invite_to(room, user_id)
        await peer.put("one.test", target_of(event), body_of(room, event), errcode)


async def test_invite_that_is_not_signed_by_its_senders_server_is_refused(net: Network) -> None:
    """Unsigned, wrongly signed, sent by another server: nothing is signed back or shown."""
    alice = await net["one.test"].register("alice")
    peer, mallory = net.peer("peer.test"), net.peer("mallory.test")
    room = ForeignRoom(peer, EVE)
    event = invite_to(room, alice.user_id)
    target = target_of(event)
    wrong: tuple[dict[str, Any], ...] = ({}, {"peer.test": {peer.key.key_id: "a" * 86}}, {"peer.test": {}})
    for signatures in wrong:
        spoilt = {**event.pdu, "signatures": signatures}
        await peer.put("one.test", target, {**body_of(room, event), "event": spoilt}, "M_FORBIDDEN")
    await mallory.put("one.test", target, body_of(room, event), "M_FORBIDDEN")
    forged = room.peer.event(
        room.version,
        kind="m.room.member",
        sender=EVE,
        content={"membership": "invite"},
        room_id=room.id,
        state_key=alice.user_id,
        key=mallory.key,
    )
    await peer.put("one.test", target_of(forged), body_of(room, forged), "M_FORBIDDEN")
    assert await invited(alice) == {}


async def test_advisory_02_invite_for_another_room_or_event_than_its_path_is_refused(net: Network) -> None:
    """The room and the event of the path must be those of the event."""
    alice = await net["one.test"].register("alice")
    peer = net.peer("peer.test")
    room = ForeignRoom(peer, EVE)
    event = invite_to(room, alice.user_id)
    body = body_of(room, event)
    await peer.put("one.test", target_of(event, room_id="!other:peer.test"), body, "M_INVALID_PARAM")
    await peer.put("one.test", target_of(event, event_id="$" + "b" * 43), body, "M_INVALID_PARAM")
    assert await invited(alice) == {}


async def test_what_is_no_invite_is_refused(net: Network) -> None:
    """Other types and memberships are not signed, nor is what canonical JSON cannot hold."""
    alice = await net["one.test"].register("alice")
    peer = net.peer("peer.test")
    room = ForeignRoom(peer, EVE)
    wrong = [
        (room.build("m.room.member", {"membership": "join"}, key=EVE), "M_INVALID_PARAM"),
        (room.build("m.room.member", {"membership": "ban"}, key=alice.user_id), "M_INVALID_PARAM"),
        (room.build("m.room.topic", {"membership": "invite"}, key=alice.user_id), "M_INVALID_PARAM"),
        (room.build("m.room.member", {"membership": "invite"}), "M_INVALID_PARAM"),
        (room.build("m.room.member", {"membership": "invite", "bad": 1.1}, key=alice.user_id), "M_BAD_JSON"),
    ]
    for event, errcode in wrong:
        await peer.put("one.test", target_of(event), body_of(room, event), errcode)
    assert await invited(alice) == {}


async def test_invite_with_a_wrong_content_hash_is_refused(net: Network) -> None:
    """What is signed back must be what is shown."""
    alice = await net["one.test"].register("alice")
    peer = net.peer("peer.test")
    room = ForeignRoom(peer, EVE)
    event = invite_to(room, alice.user_id)
    spoilt = {**event.pdu, "content": {"membership": "invite", "reason": "added later"}}
    await peer.put("one.test", target_of(event), {**body_of(room, event), "event": spoilt}, "M_INVALID_PARAM")


async def test_invite_is_refused_by_who_takes_none(net: Network) -> None:
    """M_INVITE_BLOCKED by the user's setting, M_FORBIDDEN from somebody ignored."""
    alice = await net["one.test"].register("alice")
    peer = net.peer("peer.test")
    room = ForeignRoom(peer, EVE, version="1")
    event = invite_to(room, alice.user_id)
    base = f"/user/{segment(alice.user_id)}/account_data"
    await alice.put(f"{base}/m.invite_permission_config", {"default_action": "block"})
    for form in ("v1", "v2"):
        body = body_of(room, event) if form == "v2" else event.pdu
        await peer.put("one.test", target_of(event, form), body, "M_INVITE_BLOCKED")
    await alice.put(f"{base}/m.invite_permission_config", {})
    await alice.put(f"{base}/m.ignored_user_list", {"ignored_users": {EVE: {}}})
    await peer.put("one.test", target_of(event), body_of(room, event), "M_FORBIDDEN")
    await alice.put(f"{base}/m.ignored_user_list", {"ignored_users": {}})
    await peer.put("one.test", target_of(event), body_of(room, event))


async def test_invite_to_a_blocked_room_is_refused(net: Network) -> None:
    """The administrator does not want the room here."""
    server = net["one.test"]
    alice = await server.register("alice")
    peer = net.peer("peer.test")
    room = ForeignRoom(peer, EVE)
    with server.ctx.db.batch() as batch:
        trees.disabledroomids.put(batch, room.id, True)
    event = invite_to(room, alice.user_id)
    await peer.put("one.test", target_of(event), body_of(room, event), "M_FORBIDDEN")
    assert await invited(alice) == {}


async def test_invite_to_a_room_of_version_12_must_tell_the_room_by_its_events(net: Network) -> None:
    """Stripped fields, a missing create event, one of another room, bad signatures: all refused."""
    alice = await net["one.test"].register("alice")
    peer = net.peer("peer.test")
    room, other = (
        ForeignRoom(peer, EVE, version="12"),
        ForeignRoom(peer, "@other:peer.test", version="12", name="Other"),
    )
    event = invite_to(room, alice.user_id)
    target = target_of(event)
    told = room.told()
    stripped = [{"type": "m.room.create", "state_key": "", "sender": EVE, "content": {"room_version": "12"}}]
    forged = {**told[0], "signatures": {"peer.test": {peer.key.key_id: "a" * 86}}}
    cases: list[list[Any]] = [
        [],
        told[1:],
        stripped,
        [*told, *stripped],
        other.told()[:1],
        [*told, other.told()[-1]],
        [forged, *told[1:]],
        [*told, 7],
    ]
    for room_state in cases:
        await peer.put("one.test", target, body_of(room, event, invite_room_state=room_state), "M_INVALID_PARAM")
    without = body_of(room, event)
    del without["invite_room_state"]
    await peer.put("one.test", target, without, "M_INVALID_PARAM")
    assert await invited(alice) == {}


async def test_advisory_11_invite_state_of_any_shape_does_not_break_the_users_sync(net: Network) -> None:
    """Older rooms: what is malformed, oversized or of another room is left out, and the rest is shown."""
    alice = await net["one.test"].register("alice")
    peer = net.peer("peer.test")
    room, other = ForeignRoom(peer, EVE), ForeignRoom(peer, EVE, name="Other")
    event = invite_to(room, alice.user_id)
    huge = {"type": "m.room.topic", "state_key": "", "sender": EVE, "content": {"topic": "x" * 70_000}}
    deep: Any = "x"
    for _ in range(150):
        deep = [deep]
    odd: list[Any] = [
        None,
        7,
        "text",
        [],
        {},
        {"type": 7},
        other.told()[-1],
        {"type": "m.room.name", "state_key": "", "sender": "nobody", "content": {}},
        {"type": "m.room.name", "state_key": "", "sender": EVE, "content": "x"},
        {"type": "m.room.name", "state_key": "", "sender": EVE, "content": {"name": deep}},
        {"type": "x" * 300, "state_key": "", "sender": EVE, "content": {}},
        {"type": "m.room.member", "state_key": alice.user_id, "sender": EVE, "content": {"membership": "join"}},
    ]
    await peer.put("one.test", target_of(event), body_of(room, event, invite_room_state=[*odd, *room.told(), huge] * 9))
    shown = (await invited(alice))[room.id]["invite_state"]["events"]
    assert len(shown) <= 65
    assert all(set(item) == {"type", "state_key", "sender", "content"} for item in shown)
    assert shown[-1]["content"] == {"membership": "invite"}
    assert {"name": "There"} in [item["content"] for item in shown]
    assert {"name": "Other"} not in [item["content"] for item in shown]


async def test_invite_to_a_room_that_this_server_is_in_goes_into_the_room(net: Network) -> None:
    """It is judged like every event: one that the rules refuse comes to nothing, signed or not; the other is in the room's state."""
    server = net["one.test"]
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    eve = Visitor(net.peer("peer.test"), "one.test")
    joined = await eve.join(room_id, EVE)
    kinds = {("m.room.power_levels", ""), ("m.room.create", ""), ("m.room.join_rules", "")}
    auth = [event for event in joined.state if (event.type, event.state_key) in kinds]

    def invite(sender_membership: list[Event]) -> Event:
        return eve.peer.event(
            joined.event.version,
            kind="m.room.member",
            sender=EVE,
            content={"membership": "invite"},
            room_id=room_id,
            state_key=bob.user_id,
            prev=[joined.event],
            auth=[*auth, *sender_membership],
        )

    def body(event: Event) -> dict[str, Any]:
        return {"room_version": joined.event.version.id, "event": event.pdu, "invite_room_state": []}

    refused = invite([])
    await eve.peer.put("one.test", target_of(refused), body(refused))
    assert await invited(bob) == {}
    await alice.state(room_id, "m.room.member", bob.user_id, expect="M_NOT_FOUND")
    levels = await alice.state(room_id, "m.room.power_levels")
    await alice.set_state(room_id, "m.room.power_levels", {**levels, "invite": 0})
    taken = await _invite_after_all(eve, room_id, bob.user_id)
    await eve.peer.put("one.test", target_of(taken), body(taken))
    assert (await alice.state(room_id, "m.room.member", bob.user_id))["membership"] == "invite"
    assert room_id in await invited(bob)


@pytest.mark.parametrize("told", ["1", "9"])
async def test_invite_to_a_known_room_by_another_version_is_refused(net: Network, told: str) -> None:
    """The version of a room that this server is in is not for others to say: an event that was read by other rules would stay in the room."""
    server = net["one.test"]
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat", room_version="10")
    levels = await alice.state(room_id, "m.room.power_levels")
    await alice.set_state(room_id, "m.room.power_levels", {**levels, "invite": 0})
    eve = Visitor(net.peer("peer.test"), "one.test")
    await eve.join(room_id, EVE)
    invite = await _invite_after_all(eve, room_id, bob.user_id)
    body = {"room_version": told, "event": invite.pdu, "invite_room_state": []}
    await eve.peer.put("one.test", target_of(invite), body, expect=400)
    await alice.state(room_id, "m.room.member", bob.user_id, expect="M_NOT_FOUND")


async def _invite_after_all(eve: Visitor, room_id: str, user_id: str) -> Event:
    """Return an invite by Eve that follows all that is in the room."""
    template = await eve.template("leave", room_id, EVE)
    pdu = {**template["event"], "state_key": user_id, "content": {"membership": "invite"}}
    return eve.seal({"room_version": template["room_version"], "event": pdu})


async def test_invite_after_a_leave_is_shown_again(net: Network) -> None:
    """Who has been in the room, which nobody here is in any more, can be invited to it again."""
    server = net["one.test"]
    alice = await server.register("alice")
    peer = net.peer("peer.test")
    room = ForeignRoom(peer, EVE)
    event = invite_to(room, alice.user_id)
    await peer.put("one.test", target_of(event), body_of(room, event))
    kick = room.build("m.room.member", {"membership": "leave"}, key=alice.user_id)
    await peer.send("one.test", [kick])
    again = room.build("m.room.member", {"membership": "invite", "reason": "sorry"}, key=alice.user_id)
    await peer.put("one.test", target_of(again), body_of(room, again))
    assert members.membership(server.ctx.db, RoomId(room.id), UserId(alice.user_id)) == "invite"
    assert room.id in await invited(alice)


async def test_invite_that_is_taken_back_vanishes(net: Network) -> None:
    """The inviting server kicks the invited user, from a room of which nothing is known here: the invite is gone, and the room is left."""
    server = net["one.test"]
    alice = await server.register("alice")
    peer = net.peer("peer.test")
    room = ForeignRoom(peer, EVE)
    event = invite_to(room, alice.user_id)
    await peer.put("one.test", target_of(event), body_of(room, event))
    since = (await alice.sync())["next_batch"]
    await peer.send("one.test", [room.build("m.room.member", {"membership": "leave"}, key=alice.user_id)])
    assert members.membership(server.ctx.db, RoomId(room.id), UserId(alice.user_id)) == "leave"
    assert await invited(alice) == {}
    [shown] = (await alice.sync(since))["rooms"]["leave"][room.id]["timeline"]["events"]
    assert (shown["sender"], shown["state_key"], shown["content"]) == (EVE, alice.user_id, {"membership": "leave"})


@pytest.mark.parametrize("is_reachable", [True, False])
async def test_invite_that_is_rejected_is_left_with_a_leave_of_ones_own(net: Network, is_reachable: bool) -> None:
    """Whether or not the other server could be told: the room appears as left, with the user's own leave."""
    alice = await net["one.test"].register("alice")
    peer = net.peer("peer.test")
    room = ForeignRoom(peer, EVE)
    event = invite_to(room, alice.user_id)
    await peer.put("one.test", target_of(event), body_of(room, event))
    since = (await alice.sync())["next_batch"]
    if not is_reachable:
        net.board.down("peer.test")
    await alice.leave(room.id)
    [shown] = (await alice.sync(since))["rooms"]["leave"][room.id]["timeline"]["events"]
    assert (shown["type"], shown["sender"], shown["state_key"]) == ("m.room.member", alice.user_id, alice.user_id)
    assert shown["content"]["membership"] == "leave"
    await alice.post(f"/rooms/{segment(room.id)}/forget")
    assert room.id not in (await alice.sync()).get("rooms", {}).get("leave", {})


async def test_invite_is_not_taken_back_by_others(net: Network) -> None:
    """Neither by a server that has nothing to do with it, nor by an unsigned or forged leave, nor by something else than a leave."""
    server = net["one.test"]
    alice = await server.register("alice")
    peer, mallory = net.peer("peer.test"), net.peer("mallory.test")
    room = ForeignRoom(peer, EVE)
    event = invite_to(room, alice.user_id)
    await peer.put("one.test", target_of(event), body_of(room, event))
    leave = {"membership": "leave"}
    own = mallory.event(
        "10", "m.room.member", sender="@m:mallory.test", content=leave, room_id=room.id, state_key=alice.user_id
    )
    forged = mallory.event("10", "m.room.member", sender=EVE, content=leave, room_id=room.id, state_key=alice.user_id)
    await mallory.send("one.test", [own, forged])
    kick = room.build("m.room.member", leave, key=alice.user_id)
    await mallory.send("one.test", [kick])
    await peer.send("one.test", [forged, {**kick.pdu, "signatures": {}}, {**kick.pdu, "depth": "x"}])
    await peer.send("one.test", [room.build("m.room.member", {"membership": "join"}, key=alice.user_id)])
    assert members.membership(server.ctx.db, RoomId(room.id), UserId(alice.user_id)) == "invite"
    assert room.id in await invited(alice)


@pytest.mark.parametrize("version", ["10", "12"])
async def test_two_homeservers_invite_refuse_and_invite_again(version: str) -> None:
    """Between two of our own: an invite, taken; a leave; another invite of a room that is known here from before, refused; a third, taken."""
    async with network("one.test", "two.test") as both:
        alice, bob = await both["one.test"].register("alice"), await both["two.test"].register("bob")
        room = await alice.create_room(preset="private_chat", room_version=version, name="Both")
        db = both["one.test"].ctx.db
        for _ in range(2):
            await alice.invite(room, bob.user_id)
            assert room in await invited(bob)
            await bob.join(room)
            await alice.send(room, "welcome")
            await bob.leave(room)
            await until(lambda: members.membership(db, RoomId(room), UserId(bob.user_id)) == "leave")
        await alice.invite(room, bob.user_id)
        shown = (await invited(bob))[room]["invite_state"]["events"]
        assert {"name": "Both"} in [item["content"] for item in shown]
        await bob.leave(room)
        assert await invited(bob) == {}
        assert (await alice.state(room, "m.room.member", bob.user_id))["membership"] == "leave"


async def test_two_homeservers_let_an_invite_be_taken_back() -> None:
    """The kick reaches a server that is not in the room, and the invite is gone there."""
    async with network("one.test", "two.test") as both:
        alice, bob = await both["one.test"].register("alice"), await both["two.test"].register("bob")
        room = await alice.create_room(preset="private_chat")
        await alice.invite(room, bob.user_id)
        assert room in await invited(bob)
        since = (await bob.sync())["next_batch"]
        poll = bob.start(bob.sync(since, timeout_ms=30_000))
        await alice.post(f"/rooms/{segment(room)}/kick", {"user_id": bob.user_id})
        await poll
        assert await invited(bob) == {}


async def test_invite_outlives_a_ban_and_its_end_that_arrive_after_it() -> None:
    """An invite goes a way of its own, and may overtake what the room has sent: of that only what is newer counts."""
    async with network("one.test", "two.test") as both:
        alice, bob = await both["one.test"].register("alice"), await both["two.test"].register("bob")
        here, there = both["one.test"].ctx.db, both["two.test"].ctx.db
        user_id = UserId(bob.user_id)
        room = RoomId(await alice.create_room(preset="private_chat"))
        await alice.invite(room, user_id)
        await bob.join(room)
        await alice.post(f"/rooms/{segment(room)}/kick", {"user_id": user_id})
        await until(lambda: members.membership(there, room, user_id) == "leave")

        def hold_transactions(incoming: Incoming, server: str) -> None:
            if "/send/" in incoming.target:
                raise Unreachable(server, "not now")

        both.board.on_exchange = hold_transactions
        await alice.post(f"/rooms/{segment(room)}/ban", {"user_id": user_id})
        await alice.post(f"/rooms/{segment(room)}/unban", {"user_id": user_id})
        unban = state.current_id(here, room, "m.room.member", user_id)
        assert unban is not None
        await alice.invite(room, user_id)
        assert room in await invited(bob)
        both.board.on_exchange = lambda incoming, server: None
        await both.clock.advance(3600)
        await until(lambda: timeline.position(there, unban) is not None)
        assert room in await invited(bob)
        await bob.join(room)


async def test_advisory_25_one_owner_floods_nobody_with_invites() -> None:
    """After thirty at once they come as slowly as those of a local user, whatever names are used; another owner's are not held up."""
    async with network("one.test", rate_limits=RateLimits()) as net:
        alice = await net["one.test"].register("alice")
        bob = await net["one.test"].register("bob")

        rooms: list[ForeignRoom] = []

        async def invite(server: str, target: str, expect: Any = 200) -> None:
            room = ForeignRoom(net.peer(server), f"@eve:{server}")
            rooms.append(room)
            event = invite_to(room, target)
            await room.peer.put("one.test", target_of(event), body_of(room, event), expect)

        for number in range(30):
            await invite(f"h{number % 2}.evil.test", alice.user_id)
        await invite("h2.evil.test", alice.user_id, "M_LIMIT_EXCEEDED")
        await invite("h0.evil.test", bob.user_id)
        await invite("other.test", alice.user_id)
        net.clock.jump(3)
        await invite("h2.evil.test", alice.user_id)
        assert len(await invited(alice)) == 32


async def test_advisory_25_invites_that_wait_are_bounded(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has very many gets no more until they have decided on some."""
    monkeypatch.setattr("conduit.service.actions.receive_invite.MAX_INVITES", 3)
    alice = await net["one.test"].register("alice")
    rooms = [ForeignRoom(net.peer("peer.test"), EVE, name=f"room{number}") for number in range(4)]
    for room in rooms:
        event = invite_to(room, alice.user_id)
        expect = "M_LIMIT_EXCEEDED" if room is rooms[-1] else 200
        await room.peer.put("one.test", target_of(event), body_of(room, event), expect)
    await alice.post(f"/rooms/{rooms[0].id}/leave")
    event = invite_to(rooms[-1], alice.user_id)
    await rooms[-1].peer.put("one.test", target_of(event), body_of(rooms[-1], event))
