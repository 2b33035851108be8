"""Step: accounts, their words in the user directory, their stored data in order of time, whose push rules are their own, and who ignores somebody."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from conduit.database import trees
from conduit.database.migrations.bulk import Bulk, server_name
from conduit.protocol.push.default_rules import default_rules
from conduit.protocol.push.ruleset import Ruleset

_WORD = re.compile(r"\w+")
_MAX_WORDS, _MAX_WORD_LENGTH = 20, 64
_REGEX = re.compile(r"^\s*-?\s*[\"']?regex[\"']?\s*:\s*[\"']?(.*?)[\"']?\s*$", re.MULTILINE)
_SENDER = re.compile(r"^\s*[\"']?sender_localpart[\"']?\s*:\s*[\"']?([^\s\"'#]+)", re.MULTILINE)


def run(bulk: Bulk) -> None:
    """Write what Conduit says of an account by leaving its password empty, or by the rooms that it is in."""
    home = server_name(bulk.db)
    if home is not None:
        services = _appservice_users(bulk, home)
        admins = _admins(bulk, home)
        for user_id, password in bulk.rows(trees.userid_password):
            if user_id.endswith(f":{home}"):
                _write_account(bulk, user_id, password, user_id in admins, services)
                bulk.count()
    _write_directory(bulk, home)
    for row, stored in bulk.rows(trees.roomuserdataid_accountdata):
        room_id, user_id, count, event_type = row
        if trees.roomusertype_roomuserdataid.get(bulk, (room_id, user_id, event_type)) != row:
            trees.roomuserdataid_accountdata.delete(bulk, row)  # replaced, and left behind by a crash
            continue
        trees.accountdata_stream.put(bulk, (user_id, count), (room_id, event_type))
        if not room_id and event_type in _NOTED:
            _NOTED[event_type](bulk, user_id, stored.get("content") if isinstance(stored, dict) else None)


def _write_account(bulk: Bulk, user_id: str, password: str, admin: bool, services: list[re.Pattern[str]]) -> None:
    if trees.account.has(bulk, user_id):
        return
    row: dict[str, Any] = {"kind": "user", "created_ts": 0, "admin": admin, "deactivated": False}
    if not password:
        if user_id.startswith("@conduit:"):
            row["kind"] = "server"
        elif any(pattern.fullmatch(user_id) for pattern in services):
            row["kind"] = "appservice"
        else:
            # Deactivating takes a user out of all rooms and ends all sessions.
            is_alive = trees.userroomid_joined.first(bulk, (user_id,)) or trees.userdeviceid_metadata.first(
                bulk, (user_id,)
            )
            row["deactivated"] = is_alive is None
    trees.account.put(bulk, user_id, row)


def _appservice_users(bulk: Bulk, home: str) -> list[re.Pattern[str]]:
    """Return patterns for the users of application services, read off the text of their registrations."""
    patterns = []
    for name, text in bulk.rows(trees.id_appserviceregistrations):
        found = [f"@{re.escape(sender)}:{re.escape(home)}" for sender in _SENDER.findall(text)]
        for pattern in [*found, *_REGEX.findall(text)]:
            if pattern.startswith("@"):
                try:
                    patterns.append(re.compile(pattern))
                except re.error as error:
                    bulk.skip(trees.id_appserviceregistrations, name.encode(), f"{pattern}: {error}")
    return patterns


def _admins(bulk: Bulk, home: str) -> set[str]:
    """Return the administrators: with Conduit, whoever is in the admin room."""
    room_id = trees.alias_roomid.get(bulk, "admins")
    if room_id is None:
        return set()
    members = {user_id for _, user_id in trees.roomuserid_joined.keys(bulk, (room_id,))}
    return {user_id for user_id in members if user_id.endswith(f":{home}") and not user_id.startswith("@conduit:")}


def _write_directory(bulk: Bulk, home: str | None) -> None:
    bulk.clear(trees.user_word)
    for user_id, _ in bulk.rows(trees.userid_password):
        if home is not None and user_id.endswith(f":{home}"):
            for word in words(user_id, trees.userid_displayname.get(bulk, user_id)):
                trees.user_word.put(bulk, (word, user_id), True)


def words(user_id: str, name: str | None) -> set[str]:
    """Return the lower-cased words by which a user is found: those of the localpart and of the display name."""
    localpart = user_id[1:].partition(":")[0].lower()
    found = [localpart, *_WORD.findall(localpart), *_WORD.findall((name or "").lower())]
    return {word[:_MAX_WORD_LENGTH] for word in found[:_MAX_WORDS] if word}


def _note_rules(bulk: Bulk, user_id: str, content: Any) -> None:
    ruleset = Ruleset.from_content(user_id, content if isinstance(content, dict) else None)
    if ruleset.rules == default_rules(user_id):
        trees.pushrules_own.delete(bulk, user_id)
    else:
        trees.pushrules_own.put(bulk, user_id, True)


def _note_ignoring(bulk: Bulk, user_id: str, content: Any) -> None:
    ignored = content.get("ignored_users") if isinstance(content, dict) else None
    if isinstance(ignored, dict) and ignored:
        trees.ignoring.put(bulk, user_id, True)
    else:
        trees.ignoring.delete(bulk, user_id)


_NOTED: dict[str, Callable[[Bulk, str, Any], None]] = {
    "m.push_rules": _note_rules,
    "m.ignored_user_list": _note_ignoring,
}
