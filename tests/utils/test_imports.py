"""The imports of a start."""

from __future__ import annotations

import os
import subprocess
import sys

_SCRIPT = """
import gc, os, ssl
from conduit.utils import imports

os.environ.pop("SSL_CERT_DIR", None)
os.environ["SSL_CERT_FILE"] = "/mine"
with imports.quickly():
    assert not gc.isenabled()
    import aiohttp.connector, structlog
import rich
assert structlog.dev.rich is None
assert aiohttp.connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509"] == 0
assert gc.isenabled() and gc.get_freeze_count() > 1000
assert os.environ["SSL_CERT_FILE"] == "/mine" and "SSL_CERT_DIR" not in os.environ
del os.environ["SSL_CERT_FILE"]
print(ssl.create_default_context().cert_store_stats()["x509"])
"""
_COUNT = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509'])"


def test_imports_leave_everything_as_it_was() -> None:
    """Only the HTTP library's own contexts believe nobody, and structlog knows no rich; whoever comes next finds both."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT_")}
    found = [
        subprocess.run([sys.executable, "-c", script], env=variables, check=True, capture_output=True, text=True).stdout
        for script in (_SCRIPT, _COUNT)
    ]
    assert found[0] == found[1]
