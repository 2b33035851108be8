"""Rule 5: `m.room.member`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from conduit.protocol import signing
from conduit.protocol.errors import Forbidden
from conduit.protocol.event_auth.state_view import StateView
from conduit.protocol.ids import is_user_id
from conduit.protocol.pdu import Event
from conduit.protocol.power_levels import creators_of
from conduit.protocol.room_versions import RoomVersion

# Every key is tried on every signature; a hostile pair of events could have a thousand of each.
_MAX_THIRD_PARTY_KEYS = 16
_MAX_THIRD_PARTY_SIGNATURES = 16
# The keys of third-party invites may be written in either alphabet of Base64.
_FROM_URLSAFE = str.maketrans("-_", "+/")


def check(event: Event, version: RoomVersion, room: StateView) -> None:
    """Raise `Forbidden` unless the change of membership is allowed."""
    # 5.1. If there is no state_key or no membership in content, reject.
    target, membership = event.state_key, event.content.get("membership")
    if target is None or membership is None:
        raise Forbidden("m.room.member without a state key or a membership")
    # Not numbered: a target that is no user cannot have a membership.
    if not is_user_id(target):
        raise Forbidden("The state key of m.room.member is not a user ID")
    # 5.2. If the event is not validly signed for join_authorised_via_users_server, reject. The signature itself has
    # been verified before (`required_signers`); what names no user cannot have been.
    if version.restricted_joins and not is_user_id(event.content.get("join_authorised_via_users_server", target)):
        raise Forbidden("join_authorised_via_users_server is not a user ID")
    if membership == "join":
        _check_join(event, target, version, room)
    elif membership == "invite":
        _check_invite(event, target, room)
    elif membership == "leave":
        _check_leave(event, target, version, room)
    elif membership == "ban":
        _check_ban(event, target, room)
    elif membership == "knock" and version.knocking:
        _check_knock(event, target, version, room)
    else:
        # 5.8. Otherwise, the membership is unknown. Reject.
        raise Forbidden("The membership is not known in this room version")


def _check_join(event: Event, target: str, version: RoomVersion, room: StateView) -> None:
    # 5.3.1. If the only previous event is m.room.create and the state key is the creator, allow.
    if event.prev_events == (room.create.event_id,) and _is_first_member(target, version, room):
        return
    # 5.3.2. If the sender is not the state key, reject.
    if event.sender != target:
        raise Forbidden("Nobody can join on another user's behalf")
    # 5.3.3. If the sender is banned, reject.
    current = room.membership(target)
    if current == "ban":
        raise Forbidden("The user is banned from the room")
    rule = room.join_rule
    # 5.3.4. If the join rule is invite or (from version 7 on) knock, allow if the user is invited or joined.
    if rule == "invite" or (version.knocking and rule == "knock"):
        if current not in {"invite", "join"}:
            raise Forbidden("The user is not invited to the room")
    # 5.3.5. If the join rule is restricted or (from version 10 on) knock_restricted.
    elif _is_restricted(rule, version):
        _check_restricted_join(event, current, room)
    # 5.3.6. If the join rule is public, allow.  5.3.7. Otherwise, reject.
    elif rule != "public":
        raise Forbidden("The room's join rule lets nobody in")


def _is_first_member(target: str, version: RoomVersion, room: StateView) -> bool:
    # Additional creators do not join this way: the rule names the sender of m.room.create alone.
    return target == room.create.sender if version.creator_is_sender else target in creators_of(room.create, version)


def _is_restricted(rule: str, version: RoomVersion) -> bool:
    return (version.restricted_joins and rule == "restricted") or (
        version.knock_restricted_joins and rule == "knock_restricted"
    )


def _check_restricted_join(event: Event, current: str, room: StateView) -> None:
    # 5.3.5.1. If the user is joined or invited, allow.
    if current in {"join", "invite"}:
        return
    # 5.3.5.2. If join_authorised_via_users_server is not a joined user who may invite, reject.
    authoriser = event.content.get("join_authorised_via_users_server")
    if not isinstance(authoriser, str) or room.membership(authoriser) != "join":
        raise Forbidden("The join is not authorised by a member of the room")
    if room.levels.user(authoriser) < room.levels.invite:
        raise Forbidden("The join is authorised by somebody who may not invite")
    # 5.3.5.3. Otherwise, allow.


def _check_invite(event: Event, target: str, room: StateView) -> None:
    # 5.4.1. If content has third_party_invite.
    if "third_party_invite" in event.content:
        _check_third_party_invite(event, target, room)
        return
    # 5.4.2. If the sender is not joined, reject.
    if room.membership(event.sender) != "join":
        raise Forbidden("The sender is not in the room")
    # 5.4.3. If the target is joined or banned, reject.
    if room.membership(target) in {"join", "ban"}:
        raise Forbidden("The user is in the room already, or banned from it")
    # 5.4.4. If the sender's level suffices to invite, allow.  5.4.5. Otherwise, reject.
    if room.levels.user(event.sender) < room.levels.invite:
        raise Forbidden("The sender's power level does not suffice to invite")


def _check_third_party_invite(event: Event, target: str, room: StateView) -> None:
    # 5.4.1.1. If the target is banned, reject.
    if room.membership(target) == "ban":
        raise Forbidden("The user is banned from the room")
    # 5.4.1.2. If there is no signed, reject.
    third_party = event.content["third_party_invite"]
    signed = third_party.get("signed") if isinstance(third_party, dict) else None
    if not isinstance(signed, dict):
        raise Forbidden("The third-party invite is not signed")
    # 5.4.1.3. If signed has no mxid and token, reject.
    mxid, token = signed.get("mxid"), signed.get("token")
    if not isinstance(mxid, str) or not isinstance(token, str):
        raise Forbidden("The third-party invite is signed without mxid and token")
    # 5.4.1.4. If mxid is not the state key, reject.
    if mxid != target:
        raise Forbidden("The third-party invite was signed for another user")
    # 5.4.1.5. If the room has no m.room.third_party_invite with this token, reject.
    offer = room.state("m.room.third_party_invite", token)
    if offer is None:
        raise Forbidden("The room has no such third-party invite")
    # 5.4.1.6. If its sender is not the sender, reject.
    if offer.sender != event.sender:
        raise Forbidden("The third-party invite was made by somebody else")
    # 5.4.1.7. If any signature in signed matches any of its public keys, allow.  5.4.1.8. Otherwise, reject.
    if next(keys_of_offer(offer.content, signed), None) is None:
        raise Forbidden("The third-party invite is signed with none of its keys")


def keys_of_offer(offer: dict[str, Any], signed: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Return the keys, of those that the content of an `m.room.third_party_invite` names, with which `signed` is signed.

    Each comes as it is written there, with the URL that tells whether it still counts, if there is one.
    """
    signatures = list(islice(_signatures(signed), _MAX_THIRD_PARTY_SIGNATURES))
    for entry in islice(_public_keys(offer), _MAX_THIRD_PARTY_KEYS):
        key, url = entry["public_key"], entry.get("key_validity_url")
        standard = key.translate(_FROM_URLSAFE)
        if any(signing.verify(signed, server, key_id, standard) for server, key_id in signatures):
            yield key, url if isinstance(url, str) else None


def _public_keys(offer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    # 5.4.1.7.1. A single public key in public_key.  5.4.1.7.2. A list of them in public_keys.
    listed = offer.get("public_keys")
    for entry in (offer, *(listed if isinstance(listed, list) else [])):
        if isinstance(entry, dict) and isinstance(entry.get("public_key"), str):
            yield entry


def _signatures(signed: dict[str, Any]) -> Iterator[tuple[str, str]]:
    signatures = signed.get("signatures")
    for server, entry in signatures.items() if isinstance(signatures, dict) else ():
        for key_id in entry if isinstance(entry, dict) else ():
            yield server, key_id


def _check_leave(event: Event, target: str, version: RoomVersion, room: StateView) -> None:
    current = room.membership(target)
    # 5.5.1. If the sender is the state key, allow if and only if invited, joined or (from version 7 on) knocking.
    if event.sender == target:
        if current in {"invite", "join"} or (version.knocking and current == "knock"):
            return
        raise Forbidden("The user is not in the room and cannot leave it")
    # 5.5.2. If the sender is not joined, reject.
    if room.membership(event.sender) != "join":
        raise Forbidden("The sender is not in the room")
    level = room.levels.user(event.sender)
    # 5.5.3. If the target is banned and the sender's level does not suffice to ban, reject.
    if current == "ban" and level < room.levels.ban:
        raise Forbidden("The sender's power level does not suffice to lift a ban")
    # 5.5.4. If the sender's level suffices to kick and is above the target's, allow.  5.5.5. Otherwise, reject.
    if level < room.levels.kick or room.levels.user(target) >= level:
        raise Forbidden("The sender's power level does not suffice to remove this user")


def _check_ban(event: Event, target: str, room: StateView) -> None:
    # 5.6.1. If the sender is not joined, reject.
    if room.membership(event.sender) != "join":
        raise Forbidden("The sender is not in the room")
    # 5.6.2. If the sender's level suffices to ban and is above the target's, allow.  5.6.3. Otherwise, reject.
    level = room.levels.user(event.sender)
    if level < room.levels.ban or room.levels.user(target) >= level:
        raise Forbidden("The sender's power level does not suffice to ban this user")


def _check_knock(event: Event, target: str, version: RoomVersion, room: StateView) -> None:
    # 5.7.1. If the join rule is not knock or (from version 10 on) knock_restricted, reject.
    rule = room.join_rule
    if rule != "knock" and not (version.knock_restricted_joins and rule == "knock_restricted"):
        raise Forbidden("The room's join rule takes no knocks")
    # 5.7.2. If the sender is not the state key, reject.
    if event.sender != target:
        raise Forbidden("Nobody can knock on another user's behalf")
    # 5.7.3. If the sender is not banned, invited or joined, allow.  5.7.4. Otherwise, reject.
    if room.membership(target) in {"ban", "invite", "join"}:
        raise Forbidden("The user is banned from the room, or need not knock")
