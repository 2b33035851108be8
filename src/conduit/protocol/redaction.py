"""What a redaction leaves of an event.

Source: client-server API, "Redactions"; the "Redactions" section of each room version.
"""

from __future__ import annotations

from typing import Any

from conduit.protocol.room_versions import RedactionRules, RoomVersion

_NONE: frozenset[str] = frozenset()


def redact(pdu: dict[str, Any], version: RoomVersion) -> dict[str, Any]:
    """Return a new event that holds only what `version` protects from redaction; `unsigned` is gone as well.

    `content` must be an object. Values are shared with the original, never copied.
    """
    rules = version.redaction
    keys = rules.keys
    pruned = {key: value for key, value in pdu.items() if key in keys}
    event_type = pdu.get("type")
    if event_type not in rules.whole_content:
        pruned["content"] = _prune_content(rules, event_type, pdu["content"])
    return pruned


def _prune_content(rules: RedactionRules, event_type: Any, content: dict[str, Any]) -> dict[str, Any]:
    allowed = rules.content.get(event_type, _NONE)
    if not allowed:
        return {}
    pruned = {key: content[key] for key in allowed if key in content}
    if event_type == "m.room.member" and rules.keeps_third_party_signed:
        third_party = content.get("third_party_invite")
        if isinstance(third_party, dict):
            pruned["third_party_invite"] = {"signed": third_party["signed"]} if "signed" in third_party else {}
    return pruned
