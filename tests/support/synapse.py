"""A real Synapse, one for a whole test run: SQLite, TLS on loopback, no limits.

Test processes that run beside each other share it: whoever needs it first starts it, whoever needs it last ends it. A test holds it
together with others (`in_use`), or alone (`alone`), if it must stop it for a while.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import orjson
import psutil  # type: ignore[import-untyped]

from tests.support.certificates import Authority

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
_PORTS = range(20_000, 32_000)
"""Below those from which the system takes the ports of outgoing connections, so that a server finds its own again."""
_RATE = {"per_second": 100_000, "burst_count": 100_000}

_LIMITS = {
    "rc_message": _RATE,
    "rc_registration": _RATE,
    "rc_admin_redaction": _RATE,
    "rc_room_creation": _RATE,
    "rc_media_create": _RATE,
    "rc_presence": {"per_user": _RATE},
    "rc_reports": _RATE,
    "rc_key_requests": _RATE,
    "rc_third_party_invite": _RATE,
    "rc_login": {"address": _RATE, "account": _RATE, "failed_attempts": _RATE},
    "rc_joins": {"local": _RATE, "remote": _RATE},
    "rc_joins_per_room": _RATE,
    "rc_invites": {"per_room": _RATE, "per_user": _RATE, "per_issuer": _RATE},
    "rc_federation": {"window_size": 1000, "sleep_limit": 100_000, "reject_limit": 100_000, "concurrent": 100},
    "federation_rr_transactions_per_room_per_second": 100_000,
    "remote_media_download_burst_count": "1G",
    "remote_media_download_per_second": "1G",
}


def synapse_python() -> Path | None:
    """Return a Python that has Synapse: of `SYNAPSE_PYTHON`, else what `scripts/synapse-venv` has made; `None` if there is none."""
    named = os.environ.get("SYNAPSE_PYTHON")
    python = Path(named) if named else ROOT / ".venv-synapse" / "bin" / "python"
    return python if named or (python.exists() and (ROOT / ".venv-synapse" / "installed.txt").exists()) else None


def free_port(claims: Path) -> int:
    """Return a port of loopback that nobody listens on, and that no other call with the same folder returns."""
    claims.mkdir(exist_ok=True)
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                (claims / str(port)).touch(exist_ok=False)
            except OSError:
                continue
            return port


class Synapse:
    """The Synapse in a folder. Objects of several processes may stand for the same one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.in_folder(folder)
        ports = folder / "ports"
        if not ports.exists():
            ports.write_bytes(orjson.dumps([free_port(folder / "claims"), free_port(folder / "claims")]))
            self._configure(*orjson.loads(ports.read_bytes()))
        federation, client = orjson.loads(ports.read_bytes())
        self.server_name = f"localhost:{federation}"
        self.url = f"http://127.0.0.1:{client}"
        self.log = folder / "synapse.log"

    def _configure(self, federation: int, client: int) -> None:
        certs, key = self.authority.issue("synapse", "localhost", "127.0.0.1")
        loopback = {"bind_addresses": ["127.0.0.1"], "type": "http"}
        resources = [{"names": ["client", "federation", "media"], "compress": False}]
        config = {
            "server_name": f"localhost:{federation}",
            "pid_file": str(self.folder / "pid"),
            "listeners": [
                {**loopback, "port": federation, "tls": True, "resources": resources},
                {**loopback, "port": client, "resources": resources},
            ],
            "tls_certificate_path": str(certs),
            "tls_private_key_path": str(key),
            "federation_custom_ca_list": [str(self.authority.file)],
            "ip_range_blacklist": [],
            "federation_ip_range_blacklist": [],
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "database": {"name": "sqlite3", "args": {"database": str(self.folder / "synapse.db")}},
            "media_store_path": str(self.folder / "media"),
            "signing_key_path": str(self.folder / "signing.key"),
            "log_config": str(self.folder / "log.yaml"),
            "report_stats": False,
            "macaroon_secret_key": "macaroon",
            "form_secret": "form",
            "registration_shared_secret": "secret",
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "bcrypt_rounds": 4,
            "allow_public_rooms_over_federation": True,
            "allow_public_rooms_without_auth": True,
            "room_list_publication_rules": [{"action": "allow"}],
            "filter_timeline_limit": 2000,
            "presence": {"enabled": True},
            # Whom it could not reach it tries again soon, as the tests do not last for hours.
            "federation": {
                "client_timeout": "20s",
                "max_short_retry_delay": 200,
                "max_short_retries": 1,
                "max_long_retries": 2,
                "destination_min_retry_interval": 200,
                "destination_retry_multiplier": 1,
                "destination_max_retry_interval": "1s",
            },
            **_LIMITS,
        }
        seed = "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA"
        (self.folder / "signing.key").write_text(f"ed25519 tests {seed}\n")
        # JSON is YAML.
        (self.folder / "homeserver.yaml").write_bytes(orjson.dumps(config, option=orjson.OPT_INDENT_2))
        log = {
            "version": 1,
            "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(request)s %(message)s"}},
            "filters": {"context": {"()": "synapse.logging.context.LoggingContextFilter"}},
            "handlers": {
                "file": {
                    "class": "logging.FileHandler",
                    "filename": str(self.folder / "synapse.log"),
                    "formatter": "plain",
                    "filters": ["context"],
                }
            },
            "loggers": {"synapse.storage": {"level": "WARNING"}},
            "root": {"level": os.environ.get("SYNAPSE_LOG", "INFO"), "handlers": ["file"]},
        }
        (self.folder / "log.yaml").write_bytes(orjson.dumps(log))

    def start(self) -> None:
        """Start it and wait until it answers."""
        python = synapse_python()
        assert python is not None
        with (self.folder / "output").open("ab") as output:
            # Of no test process: it may outlive the one that needed it first.
            process = subprocess.Popen(
                [python, "-m", "synapse.app.homeserver", "-c", self.folder / "homeserver.yaml"],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                start_new_session=True,
            )
        (self.folder / "process").write_text(str(process.pid))
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and process.poll() is None:
            try:
                with urlopen(self.url + "/_matrix/client/versions"):
                    # Whoever ends it, it need not be this process: no warning when the object goes.
                    process.returncode = 0
                    return
            except OSError:
                time.sleep(0.05)
        process.kill()
        raise AssertionError("Synapse does not start:\n" + (self.folder / "output").read_text()[-3000:])

    def stop(self) -> None:
        """End it and wait until it has."""
        file = self.folder / "process"
        if not file.exists():
            return
        try:
            process = psutil.Process(int(file.read_text()))
            process.send_signal(signal.SIGTERM)
            until = time.monotonic() + 20
            # Whoever has started it may not have looked after it yet.
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() > until:
                    process.kill()
                time.sleep(0.02)
        except psutil.NoSuchProcess:
            pass
        file.unlink()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Use it beside others, for the length of a test."""
        with _locked(self.folder / "use", fcntl.LOCK_SH):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Use it while nobody else does; not within `in_use`."""
        with _locked(self.folder / "use", fcntl.LOCK_EX):
            yield


@contextmanager
def _locked(file: Path, how: int) -> Iterator[None]:
    with file.open("a") as handle:
        fcntl.flock(handle, how)
        yield


class Share:
    """One process's part in the Synapse of a test run, whose processes have `folder` in common."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "synapse"

    def take(self) -> Synapse:
        """Return the running Synapse, started now if this process is the first to need it."""
        self._folder.mkdir(exist_ok=True)
        with _locked(self._folder / "sharing", fcntl.LOCK_EX):
            users = self._folder / "users"
            users.mkdir(exist_ok=True)
            synapse = Synapse(self._folder)
            if not _alive(users):
                synapse.stop()
                synapse.start()
            (users / str(os.getpid())).touch()
            return synapse

    def give_back(self) -> None:
        """End Synapse if no other process uses it."""
        with _locked(self._folder / "sharing", fcntl.LOCK_EX):
            users = self._folder / "users"
            (users / str(os.getpid())).unlink(missing_ok=True)
            if not _alive(users):
                Synapse(self._folder).stop()


def _alive(users: Path) -> bool:
    return any(psutil.pid_exists(int(user.name)) for user in users.iterdir())
