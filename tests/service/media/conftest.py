"""A context with media files in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conduit.service.context import Context
from conduit.service.media.files import MediaFiles
from tests.support.clock import ManualClock
from tests.support.rooms import context


@pytest.fixture
def files(tmp_path: Path) -> Iterator[MediaFiles]:
    """An empty folder of media."""
    files = MediaFiles(tmp_path / "media")
    yield files
    files.close()


@pytest.fixture
def ctx(files: MediaFiles, clock: ManualClock) -> Context:
    """A context on an empty memory engine, whose clock the test moves."""
    return replace(context(), clock=clock, media_files=files)
