"""Fixtures that every test may use."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
import structlog

from tests.support import openapi
from tests.support.clock import ManualClock
from tests.support.homeserver import Homeserver, serve

# What happens at each request is no news in a test; warnings and errors are.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

ENGINES = ("memory", "lmdb", "rocksdb")


def pytest_report_header() -> str:
    """Say whether answers are held against the specification."""
    spec = openapi.specification()
    return "contract: " + ("no specification found, set MATRIX_SPEC" if spec is None else "on")


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
async def hs() -> AsyncIterator[Homeserver]:
    """A homeserver on the memory engine."""
    async with serve() as server:
        yield server


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """The name of each engine in turn."""
    return str(request.param)
