"""Registration. Source: client-server API, "Account registration"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.client.login import client_of, session_answer
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import Forbidden, InvalidParam, MissingParam
from conduit.protocol.ids import UserId, localpart_of
from conduit.service.actions import register as act
from conduit.service.admin import room as admin_room
from conduit.service.context import Context
from conduit.service.users import passwords, registration_tokens, tokens, uiaa

routes = Routes()


@routes.post("/_matrix/client/v3/register", auth=Auth.NONE)
async def register(ctx: Context, req: Request) -> Json:
    """Make an account. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register>."""
    body = req.json(optional=True)
    kind = req.query.text("kind", "user")
    if kind == "guest":
        return await _register_guest(ctx, req, body)
    if kind != "user":
        raise InvalidParam("'kind' must be 'user' or 'guest'")
    flows = registration_flows(ctx)
    if "auth" in body:
        req.charge(Limit.REGISTRATION)
    else:
        # Whatever would be refused afterwards is refused before the client goes through the stages.
        _user_id(ctx, body)
        if (password := _text(body, "password")) is not None:
            passwords.check_new(password)
    proof = await uiaa.require(ctx, req, flows=flows, remember=True)
    password = passwords.check_new(fields.text(proof.params, "password"))
    if proof.result is not None:
        # Who repeats a request that has made an account did not get its answer.
        return _answer(await act.register_again(ctx, proof, password, client_of(req, proof.params)))
    return await _register_user(ctx, req, proof, password)


@routes.get("/_matrix/client/v3/register/available", auth=Auth.NONE, limit=Limit.READ)
async def is_available(ctx: Context, req: Request) -> Json:
    """Tell whether a user name is free. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable>."""
    act.free_user_id(ctx.db, ctx.server_name, req.query.required("username"))
    return {"available": True}


@routes.get("/_matrix/client/v1/register/m.login.registration_token/validity", auth=Auth.NONE, limit=Limit.REGISTRATION)
async def is_token_valid(ctx: Context, req: Request) -> Json:
    """Tell whether a registration token can be used now. GET /register/m.login.registration_token/validity."""
    token = req.query.required("token")
    registration_flows(ctx)
    return {"valid": _is_valid(ctx, token)}


def registration_flows(ctx: Context) -> uiaa.Flows:
    """Return what somebody must prove to get an account. Raises `Forbidden` where nobody can make one.

    A token that an administrator has issued lets in even where registration is closed.
    """
    by_token = (uiaa.REGISTRATION_TOKEN,)
    if ctx.config.allow_registration and not ctx.config.registration_token:
        if registration_tokens.any_issued(ctx.db, ctx.clock.now_ms()):
            return ((uiaa.DUMMY,), by_token)
        return ((uiaa.DUMMY,),)
    if ctx.config.allow_registration or registration_tokens.any_issued(ctx.db, ctx.clock.now_ms()):
        return (by_token,)
    raise Forbidden("Registration is disabled on this server")


def _text(params: Json, name: str) -> str | None:
    return fields.text(params, name, None)


def _user_id(ctx: Context, params: Json) -> UserId:
    username = _text(params, "username")
    if (token := _text(params, "guest_access_token")) is not None:
        return _guest(ctx, token, username)
    if username is None:
        return act.random_user_id(ctx.db, ctx.server_name)
    return act.free_user_id(ctx.db, ctx.server_name, username)


def _guest(ctx: Context, token: str, username: str | None) -> UserId:
    """Return the guest who wants a full account. Source: "Guest Access": the user name must be given, and be the guest's own."""
    if username is None:
        raise MissingParam("Missing required field 'username'")
    guest = tokens.find(ctx.db, token)
    if guest is None or not guest.is_guest or guest.deactivated or guest.locked or guest.expired(ctx.clock.now_ms()):
        raise Forbidden("The token is not a guest's")
    if username.lower() != localpart_of(guest.user_id):
        raise Forbidden("A guest keeps their user name")
    return guest.user_id


async def _register_user(ctx: Context, req: Request, proof: uiaa.Proof, password: str) -> Json:
    params = proof.params
    wish = act.Wish(
        _user_id(ctx, params),
        password,
        upgrades=_text(params, "guest_access_token") is not None,
        token=proof.notes.get("registration_token"),
        is_local=req.is_local,
    )
    inhibited = fields.flag(params, "inhibit_login", False)
    client = client_of(req, params)
    registered = await act.register(ctx, wish, client=None if inhibited else client, proof=proof)
    if registered.is_first:
        await admin_room.welcome(ctx, registered.user_id)
    return _answer(registered)


def _answer(registered: act.Registered) -> Json:
    return session_answer(registered.session) if registered.session else {"user_id": registered.user_id}


def _is_valid(ctx: Context, token: str) -> bool:
    return registration_tokens.is_valid(
        ctx.db, token, configured=ctx.config.registration_token, now_ms=ctx.clock.now_ms()
    )


async def _register_guest(ctx: Context, req: Request, body: Json) -> Json:
    if not ctx.config.allow_guest_registration:
        raise Forbidden("Guests are not allowed on this server")
    req.charge(Limit.REGISTRATION)
    # All that a guest may choose is the name of the device.
    wish = act.Wish(act.random_user_id(ctx.db, ctx.server_name), kind="guest")
    client = client_of(req, {"initial_device_display_name": body.get("initial_device_display_name")})
    registered = await act.register(ctx, wish, client=client)
    assert registered.session is not None
    return session_answer(registered.session)
