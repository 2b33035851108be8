"""From a configuration to a running server: the one place where tests put it together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from conduit.api import listen
from conduit.api.app import App
from conduit.api.web import Route
from conduit.config.schema import Config, Listener
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES
from conduit.protocol.ids import ServerName
from conduit.protocol.signing import SigningKey
from conduit.service.context import Context
from conduit.service.locks import Locks
from conduit.service.media.files import MediaFiles
from conduit.service.presence import Presence
from conduit.service.rooms.typing import Typing
from conduit.service.users.passwords import Hasher
from conduit.utils.clock import Clock
from conduit.utils.tasks import Tasks

SEED = bytes(range(32))


@dataclass
class Running:
    """A running server."""

    ctx: Context
    app: App
    listening: listen.Listening
    url: str

    async def stop(self) -> None:
        """Stop it and close its database."""
        await self.listening.stop(5)
        await self.ctx.tasks.close()
        await self.ctx.db.close()


async def run(config: Config, clock: Clock, extra: Iterable[Iterable[Route]]) -> Running:
    """Start a server on a free port of the loopback address."""
    db = Database(MemoryEngine(TREE_NAMES))
    ctx = Context(
        config=config,
        server_name=ServerName(config.server_name),
        db=db,
        clock=clock,
        signing_key=SigningKey(SEED, "test"),
        locks=Locks(),
        typing=Typing(db=db, clock=clock, audience=lambda room_id: ()),
        presence=Presence(db=db, clock=clock, audience=lambda user_id: ()),
        media_files=MediaFiles(Path(config.database_path) / "media"),
        hasher=Hasher(time_cost=1, memory_kib=64),
        tasks=Tasks(),
    )
    app = App(ctx, [*_tables(), *extra])
    listening = await listen.start(app, [Listener(address="127.0.0.1", port=0)])
    return Running(ctx, app, listening, listening.addresses[0])


def _tables() -> Iterable[Iterable[Route]]:
    # While endpoint files are being written: take those that import.
    import importlib
    import pkgutil
    import sys

    import conduit.api.client

    for name in ["wellknown", *(f"client.{m.name}" for m in pkgutil.iter_modules(conduit.api.client.__path__))]:
        try:
            yield importlib.import_module(f"conduit.api.{name}").routes
        except Exception as error:
            print(f"conduit.api.{name} is left out: {error!r}", file=sys.stderr)
