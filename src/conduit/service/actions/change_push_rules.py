"""Change push rules. Source: client-server API, "Push Rules: API"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit.protocol.ids import UserId
from conduit.protocol.push.ruleset import parse_actions, parse_rule
from conduit.service.context import Context
from conduit.service.push import rules


async def put_rule(
    ctx: Context,
    user_id: UserId,
    kind: str,
    rule_id: str,
    body: Mapping[str, Any],
    *,
    before: str | None,
    after: str | None,
) -> None:
    """Add or replace a rule of the user. Raises `InvalidParam`, `BadJson`, `BadRequest`."""
    rule = parse_rule(kind, rule_id, body)
    with ctx.db.batch() as batch:
        changed = rules.ruleset(batch, user_id)
        changed.put(kind, rule, before=before, after=after)
        rules.put(batch, user_id, changed)


async def delete_rule(ctx: Context, user_id: UserId, kind: str, rule_id: str) -> None:
    """Remove a rule of the user. Raises `NotFound`, `InvalidParam`."""
    with ctx.db.batch() as batch:
        changed = rules.ruleset(batch, user_id)
        changed.remove(kind, rule_id)
        rules.put(batch, user_id, changed)


async def set_enabled(ctx: Context, user_id: UserId, kind: str, rule_id: str, enabled: bool) -> None:
    """Switch a rule on or off. Raises `NotFound`, `InvalidParam`."""
    with ctx.db.batch() as batch:
        changed = rules.ruleset(batch, user_id)
        changed.find(kind, rule_id)["enabled"] = enabled
        rules.put(batch, user_id, changed)


async def set_actions(ctx: Context, user_id: UserId, kind: str, rule_id: str, actions: Any) -> None:
    """Replace what a rule does. Raises `NotFound`, `InvalidParam`, `BadJson`."""
    parsed = parse_actions(actions)
    with ctx.db.batch() as batch:
        changed = rules.ruleset(batch, user_id)
        changed.find(kind, rule_id)["actions"] = parsed
        rules.put(batch, user_id, changed)
