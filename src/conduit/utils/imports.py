"""Importing the whole server, which is half of its start."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@contextmanager
def quickly() -> Iterator[None]:
    """Import in the block without what takes a third of the time and is of no use.

    Garbage is not looked for: what is imported is there for good, and is not looked at later either. The system's authorities are not found: the HTTP
    library loads them twice as it is imported, for connections that are not told whom to believe, and ours all are (`service/outbound/http.py`).
    """
    before = {name: os.environ.get(name) for name in _CERTIFICATES}
    gc.disable()
    os.environ.update(dict.fromkeys(_CERTIFICATES, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        gc.freeze()
        gc.enable()
