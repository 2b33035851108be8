"""Two servers of ours that federate, one on each engine, with certificates of an authority of their own.

with neighbours(folder) as (left, right):     # both run; their ports stay theirs when they are started again
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.certificates import Authority
from tests.support.process import ENGINES, ServerProcess
from tests.support.synapse import free_port

_SETTINGS = """
allow_federation = true
federation_ca_file = "{authority}"
ip_range_denylist = []
trusted_servers = []
enable_lightning_bolt = false
log = "info"
[global.rate_limits]
enabled = false
[[global.listeners]]
port = {clients}
[[global.listeners]]
port = {servers}
certs = "{certs}"
key = "{key}"
"""

Neighbours = tuple[ServerProcess, ServerProcess]


@contextmanager
def neighbours(folder: Path) -> Iterator[Neighbours]:
    """Return both servers for a `with` block, after which each must end well and have logged no error."""
    authority = Authority.in_folder(folder)
    made: list[ServerProcess] = []
    try:
        for engine in ENGINES:
            made.append(_make(folder, engine, authority))
            made[-1].start()
        yield made[0], made[1]
    except BaseException:
        for server in made:
            server.kill()
            sys.stderr.write("".join(server.log[-20:]))
        raise
    with ExitStack() as ends:
        # Each is ended, also when another does not end well.
        for server in made:
            ends.callback(server.stop)


def _make(folder: Path, engine: str, authority: Authority) -> ServerProcess:
    clients, servers = free_port(folder / "ports"), free_port(folder / "ports")
    certs, key = authority.issue(engine, "127.0.0.1")
    settings = _SETTINGS.format(authority=authority.file, clients=clients, servers=servers, certs=certs, key=key)
    (directory := folder / engine).mkdir()
    return ServerProcess(directory, engine, settings, server_name=f"127.0.0.1:{servers}")
