import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import conduit
from conduit.api import routes

ROOT = Path(conduit.__file__).parent
MODULES = sorted(
    "conduit." + ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for file in ROOT.rglob("*.py")
    if file.name != "__main__.py"
)


def _imported(name: str, body: Iterable[ast.stmt]) -> Iterator[str]:
    """Return which of our modules are imported as soon as a module is: not in functions, and not for types only."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _imported(name, node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody"):
                yield from _imported(name, getattr(node, field, ()))


def _graph() -> dict[str, set[str]]:
    """Return what each module imports, the packages that it lies in among it."""
    graph: dict[str, set[str]] = {}
    for name in MODULES:
        path = ROOT.parent / Path(*name.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        found = set(_imported(name, ast.parse(file.read_text()).body))
        found |= {one.rpartition(".")[0] for one in found | {name}}
        graph[name] = (found & set(MODULES)) - {name}
    return graph


def _in_circles(graph: dict[str, set[str]]) -> set[str]:
    """Return the modules that import each other in a circle, or stand between such: all others are there before who imports them begins."""
    left = set(graph)
    while left:
        wanted = set().union(*(graph[name] for name in left))
        free = {name for name in left if not graph[name] & left or name not in wanted}
        if not free:
            break
        left -= free
    return left


def test_every_module_imports_alone() -> None:
    """No module needs another to have been imported first. Those that lie in a circle are each imported in a process that has seen none of ours."""
    code = """
import importlib, os, sys
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            for one in name.split():
                importlib.import_module(one)
        except BaseException as error:
            print(f"{name}: {error!r}", flush=True)
            os._exit(1)
        os._exit(0)
    os.waitpid(child, 0)
"""
    # What all of them share is imported before the forks, which makes this a matter of seconds.
    shared = "import asyncio, aiohttp.web, orjson, structlog, nacl.bindings, sortedcontainers\n"
    alone = [*sorted(_in_circles(_graph())), " ".join(MODULES)]
    ended = subprocess.run([sys.executable, "-c", shared + code, *alone], check=True, capture_output=True, text=True)
    assert ended.stdout == ""


def test_circles_of_imports_are_found() -> None:
    """What only leads to one, or is only led to, is none; a package and what it imports of itself is."""
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set[str](), "p": {"p.x"}, "p.x": {"p"}}
    assert _in_circles(graph) == {"b", "c", "p", "p.x"}


def test_every_endpoint_file_is_listed() -> None:
    """A file of handlers that is not in `api/routes.py` would never be reached."""
    found = set()
    for file in (ROOT / "api").rglob("*.py"):
        if "\nroutes = Routes()" in file.read_text():
            found.add(".".join(file.relative_to(ROOT / "api").with_suffix("").parts))
    assert found == set(routes.MODULES)
    assert len(routes.MODULES) == len(set(routes.MODULES))


def test_every_file_that_the_documents_name_is_there() -> None:
    """A newcomer who follows the architecture finds what it speaks of, wherever it was moved."""
    root = ROOT.parents[1]
    files = [file.as_posix() for part in ("src", "tests", "benches") for file in (root / part).rglob("*.py")]
    for page in (root / "README.md", *(root / "docs").glob("*.md")):
        for name in re.findall(r"`([\w/.-]+\.py)`", page.read_text()):
            assert any(file.endswith(f"/{name}") for file in files), f"{page.name}: {name}"
