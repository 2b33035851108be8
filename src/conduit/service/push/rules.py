"""Whose push rules differ from the predefined ones, and what a user's rules say.

Rules are the user's account data `m.push_rules`. Almost everybody has the predefined rules, about which `counting` knows what it needs; users with rules of their own
are listed in a tree, so that an event looks only at those of them who are in its room.
"""

from __future__ import annotations

from typing import Any

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.protocol.ids import UserId
from conduit.protocol.push.default_rules import Rule, default_rules
from conduit.protocol.push.ruleset import Ruleset
from conduit.service import account_data

TYPE = "m.push_rules"


def ruleset(source: CacheSource, user_id: UserId) -> Ruleset:
    """Return the user's rules, to be read or changed and put back by `put`."""
    return Ruleset.from_content(user_id, account_data.get(source, user_id, "", TYPE))


def content(source: CacheSource, user_id: UserId) -> dict[str, Any]:
    """Return the content of `m.push_rules`: also of who never changed a rule, and with all that is predefined today."""
    return ruleset(source, user_id).content()


def put(batch: Batch, user_id: UserId, changed: Ruleset) -> None:
    """Store the user's rules and let the user's devices know."""
    account_data.put(batch, user_id, "", TYPE, changed.content())
    if changed.rules == default_rules(user_id):
        trees.pushrules_own.delete(batch, user_id)
    else:
        trees.pushrules_own.put(batch, user_id, True)
    _with_own.forget(batch, "")
    _enabled.forget(batch, user_id)


def _load_with_own(source: CacheSource, _: str) -> frozenset[UserId]:
    return frozenset(UserId(user_id) for user_id in trees.pushrules_own.keys(source))


_with_own: Cached[str, frozenset[UserId]] = Cached(
    "users_with_own_rules", load=_load_with_own, weigh=lambda users: 200 + 120 * len(users)
)


def users_with_own(source: CacheSource) -> frozenset[UserId]:
    """Return the users whose rules are not the predefined ones."""
    return _with_own.get(source, "")


def _load_enabled(source: CacheSource, user_id: UserId) -> list[tuple[str, Rule]]:
    return list(ruleset(source, user_id).enabled())


_enabled: Cached[UserId, list[tuple[str, Rule]]] = Cached(
    "enabled_push_rules", load=_load_enabled, weigh=lambda rules: 600 * len(rules)
)


def enabled(source: CacheSource, user_id: UserId) -> list[tuple[str, Rule]]:
    """Return the user's rules in the order in which they are tried. Shared: do not change them."""
    return _enabled.get(source, user_id)
