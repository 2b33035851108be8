"""What the tests with real clients have in common: a server in a process of its own, on each engine."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from tests.support.process import ENGINES, ServerProcess, running

# The limits hold, but for what the tests do more often from one address than people do.
_SETTINGS = """
[global.rate_limits]
registration = { per_second = 1000, burst = 1000 }
login = { per_second = 1000, burst = 1000 }
"""


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A running server, one for all tests of a file: they use people of their own."""
    with running(tmp_path_factory.mktemp("server"), request.param, _SETTINGS) as process:
        yield process


_NUMBERS = itertools.count(1)


@pytest.fixture
def named() -> Callable[[str], str]:
    """Make a name that no other test uses."""
    number = next(_NUMBERS)
    return lambda name: f"{name}{number}"


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own configuration reaches a test."""
    for name in [name for name in os.environ if name.startswith("CONDUIT_")]:
        monkeypatch.delenv(name)
