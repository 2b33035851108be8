"""A full disk, a directory that cannot be written, a second server: each is told in one line, and nothing that was acknowledged is lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from benches.http import Connection

from conduit.cli import Exit
from tests.durability.actor import PASSWORD, C, segment
from tests.durability.test_kill import check
from tests.durability.world import SETTINGS
from tests.support.process import ENGINES, ROOT, ServerProcess

DISK_MIB = 160
_FILE = b"\x5a" * 300_000
_MANY = 4000
"""More requests than a server can answer between two looks at the disk."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own, kept in memory."""
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", tmp_path], capture_output=True, text=True
    )
    if mount.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mount.stderr.strip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


class Person:
    """Somebody with an account and a room."""

    def __init__(self, url: str, token: str = "", room: str = "") -> None:
        self.connection = Connection(url, token)
        self.room = room
        self.said: dict[str, str] = {}
        self.files: list[str] = []

    async def arrive(self) -> None:
        """Register and make a room."""
        body = {"username": "alice", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        self.connection.token = (await self.connection.post(f"{C}/register", body))["access_token"]
        self.room = (await self.connection.post(f"{C}/createRoom", {}))["room_id"]

    async def say(self, number: int) -> int:
        """Send a message and return the status; remember it if it was acknowledged."""
        path = f"{C}/rooms/{segment(self.room)}/send/m.room.message/{number}"
        body = {"msgtype": "m.text", "body": f"message {number}"}
        answer = await self.connection.request("PUT", path, body)
        if answer.status == 200:
            self.said[answer.json()["event_id"]] = body["body"]
        return answer.status

    async def upload(self, data: bytes = _FILE) -> int:
        """Upload a file and return the status; remember it if it was acknowledged."""
        answer = await self.connection.request(
            "POST", "/_matrix/media/v3/upload", data, content_type="application/octet-stream"
        )
        if answer.status == 200:
            self.files.append(answer.json()["content_uri"].removeprefix("mxc://"))
        return answer.status

    async def until(self, status: int, first: int) -> None:
        """Talk until it is answered with `status`."""
        for number in range(first, first + _MANY):
            if await self.say(number) == status:
                return
        pytest.fail(f"no answer has been {status}")

    async def lost(self) -> list[str]:
        """Return what was acknowledged and is not there."""
        lost = []
        for event_id, text in self.said.items():
            path = f"{C}/rooms/{segment(self.room)}/event/{segment(event_id)}"
            answer = await self.connection.request("GET", path)
            if answer.status != 200 or answer.json()["content"]["body"] != text:
                lost.append(text)
        for file in self.files:
            answer = await self.connection.request("GET", f"/_matrix/client/v1/media/download/{file}")
            if answer.status != 200 or answer.body not in (_FILE, b"short"):
                lost.append(file)
        return lost


def ended(server: ServerProcess) -> tuple[int, list[str]]:
    """Start a server that cannot start; return its exit status and what it says that is no log."""
    done = subprocess.run(
        [sys.executable, "-m", "conduit", "--config", str(server.config)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "src")},
        timeout=60,
    )
    return done.returncode, [line for line in done.stderr.splitlines() if not line.startswith("{")]


def media(disk: Path) -> list[Path]:
    """Return all files of media, uploads under way included."""
    return sorted(path for path in disk.rglob("data/media/**/*") if path.is_file())


def remount(disk: Path, how: str) -> None:
    """Make the disk read-only ("ro") or writable ("rw")."""
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


@contextmanager
def ballast(disk: Path, free_mib: int) -> Iterator[None]:
    """Leave only so much room on `disk`."""
    file = disk / f"ballast-{free_mib}"
    with file.open("wb", buffering=0) as heavy:
        piece = bytes(1 << 20)
        try:
            for _ in range(DISK_MIB - free_mib):
                heavy.write(piece)
        except OSError:
            assert free_mib == 0
    try:
        yield
    finally:
        file.unlink()


@pytest.mark.parametrize("engine", ENGINES)
async def test_full_disk_is_noticed_and_outlived(engine: str, disk: Path) -> None:
    """Before the disk is full nothing more is taken, with a 503; reading goes on; when there is room again so does everything."""
    server = ServerProcess(disk, engine, SETTINGS)
    server.start()
    alice = Person(server.url)
    try:
        await alice.arrive()
        assert [await alice.say(0), await alice.upload(), await alice.upload(b"short")] == [200, 200, 200]
        with ballast(disk, 50):
            await alice.until(503, 1)
            files = media(disk)
            data = Random(1).randbytes(300_000)
            assert [await alice.upload(data), await alice.upload(b"another")] == [503, 503]
            assert media(disk) == files
            assert await alice.lost() == []
        await alice.until(200, 10_000)
        with ballast(disk, 50):
            await alice.until(503, 20_000)
            with ballast(disk, 0):
                assert [await alice.say(0), await alice.say(-1)] == [200, 503]  # the first was said before
                assert [await alice.upload(data), await alice.upload(b"another")] == [503, 503]
                assert await alice.lost() == []
            server.kill()
            status, said = ended(server)
            assert status == Exit.DISK_FULL
            assert len(said) == 1
            assert "MiB are left" in said[0]
        assert check(server) == ""
        server.start()
        await alice.connection.close()
        alice.connection = Connection(server.url, alice.connection.token)
        await alice.until(200, 30_000)
        assert await alice.lost() == []
    finally:
        await alice.connection.close()
        server.kill()
    errors: list[Any] = [record for record in server.errors if record.get("event") != "unavailable"]
    assert errors == []


@pytest.mark.parametrize("engine", ENGINES)
async def test_read_only_disk_is_told_and_left_as_it_is(engine: str, disk: Path) -> None:
    """The line names the directory. Made writable again it has everything."""
    server = ServerProcess(disk, engine, SETTINGS)
    server.start()
    alice = Person(server.url)
    try:
        await alice.arrive()
        assert await alice.say(0) == 200
        server.kill()
        remount(disk, "ro")
        status, said = ended(server)
        assert (status, len(said)) == (Exit.READ_ONLY, 1)
        assert f"{disk / 'data'} cannot be written" in said[0]
        remount(disk, "rw")
        server.start()
        await alice.connection.close()
        alice.connection = Connection(server.url, alice.connection.token)
        assert await alice.lost() == []
    finally:
        await alice.connection.close()
        server.kill()


@pytest.mark.parametrize("engine", ENGINES)
async def test_second_server_is_refused_and_the_first_goes_on(engine: str, tmp_path: Path) -> None:
    """The line names the process that has the directory."""
    server = ServerProcess(tmp_path, engine, SETTINGS)
    server.start()
    alice = Person(server.url)
    try:
        await alice.arrive()
        status, said = ended(server)
        assert (status, len(said)) == (Exit.LOCKED, 1)
        assert f"process id {server.pid}" in said[0]
        assert f"process id {server.pid}" in check(server)
        assert await alice.say(0) == 200
        assert await alice.lost() == []
    finally:
        await alice.connection.close()
        server.kill()
    assert check(server) == ""
