import subprocess
import sys
from pathlib import Path

import conduit
from conduit.api import routes

ROOT = Path(conduit.__file__).parent
MODULES = sorted(
    "conduit." + ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for file in ROOT.rglob("*.py")
    if file.name != "__main__.py"
)


def test_every_module_imports_alone() -> None:
    """No module needs another to have been imported first: each is imported in a process that has seen none of ours."""
    code = """
import os, sys
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            __import__(name)
        except BaseException as error:
            print(f"{name}: {error!r}", flush=True)
            os._exit(1)
        os._exit(0)
    os.waitpid(child, 0)
"""
    # What all of them share is imported before the forks, which makes this a matter of seconds.
    shared = "import asyncio, aiohttp.web, orjson, structlog, nacl.bindings, sortedcontainers\n"
    ended = subprocess.run([sys.executable, "-c", shared + code, *MODULES], check=True, capture_output=True, text=True)
    assert ended.stdout == ""


def test_every_endpoint_file_is_listed() -> None:
    """A file of handlers that is not in `api/routes.py` would never be reached."""
    found = set()
    for file in (ROOT / "api").rglob("*.py"):
        if "\nroutes = Routes()" in file.read_text():
            found.add(".".join(file.relative_to(ROOT / "api").with_suffix("").parts))
    assert found == set(routes.MODULES)
    assert len(routes.MODULES) == len(set(routes.MODULES))
