from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from conduit.protocol.signing import SigningKey
from tests.protocol.room import ALICE, BOB, CAROL, DAVE, Room, every_version

OFFER_KEY, OTHER_KEY = SigningKey(bytes(32), "0"), SigningKey(bytes([1] * 32), "0")


@pytest.fixture
def room(version: RoomVersion) -> Room:
    """A room with Alice in it."""
    return Room(version)


def _with(room: Room, user: str, membership: str | None) -> Room:
    """Give the user a membership; `leave` means one that has been given up."""
    if membership in ("join", "leave"):
        room.member(user, "invite", ALICE)
        room.member(user, "join")
    if membership == "leave":
        room.member(user, "leave")
    elif membership in ("invite", "ban"):
        room.member(user, membership, ALICE)
    elif membership == "knock":
        room.join_rule("knock")
        room.member(user, "knock")
    return room


# 5.1, 5.2, 5.8


@every_version()
def test_member_needs_state_key_and_membership(room: Room) -> None:
    """Rule 5.1; the key must be a user's."""
    assert not room.allows(ALICE, "m.room.member", {"membership": "join"}, None)
    assert not room.allows(ALICE, "m.room.member", {}, ALICE)
    assert not room.allows(ALICE, "m.room.member", {"membership": "invite"}, "bob")
    assert room.allows(ALICE, "m.room.member", {"membership": "join"}, ALICE)


@every_version()
@pytest.mark.parametrize("membership", ["dance", "", None, 5, ["join"], {"join": 1}])
def test_unknown_membership_is_rejected(room: Room, membership: Any) -> None:
    """Rule 5.8."""
    assert not room.allows(ALICE, "m.room.member", {"membership": membership}, ALICE)


@every_version()
def test_knock_is_unknown_before_version_7(room: Room, version: RoomVersion) -> None:
    """Rule 5.8 of those versions, whatever the join rule says."""
    room.join_rule("knock")
    assert room.allows_member(BOB, "knock") is version.knocking


@every_version()
def test_authorising_user_must_be_a_user_from_version_8_on(room: Room, version: RoomVersion) -> None:
    """Rule 5.2: no server could have signed for it."""
    room.join_rule("public")
    allowed = room.allows_member(BOB, "join", join_authorised_via_users_server="nobody")
    assert allowed is not version.restricted_joins


# 5.3 join


@every_version()
def test_creator_joins_right_after_creating(version: RoomVersion) -> None:
    """Rule 5.3.1: only with m.room.create as the sole previous event."""
    room = Room(version, joined=False)
    create = room.events[0]
    assert room.allows_member(ALICE, "join")
    assert not room.allows_member(BOB, "join")
    join = {"membership": "join"}
    assert not room.allows(ALICE, "m.room.member", join, ALICE, prev_events=[])
    assert not room.allows(ALICE, "m.room.member", join, ALICE, prev_events=[create.reference()] * 2)


@every_version()
def test_creator_is_content_creator_until_10_and_the_sender_since(version: RoomVersion) -> None:
    """Rule 5.3.1, as versions 1 and 11 put it."""
    room = Room(version, joined=False, creator=BOB)
    assert room.allows_member(ALICE, "join") is version.creator_is_sender
    assert room.allows_member(BOB, "join") is not version.creator_is_sender


@every_version(creators_privileged=True)
def test_additional_creator_needs_an_invite(version: RoomVersion) -> None:
    """Rule 5.3.1 names the sender of m.room.create alone."""
    room = Room(version, joined=False, additional_creators=[BOB])
    assert not room.allows_member(BOB, "join")


@every_version()
def test_join_on_anothers_behalf_is_rejected(room: Room) -> None:
    """Rule 5.3.2, even of somebody invited."""
    _with(room, BOB, "invite")
    assert not room.allows_member(BOB, "join", ALICE)


@every_version()
def test_join_of_the_banned_is_rejected(room: Room) -> None:
    """Rule 5.3.3, even into a public room."""
    room.join_rule("public")
    _with(room, BOB, "ban")
    assert not room.allows_member(BOB, "join")


JOINS: dict[str, dict[str, int]] = {
    # By join rule and membership, the first version that allows the join; 99 for none.
    "public": {"none": 1, "invite": 1, "join": 1, "leave": 1, "ban": 99},
    "invite": {"none": 99, "invite": 1, "join": 1, "leave": 99, "ban": 99},
    "knock": {"none": 99, "invite": 7, "join": 7, "leave": 99, "ban": 99},
    "restricted": {"none": 99, "invite": 8, "join": 8, "leave": 99, "ban": 99},
    "knock_restricted": {"none": 99, "invite": 10, "join": 10, "leave": 99, "ban": 99},
    "private": {"none": 99, "invite": 99, "join": 99, "leave": 99, "ban": 99},
    "": {"none": 99, "invite": 99, "join": 99, "leave": 99, "ban": 99},
}


@every_version()
@pytest.mark.parametrize("rule", JOINS)
@pytest.mark.parametrize("membership", ["none", "invite", "join", "leave", "ban"])
def test_join_is_allowed_by_rule_and_membership(room: Room, version: RoomVersion, rule: str, membership: str) -> None:
    """Rules 5.3.4 to 5.3.7: the whole table; a join rule unknown to the version lets nobody in."""
    _with(room, BOB, membership)
    room.join_rule(rule)
    assert room.allows_member(BOB, "join") is (int(version.id) >= JOINS[rule][membership])


@every_version()
@pytest.mark.parametrize("rule", [None, 5, ["public"]])
def test_join_rule_of_the_wrong_type_lets_nobody_in(room: Room, rule: Any) -> None:
    """Rule 5.3.7."""
    room.put(room.event(ALICE, "m.room.join_rules", {"join_rule": rule}))
    assert not room.allows_member(BOB, "join")


@every_version()
def test_room_without_join_rules_is_for_the_invited(room: Room) -> None:
    """The default."""
    assert not room.allows_member(BOB, "join")
    _with(room, BOB, "invite")
    assert room.allows_member(BOB, "join")


@every_version(restricted_joins=True)
@pytest.mark.parametrize("rule", ["restricted", "knock_restricted"])
def test_restricted_join_needs_a_member_who_may_invite(room: Room, version: RoomVersion, rule: str) -> None:
    """Rule 5.3.5.2: joined, and with the invite level; knock_restricted from version 10 on."""
    known = rule == "restricted" or version.knock_restricted_joins
    _with(room, DAVE, "join")
    _with(room, BOB, "invite")
    room.join_rule(rule)
    room.power({DAVE: 20, BOB: 20}, invite=20)
    assert room.allows_member(CAROL, "join", join_authorised_via_users_server=DAVE) is known
    assert room.allows_member(CAROL, "join", join_authorised_via_users_server=ALICE) is known
    assert not room.allows_member(CAROL, "join")
    assert not room.allows_member(CAROL, "join", join_authorised_via_users_server=BOB)
    assert not room.allows_member(CAROL, "join", join_authorised_via_users_server=5)
    room.power({DAVE: 19}, invite=20)
    assert not room.allows_member(CAROL, "join", join_authorised_via_users_server=DAVE)


@every_version(restricted_joins=True)
def test_restricted_join_of_the_banned_is_rejected(room: Room) -> None:
    """Rule 5.3.3 comes first."""
    room.join_rule("restricted")
    _with(room, BOB, "ban")
    assert not room.allows_member(BOB, "join", join_authorised_via_users_server=ALICE)


# 5.4 invite


@every_version()
@pytest.mark.parametrize("membership", [None, "invite", "leave", "ban"])
def test_invite_by_somebody_outside_is_rejected(room: Room, membership: str | None) -> None:
    """Rule 5.4.2."""
    _with(room, BOB, membership)
    assert not room.allows_member(CAROL, "invite", BOB)


@every_version()
@pytest.mark.parametrize(
    ("membership", "allowed"), [(None, True), ("leave", True), ("invite", True), ("join", False), ("ban", False)]
)
def test_invite_depends_on_the_targets_membership(room: Room, membership: str | None, allowed: bool) -> None:
    """Rule 5.4.3."""
    _with(room, BOB, membership)
    assert room.allows_member(BOB, "invite", ALICE) is allowed


@every_version(knocking=True)
def test_knock_is_answered_with_an_invite(room: Room) -> None:
    """Rule 5.4.3 does not mind it."""
    _with(room, BOB, "knock")
    assert room.allows_member(BOB, "invite", ALICE)


@every_version()
def test_invite_needs_the_level(room: Room) -> None:
    """Rules 5.4.4 and 5.4.5."""
    _with(room, BOB, "join")
    assert room.allows_member(CAROL, "invite", BOB)
    room.power({BOB: 9}, invite=10)
    assert not room.allows_member(CAROL, "invite", BOB)
    room.power({BOB: 10}, invite=10)
    assert room.allows_member(CAROL, "invite", BOB)


# 5.4.1 third-party invites


def _offer(room: Room, content: dict[str, Any] | None = None, sender: str = ALICE) -> Room:
    room.put(room.event(sender, "m.room.third_party_invite", content or {"public_key": OFFER_KEY.public_key}, "tok"))
    return room


def _redeem(room: Room, third_party: Any = None, sender: str = ALICE, target: str = BOB) -> bool:
    if third_party is None:
        third_party = {"signed": OFFER_KEY.sign_json({"mxid": BOB, "token": "tok"}, "identity")}
    return room.allows_member(target, "invite", sender, third_party_invite=third_party)


@every_version()
def test_third_party_invite_is_redeemed_with_its_key(room: Room) -> None:
    """Rule 5.4.1.7: the single key, or one of the list; even when its maker has left."""
    _offer(room)
    assert _redeem(room)
    _offer(room, {"public_keys": [{"public_key": OTHER_KEY.public_key}, {"public_key": OFFER_KEY.public_key}]})
    assert _redeem(room)
    room.member(ALICE, "leave")
    assert _redeem(room)


@every_version()
def test_third_party_invite_of_the_banned_is_rejected(room: Room) -> None:
    """Rule 5.4.1.1."""
    _with(_offer(room), BOB, "ban")
    assert not _redeem(room)


@every_version()
@pytest.mark.parametrize(
    "third_party",
    [
        [],
        "x",
        {},
        {"signed": None},
        {"signed": {}},
        {"signed": {"mxid": BOB}},
        {"signed": {"token": "tok"}},
        {"signed": {"mxid": BOB, "token": ["tok"]}},
        {"signed": {"mxid": 5, "token": "tok"}},
        {"signed": {"mxid": BOB, "token": "tok"}},
        {"signed": {"mxid": BOB, "token": "tok", "signatures": []}},
        {"signed": {"mxid": BOB, "token": "tok", "signatures": {"identity": None}}},
        {"signed": {"mxid": BOB, "token": "tok", "signatures": {"identity": {"ed25519:0": 5}}}},
        {"signed": {"mxid": BOB, "token": "tok", "signatures": {"identity": {"ed25519:0": "AAAA"}}}},
        {"signed": OTHER_KEY.sign_json({"mxid": BOB, "token": "tok"}, "identity")},
        {"signed": OFFER_KEY.sign_json({"mxid": BOB, "token": "other"}, "identity")},
        {"signed": {**OFFER_KEY.sign_json({"mxid": BOB, "token": "tok"}, "identity"), "added": 1}},
    ],
)
def test_third_party_invite_without_what_it_needs_is_rejected(room: Room, third_party: Any) -> None:
    """Rules 5.4.1.2, 3, 5, 7 and 8."""
    assert not _redeem(_offer(room), third_party)


@every_version()
def test_third_party_invite_is_for_the_user_signed_and_from_its_maker(room: Room) -> None:
    """Rules 5.4.1.4 to 5.4.1.6."""
    assert not _redeem(room)
    _with(_offer(room), CAROL, "join")
    assert not _redeem(room, target=DAVE)
    assert not _redeem(room, sender=CAROL)


@every_version()
@pytest.mark.parametrize(
    "offer", [{"a": 1}, {"public_key": 5}, {"public_keys": "x"}, {"public_keys": [None, {}, {"public_key": []}]}]
)
def test_third_party_invite_without_keys_is_rejected(room: Room, offer: dict[str, Any]) -> None:
    """Rule 5.4.1.8, for offers of any shape."""
    assert not _redeem(_offer(room, offer))


def test_third_party_invite_with_a_thousand_keys_costs_little() -> None:
    """Only so many are tried: a hostile pair of events would keep a core busy for minutes."""
    room = _offer(Room("11"), {"public_keys": [{"public_key": OTHER_KEY.public_key}] * 900})
    signed = {
        "mxid": BOB,
        "token": "tok",
        "signatures": {"identity": {f"ed25519:{n}": OFFER_KEY.sign(b"") for n in range(400)}},
    }
    assert not _redeem(room, {"signed": signed})


# 5.5 leave


LEAVES = {"join": 1, "invite": 1, "knock": 7, "ban": 99, "leave": 99, None: 99}


@every_version()
@pytest.mark.parametrize("membership", LEAVES)
def test_leaving_is_for_those_inside_or_at_the_door(room: Room, version: RoomVersion, membership: str | None) -> None:
    """Rule 5.5.1: joined, invited, from version 7 on knocking; nobody lifts their own ban."""
    if membership == "knock" and not version.knocking:
        room.put(room.event(BOB, "m.room.member", {"membership": "knock"}, BOB))
    else:
        _with(room, BOB, membership)
    assert room.allows_member(BOB, "leave") is (int(version.id) >= LEAVES[membership])


@every_version()
def test_kick_by_somebody_outside_is_rejected(room: Room) -> None:
    """Rule 5.5.2."""
    _with(room, BOB, "join")
    _with(room, CAROL, "leave")
    room.power({CAROL: 100})
    assert not room.allows_member(BOB, "leave", CAROL)


@every_version()
def test_unban_needs_the_ban_and_the_kick_level(room: Room) -> None:
    """Rules 5.5.3 and 5.5.4."""
    _with(room, BOB, "join")
    _with(room, CAROL, "ban")
    for level, ban, kick, allowed in ((50, 50, 50, True), (50, 51, 50, False), (50, 50, 51, False)):
        room.power({BOB: level}, ban=ban, kick=kick)
        assert room.allows_member(CAROL, "leave", BOB) is allowed


@every_version()
def test_kick_needs_the_level_and_a_weaker_target(room: Room) -> None:
    """Rules 5.5.4 and 5.5.5; whoever was only invited can be disinvited alike."""
    _with(room, BOB, "join")
    _with(room, CAROL, "join")
    _with(room, DAVE, "invite")
    for own, target, allowed in ((50, 49, True), (50, 50, False), (50, 51, False), (49, 0, False)):
        room.power({BOB: own, CAROL: target})
        assert room.allows_member(CAROL, "leave", BOB) is allowed
    room.power({BOB: 50})
    assert room.allows_member(DAVE, "leave", BOB)
    assert not room.allows_member(ALICE, "leave", BOB)


# 5.6 ban


@every_version()
def test_ban_needs_the_level_and_a_weaker_target(room: Room) -> None:
    """Rules 5.6.2 and 5.6.3; users who never were in the room included."""
    _with(room, BOB, "join")
    _with(room, CAROL, "join")
    for own, target, allowed in ((50, 49, True), (50, 50, False), (49, 0, False)):
        room.power({BOB: own, CAROL: target})
        assert room.allows_member(CAROL, "ban", BOB) is allowed
    room.power({BOB: 50})
    assert room.allows_member(DAVE, "ban", BOB)


@every_version()
def test_ban_by_somebody_outside_is_rejected(room: Room) -> None:
    """Rule 5.6.1, whatever their level."""
    room.power({BOB: 100})
    assert not room.allows_member(CAROL, "ban", BOB)
    _with(room, BOB, "invite")
    assert not room.allows_member(CAROL, "ban", BOB)


@every_version(creators_privileged=True)
def test_creators_can_neither_be_kicked_nor_banned(version: RoomVersion) -> None:
    """Their level is infinite, and equal among them."""
    room = Room(version, additional_creators=[BOB])
    for user in (BOB, CAROL):
        _with(room, user, "join")
    room.power({CAROL: 2**53 - 1})
    for target, sender in ((ALICE, CAROL), (BOB, CAROL), (BOB, ALICE), (ALICE, BOB)):
        assert not room.allows_member(target, "ban", sender)
        assert not room.allows_member(target, "leave", sender)
    assert room.allows_member(CAROL, "ban", BOB)


# 5.7 knock


@every_version(knocking=True)
@pytest.mark.parametrize("rule", ["knock", "knock_restricted", "public", "invite", "restricted", "private"])
def test_knock_needs_a_join_rule_that_takes_it(room: Room, version: RoomVersion, rule: str) -> None:
    """Rule 5.7.1: knock, from version 10 on knock_restricted."""
    room.join_rule(rule)
    taken = rule == "knock" or (rule == "knock_restricted" and version.knock_restricted_joins)
    assert room.allows_member(BOB, "knock") is taken


@every_version(knocking=True)
def test_knock_on_anothers_behalf_is_rejected(room: Room) -> None:
    """Rule 5.7.2."""
    room.join_rule("knock")
    assert not room.allows_member(BOB, "knock", ALICE)


@every_version(knocking=True)
@pytest.mark.parametrize(
    ("membership", "allowed"),
    [(None, True), ("leave", True), ("knock", True), ("ban", False), ("invite", False), ("join", False)],
)
def test_knock_is_for_those_outside(room: Room, membership: str | None, allowed: bool) -> None:
    """Rules 5.7.3 and 5.7.4."""
    _with(room, BOB, membership)
    room.join_rule("knock")
    assert room.allows_member(BOB, "knock") is allowed


def test_membership_in_the_state_of_any_shape_counts_as_none() -> None:
    """What cannot be read is no membership."""
    room = Room("11")
    event = room.event(BOB, "m.room.member", {"membership": ["join"]}, BOB)
    room.put(Event(event.event_id, event.pdu, ROOM_VERSIONS["11"]))
    assert not room.allows(BOB, "m.room.message", {}, None)
