import socket
from dataclasses import replace
from pathlib import Path

import pytest

from conduit import server
from conduit.config.schema import MB, Config, Listener, Rate, RateLimits
from conduit.database import trees
from conduit.database.errors import EngineFault, Foreign
from conduit.database.open import open_database
from conduit.server import Server
from conduit.service.users import accounts
from conduit.service.users.passwords import Hasher
from tests.support.clock import ManualClock, settle
from tests.support.homeserver import Homeserver, serve


def settings(directory: Path, backend: str = "memory", **changes: object) -> Config:
    """Return a configuration that listens on a free port."""
    listeners = (Listener(port=0),)
    return Config.for_tests(database_path=directory, database_backend=backend, listeners=listeners, **changes)


def build(config: Config, clock: ManualClock | None = None) -> Server:
    """Return a server with cheap passwords."""
    return server.build(config, clock=clock or ManualClock(), hasher=Hasher(time_cost=1, memory_kib=64))


async def test_server_answers_on_every_engine_and_remembers(engine_name: str, tmp_path: Path) -> None:
    """Built, started, used, stopped, and again on the same directory."""
    async with serve(engine=engine_name, directory=tmp_path) as hs:
        alice = await hs.register("alice")
        assert (await alice.get("/account/whoami"))["user_id"] == "@alice:localhost"
        if engine_name != "memory":
            await hs.restart()
            assert (await alice.get("/account/whoami"))["user_id"] == "@alice:localhost"


async def test_first_start_waits_for_an_administrator(tmp_path: Path) -> None:
    """@conduit exists, and a token is ready, before the first request is answered."""
    built = build(settings(tmp_path))
    await built.start()
    try:
        assert accounts.exists(built.ctx.db, "@conduit:localhost")
        assert accounts.first_token(built.ctx.db)
        assert built.addresses[0].startswith("http://127.0.0.1:")
    finally:
        await built.stop()


async def test_failed_build_leaves_the_directory_free(tmp_path: Path) -> None:
    """After a refusal somebody else can open the database."""
    await build(settings(tmp_path, "lmdb")).stop()
    with pytest.raises(Foreign):
        build(settings(tmp_path, "lmdb", server_name="other.example"))
    open_database(tmp_path, "lmdb").close_now()


async def test_failure_of_a_background_task_fails_the_server(tmp_path: Path) -> None:
    """Nothing goes on with half of what it needs."""
    built = build(settings(tmp_path))

    async def broken() -> None:
        raise RuntimeError("broken")

    built.ctx.tasks.spawn(broken(), name="broken")
    with pytest.raises(RuntimeError, match="broken"):
        await built.failed
    await built.stop()


async def test_failure_of_the_disk_fails_the_server(tmp_path: Path) -> None:
    """The process is to end when the engine cannot write."""
    built = build(settings(tmp_path, "lmdb"))
    built.ctx.db.on_fault(EngineFault("the disk is gone"))
    with pytest.raises(EngineFault, match="the disk is gone"):
        await built.failed
    await built.stop()


async def test_reload_takes_rates_and_registration_over(hs: Homeserver) -> None:
    """The next request is held to the new settings."""
    alice = await hs.register("alice")
    await alice.get("/account/whoami")
    limits = RateLimits(login=Rate(per_second=0.001, burst=1))
    hs.running.reload(replace(hs.ctx.config, allow_registration=False, rate_limits=limits, port=1))
    assert (hs.ctx.config.allow_registration, hs.ctx.config.port) == (False, 6167)
    await hs.client().post("/register", {}, expect=403)
    await hs.client().post("/login", {"type": "m.login.none"}, expect=400)
    await hs.client().post("/login", {"type": "m.login.none"}, expect=429)


async def test_what_has_run_out_is_swept(tmp_path: Path) -> None:
    """Answers kept for repeated requests go a day later, whether or not anybody repeats them."""
    clock = ManualClock()
    async with serve(clock=clock) as hs:
        alice = await hs.register("alice")
        room_id = await alice.create_room()
        await alice.put(f"/rooms/{room_id}/send/m.room.message/1", {"body": "hello", "msgtype": "m.text"})
        db = hs.ctx.db
        assert list(trees.transaction.keys(db))
        clock.jump(2 * 86_400)
        await settle()
        assert not list(trees.transaction.keys(db))


@pytest.mark.parametrize(
    ("configured", "memory", "expected"),
    [(300.0, 64_000 * MB, 300 * MB), (300.0, 1000 * MB, 125 * MB), (50.0, 1000 * MB, 50 * MB)],
)
def test_caches_take_at_most_an_eighth_of_the_memory(configured: float, memory: int, expected: int) -> None:
    """A small machine is not eaten by its caches."""
    assert server.cache_bytes(Config.for_tests(db_cache_capacity_mb=configured), memory) == expected


def test_memory_of_the_machine_is_known() -> None:
    """At least what this test needs, at most what there is."""
    assert 64 * MB < server.memory_bytes() < 2**50


def test_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol of systemd: a datagram on the socket that it names; without one nothing happens."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    server.tell_service_manager("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        server.tell_service_manager("READY=1")
        assert manager.recv(100) == b"READY=1"


async def test_directory_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The signing key, password hashes and all messages are in it."""
    built = build(settings(tmp_path / "data", "rocksdb"))
    await built.stop()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
