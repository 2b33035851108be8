"""From a configuration to a running server, on a free port: the one place where tests put it together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from conduit import server
from conduit.api.web import Route
from conduit.config.schema import Config, Listener
from conduit.database.database import Database
from conduit.server import Server
from conduit.service.outbound.wire import Wire
from conduit.service.users import accounts
from conduit.service.users.passwords import Hasher
from conduit.utils.clock import Clock

LISTENERS = (Listener(address="127.0.0.1", port=0),)


async def run(
    config: Config,
    clock: Clock,
    more_routes: Iterable[Iterable[Route]],
    *,
    db: Database | None = None,
    first_is_admin: bool = False,
    wire: Wire | None = None,
) -> Server:
    """Start the server of `config`, on `db` if it is given. Hashing passwords is made cheap.

    Unless `first_is_admin`, the first account is one like any other, and so is not in the admin room.
    """
    if not config.listeners:
        config = replace(config, listeners=LISTENERS)
    built = server.build(
        config, clock=clock, db=db, hasher=Hasher(time_cost=1, memory_kib=64), more_routes=more_routes, wire=wire
    )
    await built.start()
    if not first_is_admin:
        with built.ctx.db.batch() as batch:
            accounts.take_first_token(batch)
    return built
