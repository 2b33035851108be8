"""The servers that are measured: how each is set up, started, watched and stopped.

Each runs as one process on one core, with its data in a directory of its own, limits lifted and everything else as it comes. The load runs on the other core.
"""

from __future__ import annotations

import asyncio
import compileall
import os
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

import psutil

from benches.http import Connection

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 120.0


def free_port() -> int:
    """Return a port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Peer(ABC):
    """A server that can be started again and again on the same data."""

    name: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir(parents=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return what to execute."""

    def environment(self) -> dict[str, str]:
        """Return variables to be set."""
        return {}

    async def start(self, core: int | None) -> float:
        """Start the server and return the seconds until its first answer."""
        started = time.perf_counter()
        with (self.directory / "log").open("ab") as log:
            # Starting a process takes a moment, and nothing else runs meanwhile.
            self._process = subprocess.Popen(  # noqa: ASYNC220
                self.command(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment()},
                cwd=self.directory,
                preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
            )
        while time.perf_counter() - started < START_SECONDS:
            if self._process.poll() is not None:
                break
            connection = Connection(self.url)
            try:
                if (await connection.request("GET", "/_matrix/client/versions")).status == 200:
                    return time.perf_counter() - started
            except OSError:
                await asyncio.sleep(0.005)
            finally:
                await connection.close()
        raise RuntimeError(f"{self.name} does not start: see {self.directory / 'log'}")

    async def stop(self) -> None:
        """End the server in order."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, 30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _processes(self) -> list[psutil.Process]:
        assert self._process is not None
        main = psutil.Process(self._process.pid)
        return [main, *main.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far, helpers included; to the microsecond, where `times` counts in hundredths of a second."""
        used = 0
        for process in self._processes():
            for schedstat in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
                used += int(schedstat.read_text().split()[0])
        return used / 1e9

    def memory_mb(self) -> float:
        """Return the resident memory in MB, helpers included."""
        return sum(process.memory_info().rss for process in self._processes()) / 1e6


class Conduit(Peer):
    """The server of this checkout."""

    def __init__(self, directory: Path, engine: str) -> None:
        super().__init__(directory)
        # As the other server is, which pip has compiled: the environment may forbid Python to keep what it compiles.
        compileall.compile_dir(ROOT / "src", quiet=1)
        self.name = f"conduit-{engine}"
        self._config = directory / "conduit.toml"
        self._config.write_text(
            f"""
[global]
server_name = "localhost"
address = "127.0.0.1"
port = {self.port}
database_backend = "{engine}"
database_path = "{directory / "data"}"
allow_registration = true
allow_federation = false
max_request_size = 50_000_000
log = "warn"
[global.rate_limits]
enabled = false
"""
        )

    def command(self) -> list[str]:
        """Return what to execute."""
        return [sys.executable, "-m", "conduit"]

    def environment(self) -> dict[str, str]:
        """Return variables to be set."""
        return {"CONDUIT_CONFIG": str(self._config), "PYTHONPATH": str(ROOT / "src")}


def synapse_python() -> Path:
    """Return a Python that has Synapse: of `SYNAPSE_PYTHON`, else of the virtual environment that the tests use too."""
    if "SYNAPSE_PYTHON" in os.environ:
        return Path(os.environ["SYNAPSE_PYTHON"])
    subprocess.run([ROOT / "scripts" / "synapse-venv"], check=True)
    return ROOT / ".venv-synapse" / "bin" / "python"


_RATE = "{per_second: 100000, burst_count: 100000}"


class Synapse(Peer):
    """Synapse with SQLite and its defaults, its limits lifted."""

    name = "synapse"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._python = synapse_python()
        subprocess.run(
            [
                *(self._python, "-m", "synapse.app.homeserver", "--generate-config", "--report-stats=no"),
                *("--server-name", "localhost", "-c", directory / "homeserver.yaml", "--data-directory", directory),
            ],
            check=True,
            cwd=directory,
            capture_output=True,
        )
        self._overrides = directory / "overrides.yaml"
        self.configure(bcrypt_rounds=12)

    def configure(self, *, bcrypt_rounds: int) -> None:
        """Write what differs from the defaults; `bcrypt_rounds` is lowered only while users are made that are not measured."""
        limits = "\n".join(
            f"{name}: {_RATE}"
            for name in (
                *("rc_message", "rc_registration", "rc_admin_redaction", "rc_room_creation", "rc_media_create"),
                *("rc_3pid_validation", "rc_presence_per_user"),
            )
        )
        self._overrides.write_text(
            f"""
listeners:
  - {{port: {self.port}, type: http, bind_addresses: ["127.0.0.1"], resources: [{{names: [client], compress: false}}]}}
enable_registration: true
enable_registration_without_verification: true
bcrypt_rounds: {bcrypt_rounds}
trusted_key_servers: []
{limits}
rc_login: {{address: {_RATE}, account: {_RATE}, failed_attempts: {_RATE}}}
rc_joins: {{local: {_RATE}, remote: {_RATE}}}
rc_joins_per_room: {_RATE}
rc_invites: {{per_room: {_RATE}, per_user: {_RATE}, per_issuer: {_RATE}}}
"""
        )

    def command(self) -> list[str]:
        """Return what to execute."""
        files = ["-c", str(self.directory / "homeserver.yaml"), "-c", str(self._overrides)]
        return [str(self._python), "-m", "synapse.app.homeserver", *files]
