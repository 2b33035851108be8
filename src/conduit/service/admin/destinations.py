"""The servers that this one sends to: how each is, what waits for it, and trying again now."""

from __future__ import annotations

from dataclasses import dataclass

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.protocol.errors import NotFound
from conduit.protocol.ids import ServerName
from conduit.service.context import Context
from conduit.service.outbound.backoff import Failing
from conduit.service.rooms import members
from conduit.service.sending import queue, transaction


@dataclass(frozen=True, slots=True)
class Destination:
    """A server and what waits for it."""

    server: ServerName
    rooms: int
    """Rooms shared with it."""
    events: int
    """Events that wait; for a server that is behind, rooms of which it will get the newest."""
    edus: int
    is_behind: bool
    """Whether it was out of reach for so long that it gets the newest event of each room only."""
    in_flight_since: int | None
    """When the transaction under way was made, in ms; `None` if there is none."""
    failing: Failing | None

    @property
    def state(self) -> str:
        """One word: `idle`, `sending`, `failing` or `behind`."""
        if self.failing is not None:
            return "behind" if self.is_behind else "failing"
        return "sending" if self.events or self.edus or self.in_flight_since is not None else "idle"


def find(ctx: Context, server: ServerName) -> Destination:
    """Return what is known of a destination. Raises `NotFound` for a server with which nothing is shared and for which nothing waits."""
    found = _destination(ctx, server)
    if found.state == "idle" and not found.rooms:
        raise NotFound(f"Nothing is sent to {server}")
    return found


def busy(ctx: Context) -> list[Destination]:
    """Return the destinations that fail or for which something waits, by name."""
    names = {*queue.destinations(ctx.db), *map(ServerName, ctx.outbound.backoff.all_failing())}
    return [each for each in (_destination(ctx, name) for name in sorted(names)) if each.state != "idle"]


def every(ctx: Context) -> list[Destination]:
    """Return all servers with which rooms are shared, and those that `busy` names, by name."""
    names = {*_servers(ctx.db), *queue.destinations(ctx.db), *map(ServerName, ctx.outbound.backoff.all_failing())}
    return [_destination(ctx, name) for name in sorted(names - {ctx.server_name})]


def retry(ctx: Context, server: ServerName) -> bool:
    """Let a server that fails be tried again now; tell whether it does fail."""
    if ctx.outbound.backoff.failing(server) is None:
        return False
    ctx.outbound.backoff.succeeded(server)
    return True


def retry_all(ctx: Context) -> int:
    """Let every server that fails be tried again now; return how many these are."""
    return sum(retry(ctx, ServerName(server)) for server in ctx.outbound.backoff.all_failing())


def _destination(ctx: Context, server: ServerName) -> Destination:
    events, edus = queue.lengths(ctx.db, server)
    under_way = transaction.in_flight(ctx.db, server)
    return Destination(
        server,
        len(members.rooms_of_server(ctx.db, server)),
        events,
        edus,
        queue.is_behind(ctx.db, server),
        None if under_way is None else under_way.ts,
        ctx.outbound.backoff.failing(server),
    )


def _servers(source: CacheSource) -> set[ServerName]:
    found: set[ServerName] = set()
    row = trees.serverroomids.first(source)
    while row is not None:
        server = row[0][0]
        found.add(ServerName(server))
        row = trees.serverroomids.first(source, after=server)
    return found
