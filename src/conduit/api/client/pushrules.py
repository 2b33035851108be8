"""Push rules. Source: client-server API, "Push Rules: API"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Limit, Reply, Routes
from conduit.protocol.errors import InvalidParam
from conduit.service.actions import change_push_rules as action
from conduit.service.context import Context
from conduit.service.push import rules

routes = Routes()

_RULE = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}"
_ANY = "/_matrix/client/v3/pushrules/{rest:path}"


@routes.get("/_matrix/client/v3/pushrules/")
async def get_all(ctx: Context, req: Request) -> Json:
    """Return all rules. GET /pushrules/."""
    return rules.ruleset(ctx.db, req.user_id).content()


@routes.get("/_matrix/client/v3/pushrules/global/")
async def get_global(ctx: Context, req: Request) -> Reply:
    """Return the global rules. GET /pushrules/global/."""
    return Reply(rules.ruleset(ctx.db, req.user_id).rules)


@routes.get("/_matrix/client/v3/pushrules/global/{kind}/")
async def get_kind(ctx: Context, req: Request) -> Reply:
    """Return the rules of one kind, in their order: a part of what `get_global` returns, which Synapse serves too."""
    return Reply(rules.ruleset(ctx.db, req.user_id).of_kind(req.params["kind"]))


@routes.get(_RULE)
async def get_rule(ctx: Context, req: Request) -> Reply:
    """Return one rule. GET /pushrules/global/{kind}/{ruleId}."""
    return Reply(rules.ruleset(ctx.db, req.user_id).find(req.params["kind"], req.params["ruleId"]))


@routes.put(_RULE, limit=Limit.CHATTY)
async def put_rule(ctx: Context, req: Request) -> Json:
    """Add or replace a rule. PUT /pushrules/global/{kind}/{ruleId}."""
    await action.put_rule(
        ctx,
        req.user_id,
        req.params["kind"],
        req.params["ruleId"],
        req.json(),
        before=req.query.text("before"),
        after=req.query.text("after"),
    )
    return {}


@routes.delete(_RULE, limit=Limit.CHATTY)
async def delete_rule(ctx: Context, req: Request) -> Json:
    """Remove a rule. DELETE /pushrules/global/{kind}/{ruleId}."""
    await action.delete_rule(ctx, req.user_id, req.params["kind"], req.params["ruleId"])
    return {}


@routes.get(_RULE + "/enabled")
async def get_enabled(ctx: Context, req: Request) -> Json:
    """Tell whether a rule is switched on. GET /pushrules/global/{kind}/{ruleId}/enabled."""
    rule = rules.ruleset(ctx.db, req.user_id).find(req.params["kind"], req.params["ruleId"])
    return {"enabled": rule.get("enabled", True)}


@routes.put(_RULE + "/enabled", limit=Limit.CHATTY)
async def set_enabled(ctx: Context, req: Request) -> Json:
    """Switch a rule on or off. PUT /pushrules/global/{kind}/{ruleId}/enabled."""
    enabled = fields.flag(req.json(), "enabled")
    await action.set_enabled(ctx, req.user_id, req.params["kind"], req.params["ruleId"], enabled)
    return {}


@routes.get(_RULE + "/actions")
async def get_actions(ctx: Context, req: Request) -> Json:
    """Return what a rule does. GET /pushrules/global/{kind}/{ruleId}/actions."""
    rule = rules.ruleset(ctx.db, req.user_id).find(req.params["kind"], req.params["ruleId"])
    return {"actions": rule["actions"]}


@routes.put(_RULE + "/actions", limit=Limit.CHATTY)
async def set_actions(ctx: Context, req: Request) -> Json:
    """Replace what a rule does. PUT /pushrules/global/{kind}/{ruleId}/actions."""
    actions = fields.array(req.json(), "actions")
    await action.set_actions(ctx, req.user_id, req.params["kind"], req.params["ruleId"], actions)
    return {}


@routes.get(_ANY)
@routes.put(_ANY)
@routes.delete(_ANY)
async def refuse(ctx: Context, req: Request) -> Json:
    """Say that a path below /pushrules/ names no rule: until r0 the scope was a parameter, and what is told of a rule is one yet.

    Clients that make such a path have it from a wrong value, so they are told that, and not that this server knows nothing of push rules.
    """
    raise InvalidParam("The path must name the scope 'global', a kind, a rule, and 'enabled' or 'actions' if anything")
