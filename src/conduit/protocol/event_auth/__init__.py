"""Event authorisation: whether a room's state allows an event.

`authorise` is asked several times for one event, with the state made of its auth events, with the state before it and
with the current one. Everything here is a function of its arguments. The rules stand in the specification's order and
carry its numbers of room version 12; a rule that only older versions know says so.

Two kinds of rules need more than state and are apart: `check_auth_events` looks at what the event cites,
`required_signers` names the servers whose signatures must have been verified before (rule 5.2 among them).

Source: "Authorisation rules" of each room version; server-server API, "Checks performed on receipt of a PDU".
"""

from __future__ import annotations

from conduit.protocol.errors import Forbidden
from conduit.protocol.event_auth import create, member, power_levels, redaction
from conduit.protocol.event_auth.auth_types import auth_types_for, check_auth_events
from conduit.protocol.event_auth.signers import required_signers
from conduit.protocol.event_auth.state_view import State, StateView
from conduit.protocol.ids import server_name_of
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import RoomVersion

__all__ = ["State", "StateView", "auth_types_for", "authorise", "check_auth_events", "required_signers"]


def authorise(event: Event, version: RoomVersion, state: State) -> None:
    """Raise `Forbidden`, naming the broken rule in words, unless the state allows the event.

    `state(type, state_key)` returns an event of the state or None; it is asked only for what `auth_types_for` names
    and for `m.room.create`, which in version 12 is no auth event and must be given all the same.
    """
    # 1. If type is m.room.create.
    if event.type == "m.room.create":
        create.check(event, version)
        return
    room = StateView.open(event, version, state)
    # 4. If m.federate is false and the sender's server is not that of the creator, reject.
    created = room.create
    if created.content.get("m.federate") is False and server_name_of(event.sender) != server_name_of(created.sender):
        raise Forbidden("The room is closed to other servers (m.federate)")
    # Until version 5, rule 4. If type is m.room.aliases.
    if version.aliases_authorised and event.type == "m.room.aliases":
        _check_aliases(event)
        return
    # 5. If type is m.room.member.
    if event.type == "m.room.member":
        member.check(event, version, room)
        return
    # 6. If the sender's current membership is not join, reject.
    if room.membership(event.sender) != "join":
        raise Forbidden("The sender is not in the room")
    level = room.levels.user(event.sender)
    # 7. If type is m.room.third_party_invite, allow if and only if the sender may invite.
    if event.type == "m.room.third_party_invite":
        if level < room.levels.invite:
            raise Forbidden("The sender's power level does not suffice to invite")
        return
    # 8. If the required power level is greater than the sender's, reject.
    required = room.levels.for_state(event.type) if event.is_state else room.levels.for_message(event.type)
    if level < required:
        raise Forbidden(f"The sender's power level does not suffice to send {event.type}")
    # 9. If the state key starts with an @ and is not the sender, reject.
    if event.state_key is not None and event.state_key.startswith("@") and event.state_key != event.sender:
        raise Forbidden("The state key is another user's ID")
    # 10. If type is m.room.power_levels.
    if event.type == "m.room.power_levels":
        power_levels.check(event, version, room)
    # Versions 1 and 2, rule 11. If type is m.room.redaction.
    elif version.redactions_authorised and event.type == "m.room.redaction":
        redaction.check(event, room)
    # 11. Otherwise, allow.


def _check_aliases(event: Event) -> None:
    # 4.1. If there is no state_key, reject.  4.2. If it is not the sender's server, reject.  4.3. Otherwise, allow.
    if event.state_key is None or event.state_key != server_name_of(event.sender):
        raise Forbidden("Aliases are listed under the sender's own server name")
