"""Joins of other servers' users, as the resident server sees them."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.ids import RoomId
from conduit.protocol.room_versions import SUPPORTED
from conduit.service.rooms import members, state
from tests.support.client import segment
from tests.support.federation import Network, network
from tests.support.visitor import FEDERATION, Visitor

EVE = "@eve:peer.test"


@pytest.fixture
async def net() -> Any:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


def visitor(net: Network, name: str = "peer.test") -> Visitor:
    """Return a server on its way into rooms."""
    return Visitor(net.peer(name), "one.test")


@pytest.mark.parametrize("version", SUPPORTED)
async def test_join_of_every_room_version_is_accepted_and_told_of(net: Network, version: str) -> None:
    """The newcomer gets the state before the join, what authorises it, and the join signed by this server; the members see it."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat", room_version=version, name="Room")
    joined = await visitor(net).join(room, EVE)
    answer = joined.answer
    assert answer["members_omitted"] is False
    assert set(answer["event"]["signatures"]) == {"one.test", "peer.test"}
    current = {(event.type, event.state_key) for event in joined.state}
    assert {("m.room.create", ""), ("m.room.name", ""), ("m.room.member", alice.user_id)} <= current
    assert ("m.room.member", EVE) not in current
    known = {event.event_id for event in joined.auth_chain}
    assert set(joined.event.auth_events) <= known
    assert (await alice.state(room, "m.room.member", EVE))["membership"] == "join"
    assert members.servers(net["one.test"].ctx.db, RoomId(room)) == ["one.test", "peer.test"]


async def test_join_in_the_first_form_is_answered_in_a_pair(net: Network) -> None:
    """Servers that know version 1 of the endpoint only get a list of status and answer."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    eve = visitor(net)
    event = await eve.signed("join", room, EVE)
    status, answer = await eve.send("join", event, form="v1")
    assert status == 200
    assert {"auth_chain", "state", "event"} == set(answer)


async def test_join_sent_again_is_answered_again(net: Network) -> None:
    """Who has lost the answer asks once more and gets the same."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    eve = visitor(net)
    joined = await eve.join(room, EVE)
    await alice.send(room, "meanwhile")
    again = await eve.send("join", joined.event)
    assert again["state"] == joined.answer["state"]


async def test_join_without_members_leaves_out_all_but_those_who_name_the_room(net: Network) -> None:
    """With omit_members: at most five memberships, the servers in the room, and no event twice."""
    server = net["one.test"]
    alice = await server.register("alice")
    room = await alice.create_room(preset="public_chat")
    for number in range(8):
        user = await server.register(f"user{number}")
        await user.join(room)
    joined = await visitor(net).join(room, EVE, query="?omit_members=true")
    answer = joined.answer
    assert answer["members_omitted"] is True
    assert answer["servers_in_room"] == ["one.test"]
    listed = [event for event in joined.state if event.type == "m.room.member"]
    assert 1 <= len(listed) <= 5
    state_ids = {event.event_id for event in joined.state}
    chain_ids = {event.event_id for event in joined.auth_chain}
    assert not state_ids & chain_ids
    for event in joined.state:
        assert set(event.auth_events) <= state_ids | chain_ids
    assert {"m.room.create", "m.room.power_levels", "m.room.join_rules"} <= {event.type for event in joined.state}


async def test_join_without_members_of_a_room_with_a_name_lists_nobody(net: Network) -> None:
    """A name makes memberships needless."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat", name="Named")
    joined = await visitor(net).join(room, EVE, query="?omit_members=true")
    assert [event for event in joined.state if event.type == "m.room.member"] == []
    assert alice.user_id in {event.state_key for event in joined.auth_chain}


async def test_template_for_a_room_that_nobody_here_is_in_is_not_found(net: Network) -> None:
    """Neither an unknown room nor one that all have left can be joined through this server."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    eve = visitor(net)
    await eve.template("join", room, EVE)
    await alice.leave(room)
    await eve.template("join", room, EVE, "M_NOT_FOUND")
    await eve.template("join", "!unknown:one.test", EVE, "M_NOT_FOUND")


async def test_template_for_a_user_of_another_server_is_refused(net: Network) -> None:
    """Nobody asks on behalf of local users or of third servers."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    for user_id in (alice.user_id, "@eve:elsewhere.test"):
        await visitor(net).template("join", room, user_id, "M_FORBIDDEN")


async def test_template_names_the_version_that_the_asking_server_lacks(net: Network) -> None:
    """The room's version must be among those of the request; none named means version 1."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat", room_version="10")
    eve = visitor(net)
    for query in ("?ver=1&ver=9", "?x=1"):
        refusal = await eve.template("join", room, EVE, "M_INCOMPATIBLE_ROOM_VERSION", query=query)
        assert refusal["room_version"] == "10"
    await eve.template("join", room, EVE, query="?ver=9&ver=10")


async def test_join_that_the_rules_refuse_is_forbidden(net: Network) -> None:
    """By invite only, banned: both at the template and afterwards."""
    alice = await net["one.test"].register("alice")
    private = await alice.create_room(preset="private_chat")
    public = await alice.create_room(preset="public_chat")
    eve = visitor(net)
    await eve.template("join", private, EVE, "M_FORBIDDEN")
    event = await eve.signed("join", public, EVE)
    await alice.post(f"/rooms/{segment(public)}/ban", {"user_id": EVE})
    await eve.template("join", public, EVE, "M_FORBIDDEN")
    await eve.send("join", event, "M_FORBIDDEN")
    assert EVE not in members.joined(net["one.test"].ctx.db, RoomId(public))


async def test_join_that_is_not_validly_signed_is_forbidden(net: Network) -> None:
    """Unsigned, unhashed, signed with another key: refused, and accepted once it is signed."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    eve = visitor(net)
    event = await eve.signed("join", room, EVE)
    target = eve.target("join", event)
    bare = {key: value for key, value in event.pdu.items() if key not in ("signatures", "hashes")}
    fake = {"signatures": {"peer.test": {eve.peer.key.key_id: "a" * 86}}}
    other = {"signatures": {"elsewhere.test": {"ed25519:1": "a" * 86}}, "hashes": event.pdu["hashes"]}
    for pdu in (bare, {**bare, **fake}, {**event.pdu, **fake}, {**bare, **other}):
        await eve.peer.put("one.test", target, pdu, "M_FORBIDDEN")
    await eve.send("join", event)


async def test_advisory_02_join_for_another_room_or_event_than_its_path_is_refused(net: Network) -> None:
    """The room and the event of the path must be those of the event."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    other = await alice.create_room(preset="public_chat")
    eve = visitor(net)
    event = await eve.signed("join", room, EVE)
    elsewhere = f"{FEDERATION}/v2/send_join/{segment(other)}/{segment(event.event_id)}"
    await eve.peer.put("one.test", elsewhere, event.pdu, "M_INVALID_PARAM")
    misnamed = f"{FEDERATION}/v2/send_join/{segment(room)}/{segment('$' + 'a' * 43)}"
    await eve.peer.put("one.test", misnamed, event.pdu, "M_INVALID_PARAM")
    for room_id in (room, other):
        assert EVE not in members.joined(net["one.test"].ctx.db, RoomId(room_id))


async def test_join_sent_by_another_server_than_the_joiners_is_refused(net: Network) -> None:
    """A valid join, signed by its server, is refused from everybody else: it may be an old one."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    event = await visitor(net).signed("join", room, EVE)
    mallory = visitor(net, "mallory.test")
    await mallory.send("join", event, "M_FORBIDDEN")


async def test_what_is_no_join_is_refused(net: Network) -> None:
    """Another type, another membership, somebody else's, a message: M_INVALID_PARAM, and nothing is signed."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    eve = visitor(net)
    template = await eve.template("join", room, EVE)
    wrong: list[dict[str, Any]] = [
        {"type": "m.room.topic"},
        {"content": {"membership": "leave"}},
        {"content": {"membership": "ban"}},
        {"state_key": "@other:peer.test"},
        {"state_key": alice.user_id},
    ]
    for changes in wrong:
        await eve.send("join", eve.seal(template, **changes), "M_INVALID_PARAM")
    await eve.send("join", eve.seal(template, content={"bad": 1.5}), "M_BAD_JSON")
    await eve.send("join", eve.seal(template, depth=-1), "M_BAD_JSON")
    assert state.current_id(net["one.test"].ctx.db, RoomId(room), "m.room.member", EVE) is None


async def test_join_of_an_old_room_may_hold_any_number(net: Network) -> None:
    """Canonical JSON is demanded from version 6 on only."""
    alice = await net["one.test"].register("alice")
    eve = visitor(net)
    for version, expect in (("5", 200), ("6", "M_BAD_JSON")):
        room = await alice.create_room(preset="public_chat", room_version=version)
        template = await eve.template("join", room, EVE)
        event = eve.seal(template, content={"large": 2**60, "half": 0.5})
        await eve.send("join", event, expect)


async def test_join_of_a_server_that_the_acl_denies_is_forbidden(net: Network) -> None:
    """Server ACLs guard both endpoints."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    eve = visitor(net)
    event = await eve.signed("join", room, EVE)
    await alice.set_state(room, "m.room.server_acl", {"allow": ["*"], "deny": ["PEER.test"]})
    await eve.template("join", room, EVE, "M_FORBIDDEN")
    await eve.send("join", event, "M_FORBIDDEN")


async def test_join_is_told_to_the_other_servers_in_the_room(net: Network) -> None:
    """The resident server passes the join on, to all but the one that joined."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    other = visitor(net, "other.test")
    other.peer.on("PUT", "/_matrix/federation/v1/send/.*", {"pdus": {}})
    await other.join(room, "@olga:other.test")
    eve = visitor(net)
    eve.peer.on("PUT", "/_matrix/federation/v1/send/.*", {"pdus": {}})
    joined = await eve.join(room, EVE)

    def told(peer: Any) -> list[str]:
        sent = [request.json() for request in peer.received if "/send/" in request.path]
        return [pdu["sender"] for transaction in sent for pdu in transaction.get("pdus", [])]

    for _ in range(200):
        if EVE in told(other.peer):
            break
        await alice.sync()
    assert told(other.peer) == [EVE]
    assert EVE not in told(eve.peer)
    assert joined.event.sender == EVE


# --- restricted rooms ----------------------------------------------------------------------------------------------


async def restricted(net: Network, *, version: str = "10", **options: Any) -> tuple[Any, str, str]:
    """Return a user, a room whose members may join, and a restricted room."""
    alice = await net["one.test"].register("alice")
    space = await alice.create_room(preset="public_chat", room_version=version)
    allow = [{"type": "m.room_membership", "room_id": space}]
    rules = {"join_rule": "restricted", "allow": allow}
    initial = [{"type": "m.room.join_rules", "state_key": "", "content": rules}]
    room = await alice.create_room(preset="private_chat", room_version=version, initial_state=initial, **options)
    return alice, space, room


@pytest.mark.parametrize("version", ["8", "9", "10", "11", "12"])
async def test_restricted_join_by_a_member_of_the_space_is_authorised(net: Network, version: str) -> None:
    """The template names a local user who may invite, and the join comes back signed by this server."""
    alice, space, room = await restricted(net, version=version)
    eve = visitor(net)
    await eve.template("join", room, EVE, "M_FORBIDDEN")
    await eve.join(space, EVE)
    joined = await eve.join(room, EVE)
    assert joined.answer["event"]["content"]["join_authorised_via_users_server"] == alice.user_id
    assert "one.test" in joined.answer["event"]["signatures"]
    assert EVE in members.joined(net["one.test"].ctx.db, RoomId(room))


async def test_restricted_join_that_cannot_be_judged_is_left_to_others(net: Network) -> None:
    """A condition on a room that this server is not in: M_UNABLE_TO_AUTHORISE_JOIN."""
    alice, space, room = await restricted(net)
    allow = [{"type": "m.room_membership", "room_id": place} for place in (space, "!unknown:else.test")]
    await alice.set_state(room, "m.room.join_rules", {"join_rule": "restricted", "allow": allow})
    await visitor(net).template("join", room, EVE, "M_UNABLE_TO_AUTHORISE_JOIN")


async def test_restricted_join_that_nobody_here_may_grant_is_left_to_others(net: Network) -> None:
    """No local user may invite: M_UNABLE_TO_GRANT_JOIN, whatever the event that comes in the end says."""
    alice, space, room = await restricted(net)
    eve = visitor(net)
    await eve.join(space, EVE)
    event = await eve.signed("join", room, EVE)
    levels = await alice.state(room, "m.room.power_levels")
    await alice.set_state(room, "m.room.power_levels", {**levels, "invite": 100, "users": {alice.user_id: 99}})
    await eve.template("join", room, EVE, "M_UNABLE_TO_GRANT_JOIN")
    await eve.send("join", event, "M_UNABLE_TO_GRANT_JOIN")


async def test_restricted_join_is_judged_again_when_it_is_sent(net: Network) -> None:
    """Who has left the space since the template is refused, and so is who names another server's user."""
    _, space, room = await restricted(net)
    eve = visitor(net)
    await eve.join(space, EVE)
    template = await eve.template("join", room, EVE)
    voucher = {"join_authorised_via_users_server": "@root:elsewhere.test"}
    await eve.send("join", eve.seal(template, content=voucher), "M_INVALID_PARAM")
    leave = await eve.signed("leave", space, EVE)
    await eve.send("leave", leave)
    await eve.send("join", eve.seal(template), "M_FORBIDDEN")


async def test_restricted_join_without_conditions_is_forbidden(net: Network) -> None:
    """No condition that can be read is no condition that can be met."""
    alice, _, room = await restricted(net)
    for allow in ([], [{"type": "x"}], "x", [{"type": "m.room_membership", "room_id": 7}]):
        await alice.set_state(room, "m.room.join_rules", {"join_rule": "restricted", "allow": allow})
        await visitor(net).template("join", room, EVE, "M_FORBIDDEN")
