"""Rule 11 of room versions 1 and 2: `m.room.redaction`; and for the later ones, whether a redaction takes effect.

From version 3 on every redaction is let in, and is applied only once its target is known and `applies` holds.
"""

from __future__ import annotations

from conduit.protocol.errors import Forbidden
from conduit.protocol.event_auth.state_view import StateView
from conduit.protocol.ids import server_name_of
from conduit.protocol.pdu import Event
from conduit.protocol.power_levels import PowerLevels


def check(event: Event, room: StateView) -> None:
    """Raise `Forbidden` unless the sender may redact the event that `redacts` names (versions 1 and 2)."""
    # 11.1. If the sender's level suffices to redact, allow.
    if room.levels.user(event.sender) >= room.levels.redact:
        return
    # 11.2. If the redacted event's id has the same server as the redaction's, allow.  11.3. Otherwise, reject.
    target = event.redacts or ""
    if target.partition(":")[2] != event.event_id.partition(":")[2]:
        raise Forbidden("The sender's power level does not suffice to redact others' events")


def applies(redaction: Event, target: Event, levels: PowerLevels) -> bool:
    """Tell whether a redaction that was let in is carried out on its target; `levels` are those before it.

    Source: "Handling redactions" of room version 3; in versions 1 and 2 the auth rules have decided already. The
    rooms must be the same.
    """
    if redaction.redacts != target.event_id or redaction.room_id != target.room_id:
        return False
    if redaction.version.redactions_authorised:
        return True
    return levels.user(redaction.sender) >= levels.redact or (
        server_name_of(redaction.sender) == server_name_of(target.sender)
    )
