"""matrix-js-sdk under Node: what its scripts (in js/) tell of what they saw, and every answer that they got."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.contract import contract
from tests.support.process import ServerProcess

SCRIPTS = Path(__file__).parent / "js"
PATIENCE_SECONDS = 90
"""Longer than a script gives itself."""
OLD_NAME = "org.matrix.msc4222.state_after"

Facts = dict[str, Any]


@lru_cache(maxsize=1)
def node() -> str | None:
    """Return a Node that is new enough: the machine's, else the one among the packages; `None` if there is none."""
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), "")
    for candidate in (shutil.which("node"), SCRIPTS / "node_modules" / f"node-linux-{machine}" / "bin" / "node"):
        if candidate is None or not Path(candidate).exists():
            continue
        version = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=True).stdout
        if int(version.lstrip("v").partition(".")[0]) >= 22:
            return str(candidate)
    return None


@pytest.fixture
def script(server: ServerProcess, named: Callable[[str], str]) -> Callable[[str], Facts]:
    """Run a script of js/ to its end; return the facts that it tells."""
    if not (SCRIPTS / "node_modules" / "matrix-js-sdk").is_dir():
        pytest.skip("matrix-js-sdk is not installed: make test-deps")
    program = node()
    if program is None:
        pytest.skip("no Node 22 or newer: make test-deps")

    def run(name: str) -> Facts:
        ended = subprocess.run(
            [program, SCRIPTS / name, server.url, named("js")],
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            env={name: value for name, value in os.environ.items() if not name.startswith("NODE_")},
            check=False,
        )
        lines = [orjson.loads(line) for line in ended.stdout.splitlines()]
        assert ended.returncode == 0, ended.stderr.decode()[-5000:]
        for line in lines:
            if "answer" in line:
                judge(**line["answer"])
        facts = {line["fact"]: line["value"] for line in lines if "fact" in line}
        return {**facts, "answers": [line["answer"] for line in lines if "answer" in line]}

    return run


def judge(method: str, path: str, status: int, body: Any) -> None:
    """Hold an answer against the specification."""
    assert status not in (429, 500), (method, path, body)
    rooms = body.get("rooms", {}) if path.endswith("/sync") else {}
    for room in [*rooms.get("join", {}).values(), *rooms.get("leave", {}).values()]:
        if OLD_NAME in room:
            room["state_after"] = room.pop(OLD_NAME)
    found = contract()
    if found is not None:
        found.check(method, path, status, body)


def test_sync_initial_incremental_lazy_and_with_a_gap(script: Callable[[str], Facts]) -> None:
    """Few members at first and each when needed, the state right after a gap, invites and kicks as they happen."""
    told = script("sync.mjs")
    host, reader, *guests = told["users"]
    assert told["name"] == "Hall"
    assert told["topic"] == "first"
    assert told["timeline"] == ["two", "three"]
    assert told["joined members"] == 9
    known = set(told["members known at first"])
    assert {host, reader, guests[1]} <= known < {host, reader, *guests}
    speaker, seen, name = told["speaker"]
    assert speaker not in known
    assert seen == speaker
    assert name.startswith(speaker[1:].partition(":")[0])
    assert told["members known at last"] == sorted([host, reader, *guests])
    assert told["unread"] == 4
    gap = [f"gap {number}" for number in range(24)]
    shown = told["timeline after the gap"]
    assert 0 < len(shown) < len(gap)
    assert shown == gap[-len(shown) :]
    assert told["topic after the gap"] == "second"
    assert told["timeline when the gap is filled"] == ["one", "two", "three", "four", *gap]
    assert told["invite"] == ["Cellar", host]
    assert told["kick"] == [host, "enough"]
    sections = [
        room
        for answer in told["answers"]
        if answer["path"].endswith("/sync")
        for room in answer["body"].get("rooms", {}).get("join", {}).values()
    ]
    assert sections
    assert all("state_after" in room and "state" not in room for room in sections)


def test_history_is_read_back(script: Callable[[str], Facts]) -> None:
    """Everything, once, in order, to the creation; with the names of those who have left; around an event both ways."""
    told = script("history.mjs")
    lines = [f"line {number}" for number in range(40)]
    assert told["at first"] == lines[-5:]
    assert told["bodies"] == ["I was here", *lines]
    assert len(set(told["ids"])) == len(told["ids"])
    assert told["first"] == "m.room.create"
    assert all(size == 15 for size in told["pages"][:-2])
    assert told["name of one who has left"].startswith(told["early"][1:].partition(":")[0])
    assert told["around has it"]
    assert told["around is whole"]
    assert told["around grew"][0]
    assert told["search"] == ["I was here"]


def test_two_people_chat(script: Callable[[str], Facts]) -> None:
    """Each message is shown once, edits and reactions are where they belong, threads and their counts too."""
    told = script("chat.mjs")
    assert told["echo"] == 1
    assert told["nothing pending"]
    assert told["edited"]
    assert told["reactions"] == [["👍", 1]]
    assert told["redacted"] == [{}, "typo"]
    assert len(told["read by"]) == 1
    assert told["thread"] == ["are you there?", ["in the thread 1", "in the thread 2"], False]
    assert told["timeline"] == []
    assert told["bundle"] == [3, True, "in the thread 3"]
    assert told["threads"] == [[True], [True]]
    assert len(told["direct"]) == 1
    status, text, disposition = told["file"]
    assert (status, text) == (200, "soil and seeds")
    assert "list.txt" in disposition


def test_encrypting_client_works_in_full(script: Callable[[str], Facts]) -> None:
    """An identity, secret storage and a key backup; a fallback key when no other is left; a second device that reads old messages."""
    told = script("encryption.mjs")
    assert told["cross-signing"] == [True, True]
    assert told["backup"]
    assert told["read"] == [True, "the first secret"]
    assert told["answer"] == "understood"
    assert told["identity is known"]
    *ordinary, last = told["claims"]
    assert len(ordinary) > 10
    assert not any(ordinary)
    assert last, "the fallback key comes when nothing else is left, and says what it is"
    assert told["by the fallback key"] == "by the fallback key"
    assert told["device is vouched for"]
    assert told["restored"]
    assert told["old message"] == "the first secret"
