"""The admin room and @conduit, who keeps it. As in Conduit the room has the alias `#admins` and is made at the first start.

    await room.set_up(ctx)          # at every start, before the server takes requests
    ctx.tasks.spawn(watch.run(ctx)) # answers what administrators write

Administrators are those whose account says so; the room follows. (In a directory of Conduit's it is the other way round once: whoever is in the room becomes one.)
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

import structlog

from conduit.database.cache import CacheSource
from conduit.protocol.errors import MatrixError
from conduit.protocol.ids import EventId, RoomAlias, RoomId, ServerName, UserId
from conduit.service import events
from conduit.service.actions import change_profile, create_room, deactivate
from conduit.service.actions.invite import invite
from conduit.service.actions.join import join
from conduit.service.actions.leave import leave
from conduit.service.actions.log_in import end_sessions, server_user
from conduit.service.context import Context
from conduit.service.rooms import aliases, members, state
from conduit.service.users import accounts, devices, profiles
from conduit.utils.tokens import random_text

log = structlog.get_logger(__name__)

ADMIN_LEVEL = 100
FIRST_TOKEN_LENGTH = 16
_CODE = re.compile(r"`([^`\n]+)`")

_WELCOME = """\
Welcome to {server}. This account is the administrator's: it was the first one made here.

This room is the console of the server. Write `@conduit help` to see what can be done, \
for example `@conduit create-user alice` or `@conduit create-registration-token`."""


def alias_of(server_name: ServerName) -> RoomAlias:
    """Return the alias of the admin room."""
    return RoomAlias(f"#admins:{server_name}")


def room_id(source: CacheSource, server_name: ServerName) -> RoomId | None:
    """Return the admin room, or `None` before it is made."""
    return aliases.room_of(source, alias_of(server_name))


async def set_up(ctx: Context) -> None:
    """Make ready for requests: @conduit, the admin room, the first account's token; and go on with deeds that a stop has cut off."""
    first_account_token(ctx)
    await ensure(ctx)
    change_profile.resume(ctx)
    deactivate.resume(ctx)


async def ensure(ctx: Context) -> None:
    """Make @conduit and the admin room if they are missing, and let the room have exactly the administrators in it."""
    conduit = server_user(ctx)
    _ensure_account(ctx, conduit)
    known = room_id(ctx.db, ctx.server_name)
    if known is None:
        known = _create(ctx, conduit)
    humans = [user_id for user_id in accounts.admins(ctx.db) if user_id != conduit]
    if not humans:
        humans = _adopt(ctx, conduit, known)
    for user_id in humans:
        if not members.is_joined(ctx.db, known, user_id):
            await admit(ctx, user_id)


def first_account_token(ctx: Context) -> str | None:
    """Return the one-time token with which the first administrator can register, made at the first start.

    `None` once somebody has an account here, whether administrator or not.
    """
    token = accounts.first_token(ctx.db)
    if token is not None:
        return token
    conduit = server_user(ctx)
    if any(user_id != conduit for user_id in accounts.local_users(ctx.db, ctx.server_name)):
        return None
    token = random_text(FIRST_TOKEN_LENGTH)
    with ctx.db.batch() as batch:
        accounts.offer_first_token(batch, token)
    return token


async def welcome(ctx: Context, user_id: UserId) -> None:
    """Let the first administrator in, and say so."""
    await admit(ctx, user_id)
    await say(ctx, _WELCOME.format(server=ctx.server_name))


async def admit(ctx: Context, user_id: UserId) -> None:
    """Bring an administrator into the room, with the power to run it. Raises what inviting and joining do."""
    conduit = server_user(ctx)
    room = room_id(ctx.db, ctx.server_name)
    if room is None:
        # A server that was started without its admin room.
        _ensure_account(ctx, conduit)
        room = _create(ctx, conduit)
    if not members.is_joined(ctx.db, room, user_id):
        await invite(ctx, conduit, room, user_id)
        await join(ctx, user_id, room)
    await _set_level(ctx, room, user_id, ADMIN_LEVEL)


async def make_admin(ctx: Context, user_id: UserId) -> None:
    """Make the user an administrator and bring them into the admin room."""
    with ctx.db.batch() as batch:
        accounts.update(batch, user_id, admin=True)
    await admit(ctx, user_id)


async def remove_admin(ctx: Context, user_id: UserId) -> None:
    """Take an administrator's rights, and their place in the admin room."""
    with ctx.db.batch() as batch:
        accounts.update(batch, user_id, admin=False)
    room = room_id(ctx.db, ctx.server_name)
    if room is not None and members.is_joined(ctx.db, room, user_id):
        await _set_level(ctx, room, user_id, None)
        await leave(ctx, user_id, room)


async def say(ctx: Context, text: str, *, reply_to: EventId | None = None) -> None:
    """Let @conduit write into the admin room. `code` in backquotes is set as such; a block of lines in ``` is kept as it is."""
    room = room_id(ctx.db, ctx.server_name)
    if room is None:
        return
    content: dict[str, Any] = {
        "msgtype": "m.notice",
        "body": text,
        "format": "org.matrix.custom.html",
        "formatted_body": as_html(text),
    }
    if reply_to is not None:
        content["m.relates_to"] = {"m.in_reply_to": {"event_id": reply_to}}
    await events.send(ctx, room, server_user(ctx), "m.room.message", content)


def as_html(text: str) -> str:
    """Return `text` with its few marks as HTML, everything else escaped."""
    blocks = []
    for index, block in enumerate(escape(text, quote=False).split("```")):
        if index % 2:
            blocks.append(f"<pre><code>{block.strip()}</code></pre>")
            continue
        blocks.append(_CODE.sub(r"<code>\1</code>", block.strip("\n")).replace("\n", "<br>"))
    return "".join(blocks)


def _ensure_account(ctx: Context, conduit: UserId) -> None:
    with ctx.db.batch() as batch:
        if accounts.get(batch, conduit) is None:
            accounts.create(batch, conduit, "", kind="server", now_ms=ctx.clock.now_ms(), admin=True)
            profiles.set_displayname(batch, conduit, "conduit")
        if not accounts.is_admin(batch, conduit):
            accounts.update(batch, conduit, admin=True)
        if accounts.password_hash(batch, conduit):
            # Conduit stores the emergency password; here it is only ever compared with the configuration.
            accounts.set_password(batch, conduit, "")
        if not ctx.config.emergency_password:
            end_sessions(batch, conduit, devices.ids(batch, conduit))


def _create(ctx: Context, conduit: UserId) -> RoomId:
    wish = create_room.Wish(
        preset="private_chat",
        alias=alias_of(ctx.server_name),
        name=f"{ctx.server_name} admin room",
        topic=f"Manage {ctx.server_name}: write `@conduit help`",
        creation_content={"m.federate": False},
        initial_state=(create_room.Piece("m.room.guest_access", "", {"guest_access": "forbidden"}),),
        power_levels={"invite": ADMIN_LEVEL},
    )
    return create_room.create_room(ctx, conduit, wish)


def _adopt(ctx: Context, conduit: UserId, room: RoomId) -> list[UserId]:
    found = [user for user in members.joined_local(ctx.db, room, ctx.server_name) if user != conduit]
    with ctx.db.batch() as batch:
        for user_id in found:
            if accounts.is_active(batch, user_id):
                accounts.update(batch, user_id, admin=True)
    return found


async def _set_level(ctx: Context, room: RoomId, user_id: UserId, level: int | None) -> None:
    current = state.current(ctx.db, room, "m.room.power_levels")
    content = dict(current.content) if current is not None else {}
    users = dict(content.get("users", {}))
    if users.get(user_id) == level:
        return
    if level is None:
        users.pop(user_id, None)
    else:
        users[user_id] = level
    try:
        await events.send(ctx, room, server_user(ctx), "m.room.power_levels", {**content, "users": users}, state_key="")
    except MatrixError as error:
        # In a room that people have made their own @conduit may have lost the right.
        log.warning("admin_power_not_set", user_id=user_id, error=error.error)
