"""A Synapse for the whole run, and a server of ours on each engine for all tests of a process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.process import ServerProcess
from tests.support.synapse import Share, Synapse, free_port, synapse_python
from tests.synapse.sides import Side, agree_on_shared_rooms

SETTINGS = """
allow_federation = true
federation_ca_file = "{authority}"
ip_range_denylist = []
trusted_servers = []
enable_lightning_bolt = false
log = "info"
[global.rate_limits]
enabled = false
[[global.listeners]]
port = 0
[[global.listeners]]
port = {port}
certs = "{certs}"
key = "{key}"
"""


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def running_synapse(shared_folder: Path) -> Iterator[Synapse]:
    """The Synapse of this run."""
    if synapse_python() is None:
        pytest.skip("Synapse is not installed: make test-deps")
    share = Share(shared_folder)
    try:
        yield share.take()
    finally:
        share.give_back()


class OurServers:
    """Our servers of this process, each started when it is first needed, on a port that stays its own."""

    def __init__(self, synapse: Synapse, folder: Path) -> None:
        self._synapse = synapse
        self._folder = folder
        self._running: dict[str, ServerProcess] = {}

    def on(self, engine: str) -> ServerProcess:
        """Return the server with an engine."""
        if engine not in self._running:
            folder = self._folder / engine
            folder.mkdir()
            self._running[engine] = self.make(folder, engine)
            self._running[engine].start()
        return self._running[engine]

    def make(self, folder: Path, engine: str) -> ServerProcess:
        """Return a server that is not started yet."""
        port = free_port(self._synapse.folder / "claims")
        certs, key = self._synapse.authority.issue(f"ours-{port}", "127.0.0.1")
        settings = SETTINGS.format(authority=self._synapse.authority.file, port=port, certs=certs, key=key)
        return ServerProcess(folder, engine, settings, server_name=f"127.0.0.1:{port}")

    def stop(self) -> None:
        """End all; raise if one has logged an error."""
        running, self._running = self._running, {}
        for server in running.values():
            server.stop()


@pytest.fixture(scope="session")
def our_servers(running_synapse: Synapse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OurServers]:
    """Our servers of this process."""
    servers = OurServers(running_synapse, tmp_path_factory.mktemp("ours"))
    yield servers
    servers.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """The connections of a test."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield session


@pytest.fixture
def engine() -> str:
    """The engine of our side; tests that need both name them."""
    return "rocksdb"


@pytest.fixture
async def sides(
    running_synapse: Synapse, our_servers: OurServers, engine: str, session: aiohttp.ClientSession
) -> AsyncIterator[tuple[Side, Side]]:
    """Our side and Synapse, used beside other tests; in the end both have the same state of each room that they share."""
    process = our_servers.on(engine)
    with running_synapse.in_use():
        sides = (
            Side(process.server_name, process.url, session, is_ours=True),
            Side(running_synapse.server_name, running_synapse.url, session, is_ours=False),
        )
        yield sides
        await agree_on_shared_rooms(sides)


@pytest.fixture
def ours(sides: tuple[Side, Side]) -> Side:
    """Our side."""
    return sides[0]


@pytest.fixture
def synapse(sides: tuple[Side, Side]) -> Side:
    """Synapse, used beside other tests."""
    return sides[1]


@pytest.fixture(params=["ours", "synapse"])
def host(request: pytest.FixtureRequest, ours: Side, synapse: Side) -> Side:
    """The side where the room is made, each in turn."""
    return ours if request.param == "ours" else synapse


@pytest.fixture
def guest(host: Side, ours: Side, synapse: Side) -> Side:
    """The other side."""
    return synapse if host is ours else ours


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own configuration reaches a test."""
    for name in [name for name in os.environ if name.startswith("CONDUIT_")]:
        monkeypatch.delenv(name)
