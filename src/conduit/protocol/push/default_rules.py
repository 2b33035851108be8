"""The rules that every account begins with, as a table.

Source: client-server API, "Predefined Rules". A user may switch these rules and change their actions; what is stored for a user
holds only such changes and the user's own rules (`conduit.protocol.push.ruleset`).
"""

from __future__ import annotations

from typing import Any

Rule = dict[str, Any]

_SOUND = {"set_tweak": "sound", "value": "default"}
_HIGHLIGHT = {"set_tweak": "highlight"}


def _is(key: str, pattern: str) -> Rule:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def _rule(rule_id: str, conditions: list[Rule], actions: list[Any], *, enabled: bool = True) -> Rule:
    return {"rule_id": rule_id, "default": True, "enabled": enabled, "conditions": conditions, "actions": actions}


MASTER = _rule(".m.rule.master", [], [], enabled=False)


def override_rules(user_id: str) -> list[Rule]:
    """Return the predefined override rules below the master rule, in the order of their priority."""
    return [
        _rule(".m.rule.suppress_notices", [_is("content.msgtype", "m.notice")], []),
        _rule(
            ".m.rule.invite_for_me",
            [_is("type", "m.room.member"), _is("content.membership", "invite"), _is("state_key", user_id)],
            ["notify", _SOUND],
        ),
        _rule(".m.rule.member_event", [_is("type", "m.room.member")], []),
        _rule(
            ".m.rule.is_user_mention",
            [{"kind": "event_property_contains", "key": "content.m\\.mentions.user_ids", "value": user_id}],
            ["notify", _SOUND, _HIGHLIGHT],
        ),
        _rule(
            ".m.rule.is_room_mention",
            [
                {"kind": "event_property_is", "key": "content.m\\.mentions.room", "value": True},
                {"kind": "sender_notification_permission", "key": "room"},
            ],
            ["notify", _HIGHLIGHT],
        ),
        _rule(".m.rule.tombstone", [_is("type", "m.room.tombstone"), _is("state_key", "")], ["notify", _HIGHLIGHT]),
        _rule(".m.rule.reaction", [_is("type", "m.reaction")], []),
        _rule(".m.rule.room.server_acl", [_is("type", "m.room.server_acl"), _is("state_key", "")], []),
        _rule(
            ".m.rule.suppress_edits",
            [{"kind": "event_property_is", "key": "content.m\\.relates_to.rel_type", "value": "m.replace"}],
            [],
        ),
    ]


def underride_rules() -> list[Rule]:
    """Return the predefined underride rules, in the order of their priority."""
    two = {"kind": "room_member_count", "is": "2"}
    return [
        _rule(
            ".m.rule.call",
            [_is("type", "m.call.invite")],
            ["notify", {"set_tweak": "sound", "value": "ring"}],
        ),
        _rule(".m.rule.encrypted_room_one_to_one", [two, _is("type", "m.room.encrypted")], ["notify", _SOUND]),
        _rule(".m.rule.room_one_to_one", [two, _is("type", "m.room.message")], ["notify", _SOUND]),
        _rule(".m.rule.message", [_is("type", "m.room.message")], ["notify"]),
        _rule(".m.rule.encrypted", [_is("type", "m.room.encrypted")], ["notify"]),
    ]


def default_rules(user_id: str) -> dict[str, list[Rule]]:
    """Return the whole predefined ruleset of a user, kind -> rules."""
    return {
        "override": [MASTER, *override_rules(user_id)],
        "content": [],
        "room": [],
        "sender": [],
        "underride": underride_rules(),
    }
