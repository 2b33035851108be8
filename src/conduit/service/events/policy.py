"""Policy servers: a room may name a server that must sign every event for it to be wanted there.

The signature is no matter of authorisation: every server takes an event without it into the room's graph. But whose user sends does not send without it, and who
receives such an event does not show it (soft failure).

Source: server-server API, "Policy Servers"; client-server API, "Policy Servers".
"""

from __future__ import annotations

from typing import Final, NamedTuple

from conduit.database.cache import CacheSource
from conduit.protocol.errors import Forbidden, MatrixError
from conduit.protocol.hashes import essential_bytes
from conduit.protocol.ids import RoomId, ServerName, is_server_name
from conduit.protocol.pdu import Event
from conduit.protocol.signing import signature_of, verify_bytes, with_signature
from conduit.service.context import Context
from conduit.service.outbound.errors import RemoteError, as_client_error
from conduit.service.rooms import members, state

TYPE: Final = "m.room.policy"
KEY_ID: Final = "ed25519:policy_server"
"""The id under which every policy server signs; the key itself stands in the room's state."""
SECONDS: Final = 10.0
"""How long a policy server is waited for."""
_MAX_ANSWER: Final = 64 * 1024


class Policy(NamedTuple):
    """A room's policy server, and the key (Base64) with which it signs."""

    server: ServerName
    public_key: str


def of_room(source: CacheSource, room_id: RoomId) -> Policy | None:
    """Return the room's policy server; `None` if it has none, or names one that is not in the room."""
    event = state.current(source, room_id, TYPE)
    if event is None:
        return None
    server, keys = event.content.get("via"), event.content.get("public_keys")
    key = keys.get("ed25519") if isinstance(keys, dict) else None
    if not isinstance(server, str) or not isinstance(key, str) or not is_server_name(server):
        return None
    if not members.has_server(source, room_id, server):
        return None
    return Policy(ServerName(server), key)


def is_exempt(event_type: str, state_key: str | None) -> bool:
    """Tell whether an event needs no signature: the one that names the policy server."""
    return event_type == TYPE and state_key == ""


def is_signed(event: Event, policy: Policy) -> bool:
    """Tell whether the event carries the policy server's valid signature."""
    signature = signature_of(event.pdu, policy.server, KEY_ID)
    return signature is not None and verify_bytes(
        essential_bytes(event.pdu, event.version), signature, policy.public_key
    )


async def ask(ctx: Context, policy: Policy, event: Event, *, now: bool = True) -> Event:
    """Return the event with the policy server's signature. No room lock is held meanwhile.

    With `now` it is asked even if it has failed to answer other requests: a policy server need not take any but these.

    Raises what a client is told: the refusal of the policy server in its own words, or that it cannot be reached; `Forbidden` for a signature that is none.
    """
    if policy.server == ctx.server_name:
        raise Forbidden("The room's policy server is this server, which is none")
    try:
        answer = await ctx.outbound.federation.post(
            policy.server, "/_matrix/policy/v1/sign", event.pdu, seconds=SECONDS, max_bytes=_MAX_ANSWER, now=now
        )
    except RemoteError as error:
        raise as_client_error(error) from error
    signature = signature_of({"signatures": answer}, policy.server, KEY_ID)
    if signature is None:
        raise Forbidden("The room's policy server did not sign the event")
    signatures = with_signature(event.pdu.get("signatures"), policy.server, KEY_ID, signature)
    signed = Event(event.event_id, {**event.pdu, "signatures": signatures}, event.version)
    if not is_signed(signed, policy):
        raise Forbidden("The signature of the room's policy server is wrong")
    return signed


async def require(ctx: Context, event: Event) -> Event:
    """Return an event of a local user with the signature of its room's policy server, if that has one; raises what `ask` does."""
    policy = None if is_exempt(event.type, event.state_key) else of_room(ctx.db, event.room_id)
    return event if policy is None or is_signed(event, policy) else await ask(ctx, policy, event)


async def approve(ctx: Context, event: Event) -> tuple[Event, str]:
    """Return an event of another server, with the signature of its room's policy server if one had to be asked for, and why it is not wanted in the room; empty if it is."""
    if is_exempt(event.type, event.state_key):
        return event, ""
    policy = of_room(ctx.db, event.room_id)
    if policy is None or is_signed(event, policy):
        return event, ""
    # It may have signed with a key that the room has replaced since.
    try:
        return await ask(ctx, policy, event, now=False), ""
    except MatrixError as error:
        return event, f"The room's policy server does not approve of it: {error.error}"
