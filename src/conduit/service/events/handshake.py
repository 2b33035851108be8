"""Getting a membership event into a room that this server is not in, through a server that is: its template, and our event.

The other server's template is not trusted. The event is built here; what is taken from the template is only where the event stands in the
room (the events that it cites, its depth), the room's version, and who vouches for a restricted join.

Source: server-server API, "Joining Rooms", "Knocking upon a room", "Leaving Rooms"; CVE-2026-24471.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import structlog

from conduit.protocol.canonical_json import MAX_INTEGER
from conduit.protocol.errors import (
    BadStatus,
    IncompatibleRoomVersion,
    MatrixError,
    NotFound,
    UnsupportedRoomVersion,
)
from conduit.protocol.event_format import MAX_AUTH_EVENTS, MAX_PREV_EVENTS, check_format
from conduit.protocol.ids import RoomId, ServerName, UserId, is_user_id
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import SUPPORTED, RoomVersion, room_version
from conduit.service.context import Context
from conduit.service.events.build import finish
from conduit.service.outbound.errors import Refused, RemoteError, Unreachable, as_client_error

log = structlog.get_logger(__name__)

T = TypeVar("T")

MAX_SERVERS = 12
"""How many servers are tried for one wish of a client."""
TEMPLATE_SECONDS = 30.0
_MAX_TEMPLATE = 1 << 20
_VOUCHER = "join_authorised_via_users_server"
_OWN_FAULTS = frozenset({"M_MISSING_PARAM", "M_INVALID_PARAM", "M_BAD_JSON", "M_NOT_JSON", "M_UNRECOGNIZED"})
"""What another server says of a request that this one has made wrongly: no word for clients."""


class Template(NamedTuple):
    """Where a membership event is to stand in the room, by the word of `server`."""

    server: ServerName
    version: RoomVersion
    prev_events: list[Any]
    auth_events: list[Any]
    depth: int
    voucher: UserId | None


async def ask(ctx: Context, server: ServerName, membership: str, room_id: RoomId, user_id: UserId) -> Template:
    """Return what `make_join`, `make_leave` or `make_knock` of `server` has to say.

    Raises a `RemoteError` (a template for anything but what was asked for counts as no answer), and `IncompatibleRoomVersion`.
    """
    federation = ctx.outbound.federation
    target = federation.path(f"/_matrix/federation/v1/make_{membership}", room_id, user_id)
    query = None if membership == "leave" else {"ver": list(SUPPORTED)}
    try:
        answer = await federation.get(
            server, target, query, seconds=TEMPLATE_SECONDS, max_bytes=_MAX_TEMPLATE, now=True
        )
    except Refused as refused:
        if refused.errcode == "M_INCOMPATIBLE_ROOM_VERSION":
            raise _incompatible(refused.body.get("room_version")) from refused
        raise
    return _read(server, answer, membership, room_id, user_id)


def _incompatible(version: object) -> IncompatibleRoomVersion:
    error = IncompatibleRoomVersion("This server does not speak the version of that room")
    if isinstance(version, str):
        error.extra["room_version"] = version
    return error


def _read(server: ServerName, answer: dict[str, Any], membership: str, room_id: RoomId, user_id: UserId) -> Template:
    event = answer.get("event")
    named = answer.get("room_version", _likely_version(event))
    try:
        version = room_version(named)
    except UnsupportedRoomVersion as error:
        raise _incompatible(named) from error
    content = event.get("content") if isinstance(event, dict) else None
    if not isinstance(event, dict) or not isinstance(content, dict):
        raise Unreachable(server, "its template is no event")
    expected = {"type": "m.room.member", "room_id": room_id, "sender": user_id, "state_key": user_id}
    if any(event.get(name) != value for name, value in expected.items()) or content.get("membership") != membership:
        raise Unreachable(server, "its template is not for what it was asked for")
    depth = event.get("depth")
    voucher = content.get(_VOUCHER)
    if membership != "join" or not version.restricted_joins or not is_user_id(voucher):
        voucher = None
    return Template(
        server,
        version,
        _references(server, event.get("prev_events"), version, MAX_PREV_EVENTS),
        _references(server, event.get("auth_events"), version, MAX_AUTH_EVENTS),
        min(max(depth, 1), MAX_INTEGER) if type(depth) is int else 1,
        None if voucher is None else UserId(str(voucher)),
    )


def _likely_version(event: object) -> str:
    """Return the version of a template that does not say it: the first that cites events as it does. The room's create event decides in the end."""
    cited = event.get("prev_events") if isinstance(event, dict) else None
    ids = [one for one in cited if isinstance(one, str)] if isinstance(cited, list) else []
    if not ids:
        return "1"
    return "3" if any("+" in one or "/" in one for one in ids) else "4"


def _references(server: ServerName, cited: object, version: RoomVersion, bound: int) -> list[Any]:
    """Return references to events, reduced to what a reference may hold; that they are ids is checked with the event."""
    if not isinstance(cited, list) or len(cited) > bound:
        raise Unreachable(server, "its template cites no events, or too many")
    if version.event_ids_are_hashes:
        return cited
    references = []
    for pair in cited:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], dict):
            raise Unreachable(server, "its template cites something that is no event")
        digest = pair[1].get("sha256")
        references.append([pair[0], {"sha256": digest} if isinstance(digest, str) else {}])
    return references


def build(ctx: Context, template: Template, room_id: RoomId, user_id: UserId, content: dict[str, Any]) -> Event:
    """Return our signed membership event at the place that the template names. `content` has been checked and has the membership.

    Raises `Unreachable` when the template's references are none, `TooLarge` for content that no event can hold.
    """
    if template.voucher is not None:
        content = {**content, _VOUCHER: template.voucher}
    pdu: dict[str, Any] = {
        "auth_events": template.auth_events,
        "content": content,
        "depth": template.depth,
        "origin_server_ts": ctx.clock.now_ms(),
        "prev_events": template.prev_events,
        "room_id": room_id,
        "sender": user_id,
        "state_key": user_id,
        "type": "m.room.member",
    }
    try:
        # Before it is signed too: what is cited may be anything yet.
        probe = {**pdu, "hashes": {"sha256": ""}, "signatures": {}}
        if not template.version.event_ids_are_hashes:
            probe["event_id"] = f"$probe:{ctx.server_name}"
        check_format(probe, template.version)
    except MatrixError as error:
        raise Unreachable(template.server, f"its template makes no event: {error.error}") from error
    return finish(ctx, pdu, template.version)


async def in_turn(
    ctx: Context,
    servers: Iterable[ServerName],
    attempt: Callable[[ServerName], Awaitable[T]],
    *,
    nobody: str,
    failures: list[RemoteError] | None = None,
) -> T:
    """Return the result of the first server with which `attempt` succeeds. Why others did not help is added to `failures`.

    Raises the most telling of their refusals in words for a client, `NotFound(nobody)` if there is no server to ask, and at once what
    no other server would change: `IncompatibleRoomVersion` and every other `MatrixError` that `attempt` raises.
    """
    errors: list[RemoteError] = [] if failures is None else failures
    for server in candidates(ctx, servers):
        try:
            return await attempt(server)
        except RemoteError as error:
            log.info("server_did_not_help", server=server, reason=error.reason)
            errors.append(error)
    if not errors:
        raise NotFound(nobody)
    raise verdict(errors)


def candidates(ctx: Context, servers: Iterable[ServerName]) -> list[ServerName]:
    """Return whom to ask, in the order given, but those that do not answer at present last: each once, never this server itself, not too many."""
    others = [server for server in dict.fromkeys(servers) if server != ctx.server_name]
    return sorted(others, key=lambda server: not ctx.outbound.backoff.may_try(server))[:MAX_SERVERS]


def verdict(errors: list[RemoteError]) -> MatrixError:
    """Return what a client is told when all servers have failed: the most telling refusal."""
    worst = max(errors, key=_weight)  # the first of those that weigh most
    if isinstance(worst, Refused) and worst.errcode in _OWN_FAULTS:
        return BadStatus(f"{worst.server} did not understand this server")
    return as_client_error(worst)


def _weight(error: RemoteError) -> int:
    if not isinstance(error, Refused):
        return 0
    if error.status == 404 or error.errcode in _OWN_FAULTS:
        return 1
    return 3 if error.status == 403 else 2
