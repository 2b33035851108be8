"""The wiring: from a configuration to a running homeserver, top to bottom. The only place that builds owners of state.

    server = build(config)
    await server.start()          # background tasks, listeners
    ...
    await server.stop()           # drains, flushes, closes

`run` is what the command line calls: it adds logs, signals, the banner and the way to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

import conduit
from conduit import logs
from conduit.api import listen, routes
from conduit.api.app import App
from conduit.api.web import Route
from conduit.config.load import ConfigError, Loaded
from conduit.config.reload import take_over
from conduit.config.schema import MB, Config
from conduit.database.database import Database
from conduit.database.errors import DiskFull, EngineFault
from conduit.database.open import open_database
from conduit.database.watch import Crowd, WakeKey
from conduit.protocol.ids import RoomId, ServerName, UserId
from conduit.service import identity, transactions
from conduit.service.actions import expel_guests, receive_presence, receive_receipts, receive_to_device
from conduit.service.admin import reports as admin_reports
from conduit.service.admin import room as admin_room
from conduit.service.admin import watch as admin_watch
from conduit.service.context import Context
from conduit.service.events import inbox, recover
from conduit.service.keys import device_updates, remote_devices
from conduit.service.locks import Locks
from conduit.service.media import retention
from conduit.service.media.files import MediaFiles
from conduit.service.outbound.build import outbound
from conduit.service.outbound.wire import Wire
from conduit.service.presence import Presence
from conduit.service.rooms import members
from conduit.service.rooms.typing import Typing
from conduit.service.sending import sender
from conduit.service.users import accounts, short_lived, uiaa
from conduit.service.users.passwords import Hasher
from conduit.utils import heap
from conduit.utils.clock import Clock, SystemClock
from conduit.utils.tasks import Tasks

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 10.0
"""How long requests under way may take to end when the server stops."""
SWEEP_SECONDS = 600.0
TRIM_SECONDS = 60.0
_CACHE_PART = 8
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_GARBAGE = (10_000, 3, 600)
"""How rarely the collector looks for cycles among new objects, not so new ones, and all. Python's 700 new objects would have it look hundreds of times a second under load, for
cycles that are rare here; a look at 40,000 objects, which is the most by the first two, takes 10 to 15 ms."""


class Server:
    """A built homeserver. `start` it, wait on `failed` or whatever else ends it, `stop` it."""

    def __init__(self, ctx: Context, app: App) -> None:
        self.ctx = ctx
        self.app = app
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Raises once the database or a background task has failed: the server must stop then."""
        self._listening: listen.Listening | None = None
        ctx.tasks.on_failure = self._fail
        ctx.db.on_fault = self._disk_failed

    @property
    def addresses(self) -> list[str]:
        """Where it listens, as URLs."""
        return self._listening.addresses if self._listening is not None else []

    async def start(self) -> None:
        """Start what runs in the background and open the listeners. Raises `CannotListen`."""
        ctx = self.ctx
        await admin_room.set_up(ctx)
        ctx.tasks.spawn(admin_watch.run(ctx), name="admin room")
        ctx.tasks.spawn(admin_reports.run(ctx), name="reports")
        ctx.tasks.spawn(ctx.typing.run(), name="typing")
        ctx.tasks.spawn(ctx.presence.run(), name="presence")
        ctx.tasks.spawn(retention.run(ctx), name="media")
        ctx.tasks.spawn(recover.run(ctx), name="rooms under way")
        ctx.tasks.spawn(_sweep(ctx), name="sweep")
        remote_devices.resume(ctx)
        ctx.tasks.spawn(device_updates.run(ctx), name="device lists")
        ctx.tasks.spawn(inbox.run(ctx), name="inbox")
        ctx.tasks.spawn(sender.run(ctx), name="sender")
        ctx.tasks.spawn(receive_presence.run(ctx), name="presence of strangers")
        ctx.tasks.spawn(receive_receipts.run(ctx), name="receipts")
        ctx.tasks.spawn(expel_guests.run(ctx), name="guests")
        ctx.tasks.spawn(receive_to_device.run(ctx), name="to-device messages")
        ctx.tasks.spawn(ctx.outbound.keyring.known.run(), name="keys of servers")
        self._listening = await listen.start(self.app, ctx.config.effective_listeners)

    async def stop(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Answer what is under way, end what runs in the background, write everything out and close."""
        ctx = self.ctx
        if self._listening is not None:
            await self._listening.stop(drain_seconds)
        await ctx.tasks.close()
        await ctx.outbound.close()
        ctx.hasher.close()
        ctx.media_files.close()
        try:
            await ctx.db.close()
        except Exception as error:
            # After a failure the first cause is what counts, and it is known to whoever stops the server.
            if not self.failed.done():
                raise
            log.error("not_closed", error=str(error))
        if self.failed.done():
            self.failed.exception()

    def reload(self, config: Config) -> None:
        """Take over what may change while the server runs, and read the certificates anew. The rest waits for a restart, and is logged."""
        reloaded = take_over(self.ctx.config, config)
        # The context is frozen for everybody but its builder: handlers read their settings from it at each request.
        object.__setattr__(self.ctx, "config", reloaded.config)
        taken = reloaded.config
        self.ctx.outbound.policy.configure(
            enabled=taken.allow_federation,
            allowed=taken.federation_allowed_servers,
            denied=taken.federation_denied_servers,
        )
        if "rate_limits" in reloaded.taken:
            self.app.limits.configure(reloaded.config.rate_limits)
        if self._listening is not None:
            try:
                self._listening.reload_certificates()
            except listen.CannotListen as error:
                log.error("certificates_not_reloaded", error=str(error))
        logs.notice(__name__, "reloaded", changed=list(reloaded.taken), after_restart=list(reloaded.waiting))

    def _disk_failed(self, error: BaseException) -> None:
        # Whatever the engine's own library raised, what it means is this.
        self._fail(error if isinstance(error, EngineFault) else EngineFault(str(error)))

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)


def build(
    config: Config,
    *,
    clock: Clock | None = None,
    db: Database | None = None,
    hasher: Hasher | None = None,
    more_routes: Iterable[Iterable[Route]] = (),
    wire: Wire | None = None,
) -> Server:
    """Open the database, unless `db` is given, and put the server of `config` together.

    Called inside the loop that is to run it. Raises what opening a database raises (`conduit.database.errors`); then nothing stays open.
    """
    clock = clock or SystemClock()
    server_name = ServerName(config.server_name)
    db = db or _open_database(config)
    try:
        identity.settle_server_name(db, server_name)

        def see_room(room_id: RoomId) -> Iterable[Crowd]:
            return members.crowds(db, room_id, server_name)

        def see_user(user_id: UserId) -> Iterable[tuple[WakeKey, Iterable[Crowd]]]:
            yield ("user", user_id), ()
            for room_id in members.rooms(db, user_id):
                yield ("sight", room_id), members.crowds(db, room_id, server_name)

        structure = config.media.directory_structure
        ctx = Context(
            config=config,
            server_name=server_name,
            db=db,
            clock=clock,
            locks=Locks(),
            typing=Typing(db=db, clock=clock, audience=see_room),
            presence=Presence(db=db, clock=clock, audience=see_user),
            media_files=MediaFiles(config.media_path, length=structure.length, depth=structure.depth),
            hasher=hasher or Hasher(),
            outbound=outbound(
                config,
                db=db,
                clock=clock,
                signing_key=identity.signing_key(db),
                old_keys=identity.old_keys(db),
                wire=wire,
            ),
            tasks=Tasks(),
        )
        return Server(ctx, App(ctx, [*routes.tables(), *more_routes], outages=(DiskFull, EngineFault)))
    except BaseException:
        db.close_now()
        raise


def _open_database(config: Config) -> Database:
    return open_database(
        config.database_path,
        config.database_backend,
        cache_bytes=cache_bytes(config, memory_bytes()),
        own_factor=config.conduit_cache_capacity_modifier,
        max_open_files=config.rocksdb_max_open_files,
        fsync=config.durability == "fsync",
    )


def cache_bytes(config: Config, memory: int) -> int:
    """Return what all caches together may take on a machine with `memory` bytes: what is configured, at most an eighth."""
    return min(int(config.db_cache_capacity_mb * MB), memory // _CACHE_PART)


def memory_bytes() -> int:
    """Return the memory that this process may use: the machine's, or what its container is limited to."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        memory = min(memory, int(_CGROUP_LIMIT.read_text()))
    return memory


async def _sweep(ctx: Context) -> None:
    """Forget what has run out: answers kept for repeated requests, sessions, short-lived tokens. Runs until cancelled."""
    while True:
        now_ms = ctx.clock.now_ms()
        await transactions.sweep(ctx.db, now_ms=now_ms)
        with ctx.db.batch() as batch:
            short_lived.sweep(batch, now_ms)
            uiaa.sweep(batch, now_ms)
        await ctx.clock.sleep(SWEEP_SECONDS)


def run(loaded: Loaded, load_again: Callable[[], Loaded]) -> None:
    """Serve until SIGTERM or SIGINT. SIGHUP takes over what `load_again` returns.

    Raises what `build` and `Server.start` raise; and, once everything is closed, what has made the server fail.
    """
    import uvloop

    heap.set_up()
    logs.set_up(loaded.config.log, loaded.config.log_format)
    for warning in loaded.warnings:
        log.warning("configuration", warning=warning)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(loaded, load_again))


async def _give_memory_back(ctx: Context) -> None:
    """Return memory that is free to the system now and then. Runs until cancelled."""
    while True:
        heap.trim()
        await ctx.clock.sleep(TRIM_SECONDS)


def look_rarely_for_garbage() -> None:
    """Take what is alive, and so lives for good, out of the collector's sight, and let it look for cycles rarely from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE)


async def _serve(loaded: Loaded, load_again: Callable[[], Loaded]) -> None:
    server = build(loaded.config)
    stop = asyncio.Event()
    try:
        _on_signals(server, stop, load_again)
        await server.start()
        _announce(server, loaded)
        look_rarely_for_garbage()
        server.ctx.tasks.spawn(_give_memory_back(server.ctx), name="memory")
        tell_service_manager("READY=1")
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((stopping, server.failed), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        tell_service_manager("STOPPING=1")
    finally:
        await server.stop()
    if server.failed.done():
        server.failed.result()
    log.info("stopped")


def _on_signals(server: Server, stop: asyncio.Event, load_again: Callable[[], Loaded]) -> None:
    loop = asyncio.get_running_loop()

    def end() -> None:
        # Whoever asks a second time does not want to wait: then the signal does what it does by itself.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        stop.set()

    def reload() -> None:
        try:
            loaded = load_again()
        except ConfigError as error:
            log.error("not_reloaded", faults=error.faults)
            return
        for warning in loaded.warnings:
            log.warning("configuration", warning=warning)
        logs.set_up(loaded.config.log, server.ctx.config.log_format)
        server.reload(loaded.config)

    loop.add_signal_handler(signal.SIGTERM, end)
    loop.add_signal_handler(signal.SIGINT, end)
    loop.add_signal_handler(signal.SIGHUP, reload)


def tell_service_manager(state: str) -> None:
    """Tell systemd how we are, if it wants to know (`Type=notify`)."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect("\0" + path[1:] if path.startswith("@") else path)
        channel.send(state.encode())


_BANNER = """\

  Conduit-py {version}, a Matrix homeserver

    {url}

  Nothing is configured, so this is a place to try it: only this machine can reach it, anybody here can make
  an account, and it does not talk with other servers. The first account becomes the administrator.

  What next?
    - Open a Matrix client, for example Element, choose "{url}" as the homeserver, and make an account.
    - To serve others, copy conduit.toml.example to conduit.toml, set server_name and database_path, and run
      conduit --config conduit.toml

  Data: {data}
  Stop it with Ctrl+C.
"""


def _announce(server: Server, loaded: Loaded) -> None:
    config = loaded.config
    if loaded.embedded:
        url = server.addresses[0]
        print(_BANNER.format(version=conduit.__version__, url=url, data=config.database_path), flush=True)
        return
    logs.notice(
        __name__, "listening", addresses=server.addresses, server_name=config.server_name, version=conduit.__version__
    )
    token = accounts.first_token(server.ctx.db)
    if token is not None:
        logs.notice(
            __name__,
            "first_start",
            registration_token=token,
            hint="the account that registers with this token becomes the administrator",
        )
