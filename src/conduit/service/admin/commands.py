"""What administrators can tell @conduit to do. A command is a function with a name; its docstring is its help.

The names are Conduit's where Conduit has the command.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import conduit
from conduit.database import trees
from conduit.protocol.errors import InvalidParam, NotFound
from conduit.protocol.ids import RoomId, UserId, parse_room_id, parse_server_name
from conduit.service import identity
from conduit.service.actions import change_password, log_in, register
from conduit.service.actions.deactivate import deactivate
from conduit.service.admin import destinations, room
from conduit.service.context import Context
from conduit.service.rooms import members, state, timeline
from conduit.service.users import accounts, devices, identifiers, profiles, registration_tokens
from conduit.utils.tokens import random_text

MAX_LIST_LENGTH = 20_000
"""Characters of a list; a longer one is cut, and says so: an event holds 64 KiB, and each answer twice."""
NEW_PASSWORD_LENGTH = 20
_HOUR_MS = 3_600_000

Arguments = list[str]
Function = Callable[[Context, UserId, Arguments], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what may be given with it, and what it does."""

    name: str
    arguments: str
    low: int
    high: int
    function: Function

    @property
    def help(self) -> str:
        """One line about it."""
        doc = (self.function.__doc__ or "").strip().splitlines()[0]
        return f"{self.name} {self.arguments}".strip() + f" - {doc}"


COMMANDS: dict[str, Command] = {}


def command(name: str, arguments: str = "", *also: str) -> Callable[[Function], Function]:
    """Declare a command. `arguments` is shown as help and counted: `<x>` must be given, `[x]` may be. `also` are further names."""
    parts = arguments.split()
    low = sum(part.startswith("<") for part in parts)

    def declare(function: Function) -> Function:
        for each in (name, *also):
            COMMANDS[each] = Command(name, arguments, low, len(parts), function)
        return function

    return declare


async def execute(ctx: Context, sender: UserId, line: str) -> str:
    """Do what `line` says in the name of an administrator and return the answer. Raises `MatrixError` for what cannot be done."""
    try:
        words = shlex.split(line.split("\n")[0])
    except ValueError as error:
        raise InvalidParam(f"The quotes do not match ({error})") from error
    if not words:
        return await _help(ctx, sender, [])
    found = COMMANDS.get(words[0].lower())
    if found is None:
        return f"There is no command `{words[0]}`. Write `@conduit help` for those there are."
    arguments = words[1:]
    if not found.low <= len(arguments) <= found.high:
        return f"Usage: `@conduit {found.name} {found.arguments}`"
    return await found.function(ctx, sender, arguments)


# --- about commands and the server ---------------------------------------------------------------------------------


@command("help", "[command]")
async def _help(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Show what can be done."""
    if arguments:
        found = COMMANDS.get(arguments[0])
        return f"`{found.help}`" if found else f"There is no command `{arguments[0]}`."
    lines = sorted({found.help for found in COMMANDS.values()})
    return "Write `@conduit` and one of these:\n```\n" + "\n".join(lines) + "\n```"


@command("server-info")
async def _server_info(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Show version, settings and sizes of this server."""
    humans = [user for user in accounts.local_users(ctx.db, ctx.server_name) if accounts.is_active(ctx.db, user)]
    facts = {
        "server name": ctx.server_name,
        "version": conduit.__version__,
        "database": ctx.config.database_backend,
        "users": len(humans),
        "rooms": sum(1 for _ in _rooms(ctx)),
        "registration": "open" if ctx.config.allow_registration else "closed",
        "default room version": ctx.config.default_room_version,
    }
    return _block(f"{name}: {value}" for name, value in facts.items())


@command("rotate-signing-key")
async def _rotate_signing_key(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Sign with a new key from now on; the old one stays known to others."""
    former = ctx.signing_key
    key = identity.rotate_signing_key(ctx.db, ctx.clock.now_ms())
    ctx.outbound.own_keys.change(key, identity.old_keys(ctx.db))
    return f"{ctx.server_name} signs with {key.key_id}; {former.key_id} is published as an old key"


# --- users ---------------------------------------------------------------------------------------------------------


@command("list-users", "", "list-local-users")
async def _list_users(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """List the accounts of this server."""
    return _block(_with_marks(ctx, user_id) for user_id in accounts.local_users(ctx.db, ctx.server_name))


@command("user-info", "<user>")
async def _user_info(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Show what is known of an account."""
    user_id = _user(ctx, arguments[0])
    account = accounts.get(ctx.db, user_id)
    assert account is not None
    facts = [
        _with_marks(ctx, user_id),
        f"name: {profiles.displayname(ctx.db, user_id) or '-'}",
        f"made: {_time(account.created_ts)}",
        f"rooms: {len(members.rooms(ctx.db, user_id))}",
    ]
    for device in devices.list_all(ctx.db, user_id):
        seen = f"{_time(device.get('last_seen_ts', 0))} from {device.get('last_seen_ip', '-')}"
        facts.append(f"device {device['device_id']} ({device.get('display_name', '-')}): {seen}")
    return _block(facts)


@command("create-user", "<name> [password]")
async def _create_user(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Make an account; without a password one is drawn and shown."""
    user_id = register.free_user_id(ctx.db, ctx.server_name, _localpart(ctx, arguments[0]))
    password = arguments[1] if len(arguments) > 1 else random_text(NEW_PASSWORD_LENGTH)
    await register.register(ctx, register.Wish(user_id, password))
    return f"Made {user_id} with the password `{password}`"


@command("reset-password", "<user> [password]")
async def _reset_password(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Give a user a new password and end all their sessions."""
    user_id = _user(ctx, arguments[0])
    if not accounts.is_active(ctx.db, user_id) or user_id == log_in.server_user(ctx):
        raise InvalidParam("Nobody can log in to that account")
    password = arguments[1] if len(arguments) > 1 else random_text(NEW_PASSWORD_LENGTH)
    await change_password.change_password(ctx, user_id, password, keep_device=None, end_others=True)
    return f"The password of {user_id} is now `{password}`"


@command("deactivate-user", "<user> [--erase]")
async def _deactivate_user(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """End an account for good: it leaves all rooms; with --erase newcomers do not see its messages."""
    user_id = _other_user(ctx, sender, arguments[0])
    if len(arguments) > 1 and arguments[1] != "--erase":
        raise InvalidParam("The only option is --erase")
    await deactivate(ctx, user_id, erase=len(arguments) > 1)
    return f"{user_id} is deactivated"


@command("make-admin", "<user>", "make-user-admin")
async def _make_admin(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Make a user an administrator and bring them into this room."""
    user_id = _user(ctx, arguments[0])
    if not accounts.is_active(ctx.db, user_id) or accounts.is_guest(ctx.db, user_id):
        raise InvalidParam("Only an active account of a person can administrate")
    await room.make_admin(ctx, user_id)
    return f"{user_id} is an administrator"


@command("remove-admin", "<user>")
async def _remove_admin(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Make an administrator an ordinary user."""
    user_id = _other_user(ctx, sender, arguments[0])
    await room.remove_admin(ctx, user_id)
    return f"{user_id} is no administrator any more"


@command("lock-user", "<user>")
async def _lock_user(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Shut a user out until unlocked; sessions and keys are kept."""
    return _set_flag(ctx, _other_user(ctx, sender, arguments[0]), "locked", True)


@command("unlock-user", "<user>")
async def _unlock_user(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Let a locked user in again."""
    return _set_flag(ctx, _user(ctx, arguments[0]), "locked", False)


@command("suspend-user", "<user>")
async def _suspend_user(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Let a user read, but neither write nor join."""
    return _set_flag(ctx, _other_user(ctx, sender, arguments[0]), "suspended", True)


@command("unsuspend-user", "<user>")
async def _unsuspend_user(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Let a suspended user write again."""
    return _set_flag(ctx, _user(ctx, arguments[0]), "suspended", False)


# --- registration tokens -------------------------------------------------------------------------------------------


@command("create-registration-token", "[uses] [hours]")
async def _create_token(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Issue a token to register with; it is good for so many accounts and hours (0: without limit)."""
    uses = _number(arguments[0]) if arguments else 1
    hours = _number(arguments[1]) if len(arguments) > 1 else 0
    expires_at = ctx.clock.now_ms() + hours * _HOUR_MS if hours else None
    with ctx.db.batch() as batch:
        token = registration_tokens.create(batch, uses_allowed=uses or None, expires_at=expires_at)
    return f"The token is `{token}`"


@command("list-registration-tokens")
async def _list_tokens(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """List the tokens that were issued, and how often each was used."""
    lines = []
    for token, row in registration_tokens.issued(ctx.db):
        uses = f"used {row.get('completed', 0)} of {row.get('uses_allowed', 'any number of')} times"
        lines.append(f"{token}: {uses}, until {_time(row['expires_at']) if 'expires_at' in row else 'withdrawn'}")
    return _block(lines)


@command("delete-registration-token", "<token>")
async def _delete_token(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Withdraw a registration token."""
    with ctx.db.batch() as batch:
        if not registration_tokens.delete(batch, arguments[0]):
            raise NotFound("There is no such token")
    return "The token is withdrawn"


# --- rooms ---------------------------------------------------------------------------------------------------------


@command("list-rooms")
async def _list_rooms(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """List the rooms that this server knows, with their members and names."""
    lines = []
    for room_id in _rooms(ctx):
        name = state.current(ctx.db, room_id, "m.room.name")
        shown = name.content.get("name", "") if name is not None else ""
        lines.append(f"{room_id}\tmembers: {members.joined_count(ctx.db, room_id)}\t{shown}")
    return _block(lines)


@command("room-info", "<room>")
async def _room_info(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Show who is in a room."""
    room_id = parse_room_id(arguments[0])
    last = timeline.last_position(ctx.db, room_id)
    facts = [f"room version: {state.version_of(ctx.db, room_id).id}", f"last event: {last.token() if last else '-'}"]
    return _block([*facts, *sorted(members.joined(ctx.db, room_id))])


# --- other servers -------------------------------------------------------------------------------------------------


@command("list-destinations", "[--all]")
async def _list_destinations(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """List the servers that fail or for which something waits; with --all every server that rooms are shared with."""
    if arguments and arguments[0] != "--all":
        raise InvalidParam("The only option is --all")
    found = destinations.every(ctx) if arguments else destinations.busy(ctx)
    return _block(f"{each.server}\t{each.state}\tevents: {each.events}\tEDUs: {each.edus}" for each in found)


@command("destination-info", "<server>")
async def _destination_info(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Show how sending to a server goes."""
    found = destinations.find(ctx, parse_server_name(arguments[0]))
    facts = [
        f"state: {found.state}",
        f"rooms: {found.rooms}",
        f"{'rooms to catch up' if found.is_behind else 'events that wait'}: {found.events}",
        f"EDUs that wait: {found.edus}",
        f"transaction under way since: {_time(found.in_flight_since or 0)}",
    ]
    if found.failing is not None:
        facts += [
            f"failures: {found.failing.failures} since {_time(found.failing.since)}",
            f"last reason: {found.failing.reason}",
            f"next try: {_time(found.failing.retry_at)}",
        ]
    return _block(facts)


@command("retry-destination", "<server>")
async def _retry_destination(ctx: Context, sender: UserId, arguments: Arguments) -> str:
    """Try a server that fails again now, or all of them with --all in place of a name."""
    if arguments[0] == "--all":
        return f"Servers that are tried again: {destinations.retry_all(ctx)}"
    server = parse_server_name(arguments[0])
    return f"{server} is tried again" if destinations.retry(ctx, server) else f"{server} does not fail"


# --- helpers -------------------------------------------------------------------------------------------------------


def _user(ctx: Context, name: str) -> UserId:
    user_id = identifiers.local_user(ctx.db, ctx.server_name, name)
    if user_id is None or not accounts.exists(ctx.db, user_id):
        raise NotFound(f"There is no user {name} here")
    return user_id


def _other_user(ctx: Context, sender: UserId, name: str) -> UserId:
    user_id = _user(ctx, name)
    if user_id in (sender, log_in.server_user(ctx)):
        raise InvalidParam("Not to yourself, and not to @conduit")
    return user_id


def _rooms(ctx: Context) -> Iterator[RoomId]:
    for room_id in trees.roomid_shortroomid.keys(ctx.db):
        if state.exists(ctx.db, RoomId(room_id)):
            yield RoomId(room_id)


def _localpart(ctx: Context, name: str) -> str:
    return name.removeprefix("@").removesuffix(f":{ctx.server_name}")


def _set_flag(ctx: Context, user_id: UserId, flag: str, value: bool) -> str:
    with ctx.db.batch() as batch:
        accounts.update(batch, user_id, **{flag: value})
    return _with_marks(ctx, user_id)


def _with_marks(ctx: Context, user_id: UserId) -> str:
    account = accounts.get(ctx.db, user_id)
    if account is None:
        return user_id
    marks = [name for name in ("admin", "deactivated", "locked", "suspended") if getattr(account, name)]
    if account.kind != "user":
        marks.insert(0, account.kind)
    return f"{user_id} ({', '.join(marks)})" if marks else user_id


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidParam(f"{text} is not a number")
    return int(text)


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC") if at_ms else "-"


def _block(lines: Iterable[str]) -> str:
    shown: list[str] = []
    length = 0
    for line in lines:
        length += len(line) + 1
        if length > MAX_LIST_LENGTH:
            shown.append("...")
            break
        shown.append(line)
    return "```\n" + "\n".join(shown) + "\n```" if shown else "There are none."
