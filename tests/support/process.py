"""The server as people run it: `python -m conduit` with a configuration file, in a process of its own, on a free port of loopback.

with running(tmp_path, "rocksdb") as server:
    ... server.url ...

server = ServerProcess(tmp_path, "lmdb", "max_request_size = 5000")
server.start(); server.kill(); server.start(); server.stop()
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parents[2]
ENGINES = ("rocksdb", "lmdb")
"""The engines that a user can choose."""
PATIENCE_SECONDS = 60.0
"""How long a start or an orderly end may take on a machine with much else to do."""

_CONFIG = """\
[global]
server_name = "{server_name}"
address = "127.0.0.1"
port = 0
database_backend = "{engine}"
database_path = "{data}"
allow_registration = true
{settings}
"""


class ServerProcess:
    """A server that can be started, ended and killed again and again on the same data, each time on another port."""

    def __init__(self, directory: Path, engine: str, settings: str = "", *, server_name: str = "localhost") -> None:
        """`settings` are further lines of the configuration; they may open tables below `[global]`."""
        self.directory = directory
        self.server_name = server_name
        self.config = directory / "conduit.toml"
        self.config.write_text(
            _CONFIG.format(server_name=server_name, engine=engine, data=directory / "data", settings=settings)
        )
        self.url = ""
        """The base URL of the running server, without a slash at its end."""
        self.log: list[str] = []
        """What all of its processes have written so far."""
        self._process: subprocess.Popen[str] | None = None
        self._reader = threading.Thread()

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self, *prefix: str) -> None:
        """Start and wait until the server listens. `prefix` goes before the command (`"strace", "-f"`, ...)."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("CONDUIT_")}
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "conduit", "--config", str(self.config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**own, "PYTHONPATH": str(ROOT / "src")},
        )
        listening = threading.Event()
        self.url = ""
        self._reader = threading.Thread(target=self._read, args=(self._process, listening), daemon=True)
        self._reader.start()
        if not listening.wait(PATIENCE_SECONDS) or not self.url:
            self.kill()
            raise AssertionError("the server does not start:\n" + "".join(self.log[-30:]))

    def _read(self, process: subprocess.Popen[str], listening: threading.Event) -> None:
        # Read to the end: a full pipe would stop the server.
        assert process.stdout is not None
        for line in process.stdout:
            self.log.append(line)
            if not listening.is_set() and '"listening"' in line:
                self.url = orjson.loads(line)["addresses"][0]
                listening.set()
        listening.set()

    def stop(self) -> None:
        """End the server as a service manager does. Raises if it does not end well, or has logged an error since it was made."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            status = process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._forget(process)
        if status != 0 or self.errors:
            first = self.errors[0] if self.errors else "".join(self.log[-10:])
            raise AssertionError(f"the server ended with {status} and {len(self.errors)} errors, the first: {first}")

    def kill(self) -> None:
        """End the server at once, as a crash does."""
        if self._process is not None:
            heard = len(self.log)
            self._process.kill()
            self._process.wait()
            self._forget(self._process)
            # Python's own keeper of semaphores warns of those that the server could not give back.
            self.log[heard:] = [line for line in self.log[heard:] if line.startswith("{")]

    def _forget(self, process: subprocess.Popen[str]) -> None:
        self._reader.join(PATIENCE_SECONDS)
        assert process.stdout is not None
        process.stdout.close()
        self._process = None

    @property
    def errors(self) -> list[Any]:
        """The log's errors, decoded, and whatever is no log line, such as a bare traceback."""
        lines = list(self.log)
        found: list[Any] = [line for line in lines if not line.startswith("{")]
        records = [orjson.loads(line) for line in lines if line.startswith("{")]
        return found + [record for record in records if record["level"] in ("error", "critical")]


@contextmanager
def running(directory: Path, engine: str, settings: str = "") -> Iterator[ServerProcess]:
    """Return a running server for a `with` block, after which it must end well."""
    server = ServerProcess(directory, engine, settings)
    server.start()
    try:
        yield server
    except BaseException:
        server.kill()
        sys.stderr.write("".join(server.log[-10:]))
        raise
    server.stop()
