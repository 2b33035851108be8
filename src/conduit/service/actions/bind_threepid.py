"""Binding third-party identifiers to users at identity servers, and unbinding them.

Source: client-server API, "Adding Account Administrative Contact Information"; identity service API, "Establishing associations".
"""

from __future__ import annotations

import asyncio

import structlog

from conduit.protocol.errors import MatrixError
from conduit.protocol.ids import UserId
from conduit.protocol.threepids import ThreePid
from conduit.service.context import Context
from conduit.service.outbound.errors import RemoteError, as_client_error
from conduit.service.outbound.identity_server import IdentityServer
from conduit.service.users import threepids
from conduit.service.users.threepids import Binding

log = structlog.get_logger(__name__)


async def bind(ctx: Context, user_id: UserId, server: IdentityServer, *, sid: str, client_secret: str) -> None:
    """Have the identity server publish that the user has what the session there has validated. Raises what it says."""
    try:
        threepid = await server.bind(user_id, sid, client_secret)
    except RemoteError as error:
        raise as_client_error(error) from error
    with ctx.db.batch() as batch:
        threepids.remember(batch, user_id, Binding(threepid, server.name), ctx.clock.now_ms())


async def unbind(ctx: Context, user_id: UserId, threepid: ThreePid, id_server: str | None = None) -> bool:
    """Have an identifier unbound where `id_server` says, else wherever the user has bound it, and tell whether that was done everywhere.

    `False` if that is nowhere, or a server does not do that. Raises what a server says.
    """
    if id_server is not None:
        servers = [id_server]
    else:
        servers = [known.server for known in threepids.bindings(ctx.db, user_id) if known.threepid == threepid]
    done = [await _unbind(ctx, user_id, Binding(threepid, server)) for server in servers]
    return bool(done) and all(done)


async def unbind_all(ctx: Context, user_id: UserId, id_server: str | None = None) -> bool:
    """Have all that the user has bound unbound, at `id_server` if that is given, and tell whether it was done everywhere."""

    async def one(binding: Binding) -> bool:
        try:
            return await _unbind(ctx, user_id, binding)
        except MatrixError as error:
            log.warning("not_unbound", user_id=user_id, id_server=binding.server, reason=error.error)
            return False

    known = threepids.bindings(ctx.db, user_id)
    wanted = [known_one._replace(server=id_server) if id_server else known_one for known_one in known]
    return all(await asyncio.gather(*(one(binding) for binding in dict.fromkeys(wanted))))


async def _unbind(ctx: Context, user_id: UserId, binding: Binding) -> bool:
    server = IdentityServer(ctx.outbound.http, binding.server)
    try:
        done = await server.unbind(ctx.outbound.federation, user_id, binding.threepid)
    except RemoteError as error:
        raise as_client_error(error) from error
    with ctx.db.batch() as batch:
        # Who does not unbind will not do so the next time either.
        threepids.forget(batch, user_id, binding)
    return done
