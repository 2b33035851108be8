"""Importing the whole server, which is half of its start."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ABSENT: Any = None
"""What stands for a module that is not to be found."""
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@contextmanager
def quickly() -> Iterator[None]:
    """Import in the block without what takes a third of the time and is of no use.

    Garbage is not looked for: what is imported is there for good, and is not looked at later either. The system's authorities are not found: the HTTP
    library loads them twice as it is imported, for connections that are not told whom to believe, and ours all are (`service/outbound/http.py`). The
    package `rich` is not found, where some other package has brought it: structlog would import it for tracebacks that we write ourselves.
    """
    before = {name: os.environ.get(name) for name in _CERTIFICATES}
    gc.disable()
    os.environ.update(dict.fromkeys(_CERTIFICATES, os.devnull))
    had_rich = sys.modules.setdefault("rich", _ABSENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if had_rich is None:
            del sys.modules["rich"]
        gc.freeze()
        gc.enable()
