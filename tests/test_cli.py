import json
import os
import resource
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

import conduit
from conduit.cli import Exit, main
from conduit.database.migrations import SCHEMA_KEY
from conduit.database.open import open_database
from conduit.service import identity


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing of the machine's own configuration reaches a test."""
    for name in [name for name in os.environ if name.startswith("CONDUIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    yield
    structlog.reset_defaults()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration on LMDB, on a free port."""
    file = tmp_path / "conduit.toml"
    file.write_text(
        f'[global]\nserver_name = "localhost"\ndatabase_path = "{tmp_path / "data"}"\ndatabase_backend = "lmdb"\nport = 0\n'
    )
    return file


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that was said on standard error."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("conduit: ")]
    assert len(lines) == 1, lines
    return lines[0]


# --- arguments --------------------------------------------------------------------------------------------------------


def test_version_is_told(capsys) -> None:
    """The version is that of the package."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"conduit-py {conduit.__version__}\n"


def test_arguments_are_read_before_anything_heavy_is_imported() -> None:
    """`--version` and mistakes answer at once."""
    heavy = {"asyncio", "aiohttp", "structlog", "uvloop", "conduit.server"}
    code = "import sys, conduit.cli; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert heavy & set(told.split()) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["nonsense"],
        ["--port", "http"],
        ["--port", "70000"],
        ["db"],
        ["db", "convert"],
        ["db", "convert", "--to", "sqlite", "--into", "x"],
    ],
)
def test_mistaken_arguments_are_refused(arguments: list[str], capsys) -> None:
    """With argparse's own status and a line on usage."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == Exit.USAGE
    assert "usage: conduit" in capsys.readouterr().err


def test_statuses_are_distinct() -> None:
    """A service manager can tell the ways to fail apart."""
    assert len(set(Exit)) == len(Exit.__members__)


def test_every_status_is_documented() -> None:
    """Operators find each status and what to do about it."""
    text = (Path(__file__).parents[1] / "docs" / "operating.md").read_text()
    for status in Exit:
        assert f"\n| {int(status)} |" in text, status


# --- federation -------------------------------------------------------------------------------------------------------


def test_new_signing_key_is_used_and_the_old_one_published(config: Path, capsys) -> None:
    """What the old key has signed stays verifiable; twice makes two old keys."""
    data = config.parent / "data"
    open_database(data, "lmdb").close_now()
    assert main(["rotate-signing-key", "--config", str(config)]) == Exit.OK
    assert main(["rotate-signing-key", "--config", str(config)]) == Exit.OK
    first, second = (line.split() for line in capsys.readouterr().out.splitlines())
    assert first[3] == second[second.index("on;") + 1]
    db = open_database(data, "lmdb")
    assert identity.signing_key(db).key_id == second[3]
    assert set(identity.old_keys(db)) == {first[3], first[first.index("on;") + 1]}
    db.close_now()


def test_key_of_a_running_server_is_not_changed(config: Path, capsys) -> None:
    """Nor is a directory made where there is none."""
    assert main(["rotate-signing-key", "--config", str(config)]) == Exit.FOREIGN
    assert not (config.parent / "data").exists()
    db = open_database(config.parent / "data", "lmdb")
    try:
        assert main(["rotate-signing-key", "--config", str(config)]) == Exit.LOCKED
    finally:
        db.close_now()


def test_check_federation_tells_by_its_status(config: Path, capsys) -> None:
    """A server that cannot be found, in words."""
    config.write_text(config.read_text() + "allow_federation = true\n")
    assert main(["check-federation", "--config", str(config), "no-such-host.invalid:1"]) == Exit.FINDINGS
    out = capsys.readouterr().out
    assert "no-such-host.invalid cannot be resolved" in out
    assert "no-such-host.invalid:1: 2 problems" in out


# --- check-config -----------------------------------------------------------------------------------------------------


def test_good_configuration_is_called_good(config: Path, capsys) -> None:
    """With what warns, and the two settings that matter most."""
    config.write_text(config.read_text() + "allow_jaeger = true\n")
    assert main(["check-config", "--config", str(config)]) == Exit.OK
    out = capsys.readouterr().out
    assert "warning: global.allow_jaeger" in out
    assert f"{config} is good (server localhost" in out


def test_option_before_the_command_holds_too(config: Path, capsys) -> None:
    """`conduit --config FILE check-config` is the same."""
    assert main(["--config", str(config), "check-config"]) == Exit.OK
    assert f"{config} is good" in capsys.readouterr().out


def test_check_config_without_configuration(capsys, tmp_path: Path) -> None:
    """It says what would hold, and makes nothing."""
    assert main(["check-config"]) == Exit.OK
    assert "nothing is configured" in capsys.readouterr().out
    assert not (tmp_path / "home").exists()


def test_faults_of_the_configuration_are_listed(config: Path, capsys) -> None:
    """All of them, a line each."""
    config.write_text('[global]\nport = "x"\nservername = "a"\n')
    assert main(["check-config", "--config", str(config)]) == Exit.BAD_CONFIG
    error = capsys.readouterr().err
    assert error.count("\n") == 5
    assert "global.port" in error
    assert "did you mean server_name?" in error


# --- what keeps the server from starting ------------------------------------------------------------------------------


def test_bad_configuration(config: Path, capsys) -> None:
    """One fault is one line."""
    config.write_text(config.read_text() + "allow_encryption = 1\n")
    assert main(["--config", str(config)]) == Exit.BAD_CONFIG
    assert last_line(capsys) == f"conduit: {config}: global.allow_encryption: expected true or false, not 1"


def test_missing_file(tmp_path: Path, capsys) -> None:
    """A file that was named and is not there."""
    assert main(["--config", str(tmp_path / "none.toml")]) == Exit.MISSING
    assert last_line(capsys).endswith("none.toml: there is no such file")


def test_address_in_embedded_mode(capsys) -> None:
    """Without a configuration nobody from elsewhere is let in."""
    assert main(["--address", "0.0.0.0"]) == Exit.BAD_CONFIG
    assert "only listens on 127.0.0.1" in last_line(capsys)


def test_port_in_use(config: Path, capsys) -> None:
    """The line names the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--config", str(config), "--port", str(port)]) == Exit.IN_USE
    assert f"127.0.0.1 port {port}" in last_line(capsys)


def test_full_disk(config: Path, capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Noticed before anything is written."""
    full = os.statvfs_result((4096, 4096, 1000, 1, 1, 1000, 1, 1, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    assert main(["--config", str(config)]) == Exit.DISK_FULL
    assert "MiB are left" in last_line(capsys)
    assert list((tmp_path / "data").iterdir()) == []


def test_directory_that_cannot_be_written(config: Path, capsys) -> None:
    """Here one that the kernel lets nobody make."""
    config.write_text(config.read_text().replace(str(config.parent / "data"), "/sys/kernel/conduit"))
    assert main(["--config", str(config)]) == Exit.READ_ONLY
    assert "/sys/kernel/conduit cannot be made" in last_line(capsys)


def test_locked_database(config: Path, capsys, tmp_path: Path) -> None:
    """A second server on the same directory does not start."""
    db = open_database(tmp_path / "data", "lmdb")
    try:
        assert main(["--config", str(config)]) == Exit.LOCKED
    finally:
        db.close_now()
    assert "in use by another process" in last_line(capsys)


def test_newer_database(config: Path, capsys, tmp_path: Path) -> None:
    """What a newer version wrote is left alone."""
    db = open_database(tmp_path / "data", "lmdb")
    with db.batch() as batch:
        batch.put("global", SCHEMA_KEY, (999).to_bytes(8, "big"))
    db.sync_now()
    db.close_now()
    assert main(["--config", str(config)]) == Exit.TOO_NEW
    assert "newer version" in last_line(capsys)


def test_damaged_database(config: Path, capsys, tmp_path: Path) -> None:
    """A file that is not whole."""
    open_database(tmp_path / "data", "lmdb").close_now()
    (tmp_path / "data" / "data.mdb").write_bytes(b"\0" * 9000)
    assert main(["--config", str(config)]) == Exit.DAMAGED
    assert "damaged" in last_line(capsys)


def test_database_of_the_other_backend(config: Path, capsys, tmp_path: Path) -> None:
    """The line says how to go on."""
    open_database(tmp_path / "data", "lmdb").close_now()
    config.write_text(config.read_text().replace("lmdb", "rocksdb"))
    assert main(["--config", str(config)]) == Exit.FOREIGN
    assert "conduit db convert --to rocksdb" in last_line(capsys)


def test_database_of_another_server(config: Path, capsys) -> None:
    """A server cannot be renamed."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        main(["--config", str(config), "--port", str(taken.getsockname()[1])])
    capsys.readouterr()
    config.write_text(config.read_text().replace("localhost", "example.org"))
    assert main(["--config", str(config)]) == Exit.FOREIGN
    assert "belongs to the server localhost" in last_line(capsys)


def register(url: str, name: str) -> int:
    """Make an account and return the status of the last answer."""
    body: dict[str, Any] = {"username": name, "password": "correct horse battery staple"}
    for _ in range(2):
        request = urllib.request.Request(f"{url}/_matrix/client/v3/register", json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
            error.close()
            if status == 401:
                body["auth"] = {"type": "m.login.dummy", "session": json.loads(content)["session"]}
    return status


# --- looking after the database ---------------------------------------------------------------------------------------


def make_database(directory: Path) -> None:
    """Make the database of a server that was started once, with a file of media."""
    open_database(directory, "lmdb").close_now()
    (directory / "media" / "ab").mkdir(parents=True)
    (directory / "media" / "ab" / "cd").write_bytes(b"picture")


def test_check_of_a_sound_database(config: Path, capsys, tmp_path: Path) -> None:
    """Everything agrees."""
    make_database(tmp_path / "data")
    assert main(["db", "check", "--config", str(config)]) == Exit.OK
    assert capsys.readouterr().out == f"{tmp_path / 'data'}: everything agrees\n"


def test_check_tells_what_does_not_agree(config: Path, capsys, tmp_path: Path) -> None:
    """Each finding is a line, and the status says that there were some."""
    make_database(tmp_path / "data")
    db = open_database(tmp_path / "data", "lmdb")
    with db.batch() as batch:
        batch.put("eventid_pduid", b"$nowhere", b"no such position")
    db.sync_now()
    db.close_now()
    assert main(["db", "check", "--config", str(config)]) == Exit.FINDINGS
    out = capsys.readouterr().out
    assert "eventid_pduid: " in out
    assert out.endswith("1 finding\n")


def test_check_of_nothing(config: Path, capsys) -> None:
    """A directory without a database is not made into one."""
    assert main(["db", "check", "--config", str(config)]) == Exit.FOREIGN
    assert "holds no database" in last_line(capsys)


def test_check_of_a_running_servers_database(config: Path, capsys, tmp_path: Path) -> None:
    """The directory's lock is wanted."""
    db = open_database(tmp_path / "data", "lmdb")
    try:
        assert main(["db", "check", "--config", str(config)]) == Exit.LOCKED
    finally:
        db.close_now()
    assert "in use" in last_line(capsys)


def test_convert_makes_a_copy_that_opens(config: Path, capsys, tmp_path: Path) -> None:
    """Into the other backend, the media with it, and it says how to go on."""
    make_database(tmp_path / "data")
    into = tmp_path / "copy"
    assert main(["db", "convert", "--to", "rocksdb", "--into", str(into), "--config", str(config)]) == Exit.OK
    out = capsys.readouterr().out
    assert "entries copied and compared, 1 media file linked" in out
    assert f'database_backend = "rocksdb" and database_path = "{into}"' in out
    assert (into / "media" / "ab" / "cd").read_bytes() == b"picture"
    open_database(into, "rocksdb", create=False).close_now()


def test_convert_leaves_media_of_elsewhere_where_they_are(config: Path, capsys, tmp_path: Path) -> None:
    """Only what lies within the database directory moves with it."""
    make_database(tmp_path / "data")
    config.write_text(config.read_text() + f'[global.media]\npath = "{tmp_path / "pictures"}"\n')
    into = tmp_path / "copy"
    assert main(["db", "convert", "--to", "lmdb", "--into", str(into), "--config", str(config)]) == Exit.OK
    assert f'media.path = "{tmp_path / "pictures"}"' in capsys.readouterr().out
    assert not (into / "media").exists()


def test_convert_into_a_directory_in_use_is_refused(config: Path, capsys, tmp_path: Path) -> None:
    """Nothing is overwritten."""
    make_database(tmp_path / "data")
    arguments = ["db", "convert", "--to", "rocksdb", "--into", str(tmp_path), "--config", str(config)]
    assert main(arguments) == Exit.FOREIGN
    assert "is not an empty directory" in last_line(capsys)


def test_progress_is_shown_on_a_terminal_only(config: Path, capsys, monkeypatch, tmp_path: Path) -> None:
    """A bar that goes away at the end."""
    make_database(tmp_path / "data")
    for shown in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda shown=shown: shown)
        into = str(tmp_path / f"copy{shown}")
        assert main(["db", "convert", "--to", "lmdb", "--into", into, "--config", str(config)]) == Exit.OK
        told = capsys.readouterr().err
        assert ("[########################################] 100%" in told) is shown
    assert told.endswith("\r\x1b[K")


# --- a running server -------------------------------------------------------------------------------------------------


class Process:
    """The server as a process of its own."""

    def __init__(self, *arguments: str, env: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "conduit", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})}
        )

    def line_with(self, text: str) -> str:
        """Return the next line that holds `text`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text in line:
                return line
        raise AssertionError(f"ended without {text!r}")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


def test_without_configuration_it_runs_and_says_what_next() -> None:
    """A newcomer is told the address, who is administrator and how to go on; Ctrl+C ends it well."""
    server = Process("--port", "0")
    try:
        url = server.line_with("http://127.0.0.1:").strip()
        assert int(url.rpartition(":")[2]) > 0
        server.line_with("What next?")
        assert url in server.line_with("Element")
        server.line_with("Ctrl+C")
    finally:
        assert server.end(signal.SIGINT) == Exit.OK


def test_first_start_shows_the_token_of_the_first_administrator(config: Path) -> None:
    """Whatever the log filter; and until somebody has used it."""
    config.write_text(config.read_text() + 'log = "off"\n')
    for _ in range(2):
        server = Process("--config", str(config))
        try:
            assert '"server_name":"localhost"' in server.line_with('"listening"')
            assert '"registration_token":"' in server.line_with('"first_start"')
        finally:
            assert server.end() == Exit.OK


def test_reload_takes_over_what_can_change(config: Path) -> None:
    """SIGHUP: settings that can change do, the others are named, a faulty file changes nothing."""
    server = Process("--config", str(config))
    try:
        server.line_with('"first_start"')
        config.write_text(config.read_text() + "allow_registration = true\nmax_request_size = 5000\n")
        server.process.send_signal(signal.SIGHUP)
        line = server.line_with('"reloaded"')
        assert '"changed":["allow_registration"]' in line
        assert '"after_restart":["max_request_size"]' in line
        config.write_text("[global]\n")
        server.process.send_signal(signal.SIGHUP)
        assert "server_name" in server.line_with('"not_reloaded"')
    finally:
        assert server.end() == Exit.OK


@pytest.mark.parametrize("backend", ["lmdb", "rocksdb"])
def test_disk_that_fails_ends_the_server_with_a_status_of_its_own(config: Path, backend: str) -> None:
    """Files that cannot grow any more: what cannot be made durable is not acknowledged, and the process ends."""
    config.write_text(config.read_text().replace("lmdb", backend) + "allow_registration = true\n")
    server = Process("--config", str(config))
    try:
        url = server.line_with('"listening"').partition('"addresses":["')[2].partition('"')[0]
        server.line_with('"first_start"')
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        for number in range(200):
            try:
                registered = register(url, f"user{number}")
            except OSError:
                break
            if registered >= 500:
                break
        else:
            pytest.fail("the disk never failed")
        assert "conduit: the database: " in server.line_with("conduit: ")
        assert server.process.wait(30) == Exit.DISK_FAILED
    finally:
        server.process.kill()
        server.end()
