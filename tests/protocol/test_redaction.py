from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.redaction import redact
from conduit.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from tests.protocol.room import every_version

OLD_KEYS = {
    "event_id",
    "type",
    "room_id",
    "sender",
    "state_key",
    "content",
    "hashes",
    "signatures",
    "depth",
    "prev_events",
    "prev_state",
    "auth_events",
    "origin",
    "origin_server_ts",
    "membership",
}
NEW_KEYS = OLD_KEYS - {"prev_state", "origin", "membership"}
OTHER_KEYS = {"unsigned", "redacts", "age_ts", "org.example"}

POWER = {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}

# By event type, the content keys kept since a version; an empty set where a version stopped keeping any.
CONTENT: dict[str, dict[int, set[str]]] = {
    "m.room.member": {1: {"membership"}, 9: {"membership", "join_authorised_via_users_server"}},
    "m.room.join_rules": {1: {"join_rule"}, 8: {"join_rule", "allow"}},
    "m.room.power_levels": {1: POWER, 11: POWER | {"invite"}},
    "m.room.aliases": {1: {"aliases"}, 6: set()},
    "m.room.history_visibility": {1: {"history_visibility"}},
    "m.room.redaction": {1: set(), 11: {"redacts"}},
    "m.room.message": {1: set()},
    "m.room.name": {1: set()},
}
EVERYTHING = set().union(*(keys for since in CONTENT.values() for keys in since.values())) | {
    "creator",
    "body",
    "name",
    "displayname",
    "notifications",
}


def _pdu(event_type: str, content: dict[str, Any]) -> dict[str, Any]:
    pdu: dict[str, Any] = {key: f"the {key}" for key in OLD_KEYS | OTHER_KEYS}
    return {**pdu, "type": event_type, "content": content}


@every_version()
def test_redact_keeps_the_protected_keys_of_the_event(version: RoomVersion) -> None:
    """Version 11 dropped three keys that had lost their meaning."""
    pruned = redact(_pdu("m.room.message", {"body": "gone"}), version)
    assert set(pruned) == (NEW_KEYS if int(version.id) >= 11 else OLD_KEYS)
    assert pruned["content"] == {}


@every_version()
@pytest.mark.parametrize("event_type", CONTENT)
def test_redact_keeps_the_protected_keys_of_the_content(version: RoomVersion, event_type: str) -> None:
    """The table of each version, key by key."""
    since = CONTENT[event_type]
    kept = since[max(first for first in since if first <= int(version.id))]
    pruned = redact(_pdu(event_type, dict.fromkeys(EVERYTHING, 1)), version)
    assert set(pruned["content"]) == kept


@every_version()
def test_redact_create_keeps_the_creator_and_since_11_everything(version: RoomVersion) -> None:
    """The room version itself is lost before version 11."""
    content = {"creator": "@a:one", "room_version": version.id, "type": "m.space"}
    kept = content if version.creator_is_sender else {"creator": "@a:one"}
    assert redact(_pdu("m.room.create", content), version)["content"] == kept


@pytest.mark.parametrize(
    ("third_party", "kept"),
    [({"signed": {"a": 1}, "display_name": "x"}, {"signed": {"a": 1}}), ({"display_name": "x"}, {}), ("text", None)],
)
def test_redact_member_keeps_the_signed_part_of_a_third_party_invite(third_party: Any, kept: Any) -> None:
    """From version 11 on, and only where it is an object."""
    content = {"membership": "invite", "third_party_invite": third_party}
    pruned = redact(_pdu("m.room.member", content), ROOM_VERSIONS["11"])["content"]
    assert pruned == (
        {"membership": "invite"} if kept is None else {"membership": "invite", "third_party_invite": kept}
    )
    assert redact(_pdu("m.room.member", content), ROOM_VERSIONS["10"])["content"] == {"membership": "invite"}


@every_version()
def test_redact_twice_changes_nothing_more(version: RoomVersion) -> None:
    """And the original is left as it was."""
    pdu = _pdu("m.room.power_levels", {"ban": 1, "body": 2})
    before = {**pdu, "content": dict(pdu["content"])}
    once = redact(pdu, version)
    assert redact(once, version) == once
    assert pdu == before
