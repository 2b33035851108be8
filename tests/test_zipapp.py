"""`conduit.pyz`: the script that runs inside it between unpacking and starting, and the server in it."""

import fcntl
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[1]
PREAMBLE = ROOT / "scripts" / "zipapp_preamble.py"
HERE = f"{sys.implementation.cache_tag} {os.uname().sysname} {os.uname().machine}"


def unpacked(root: Path, name: str, built_for: str = HERE) -> Path:
    """Return the site-packages of a build that shiv has unpacked below `root`."""
    site = root / name / "site-packages"
    (site / "conduit").mkdir(parents=True)
    (site / "conduit" / "built_for").write_text(built_for + "\n")
    (root / f".{name}_lock").touch()
    return site


def run(site: Path) -> dict[str, Any]:
    """Run the preamble as shiv does."""
    return runpy.run_path(str(PREAMBLE), init_globals={"site_packages": site}, run_name="__main__")


def test_right_python_goes_on_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said and nothing ends."""
    run(unpacked(tmp_path, "conduit.pyz_a"))
    assert capsys.readouterr() == ("", "")


def test_other_python_is_told_in_one_line(tmp_path: Path) -> None:
    """With the version that is wanted and the one that runs."""
    with pytest.raises(SystemExit) as ended:
        run(unpacked(tmp_path, "conduit.pyz_a", "cpython-399 Linux riscv64"))
    text = str(ended.value.code)
    assert text.startswith("conduit.pyz is built for python3.99 on Linux riscv64, this is")
    assert "\n" not in text


def test_older_builds_are_removed(tmp_path: Path) -> None:
    """What former builds of the same file have unpacked goes; other programs' stays."""
    unpacked(tmp_path, "conduit.pyz_old")
    unpacked(tmp_path, "other.pyz_old")
    run(unpacked(tmp_path, "conduit.pyz_new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".conduit.pyz_new_lock",
        ".other.pyz_old_lock",
        "conduit.pyz_new",
        "other.pyz_old",
    ]


def test_build_in_use_is_left_alone(tmp_path: Path) -> None:
    """A server that still runs may yet import from its build."""
    old = unpacked(tmp_path, "conduit.pyz_old").parent
    lock = os.open(old / ".in_use", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_SH)
    run(unpacked(tmp_path, "conduit.pyz_new"))
    assert old.exists()
    os.close(lock)


def test_build_being_unpacked_is_left_alone(tmp_path: Path) -> None:
    """Another start may be at it."""
    (tmp_path / "conduit.pyz_next.tmp").mkdir()
    run(unpacked(tmp_path, "conduit.pyz_new"))
    assert (tmp_path / "conduit.pyz_next.tmp").exists()


# --- the server in it -------------------------------------------------------------------------------------------------

_PROBE = """
import asyncio, os, signal, sys
import psutil
from conduit.service.events import resolve

# Who runs the tests in the background may have had SIGINT ignored, for all that they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)

async def main():
    problem = resolve.Problem("10", [{1: 7}, {1: 7}], {}, {}, {7: ()}, frozenset())
    asking = asyncio.ensure_future(resolve._in_helper(problem))
    while not (found := [one for one in psutil.Process().children() if "spawn_main" in str(one.cmdline())]):
        await asyncio.sleep(0)
    if "--die" in sys.argv:
        print(found[0].pid, flush=True)
        os.kill(os.getpid(), int(sys.argv[-1]))
        await asyncio.sleep(60)
    print(await asking)
"""


def build(folder: Path) -> Path:
    """Pack what is installed here as `make zipapp` packs what it downloads, with a module more; neither compressed nor compiled, to save time."""
    site = folder / "site"
    names = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / "run.txt").read_text(), re.MULTILINE)
    for name in [*names, "psutil"]:
        for file in distribution(name).files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path(str(file.locate())), site / file)
    shutil.copytree(ROOT / "src" / "conduit", site / "conduit", ignore=shutil.ignore_patterns("__pycache__"))
    (site / "conduit" / "built_for").write_text(HERE + "\n")
    (site / "probe.py").write_text(_PROBE + "\ndef run():\n    asyncio.run(main())\n")
    options = ["--uncompressed", "--entry-point", "conduit.cli:main", "--preamble", str(PREAMBLE)]
    target = folder / "conduit.pyz"
    command = [sys.executable, "-m", "shiv.cli", "--site-packages", str(site), "--output-file", str(target), *options]
    subprocess.run(command, check=True, capture_output=True)
    shutil.rmtree(site)
    return target


def test_helper_of_large_resolutions_works_inside(tmp_path: Path) -> None:
    """It finds what the server is made of, which only the server's own start has unpacked; and it ends with the server, however that ends."""
    zipapp = build(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"SHIV_ROOT": str(tmp_path / "unpacked"), "PYTHONSAFEPATH": "1"}

    def start(*arguments: str) -> str:
        command = [sys.executable, str(zipapp), *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        return done.stdout.strip()

    assert start("--version").startswith("conduit-py ")
    environment["SHIV_ENTRY_POINT"] = "probe:run"
    assert start() == "{1: 7}"
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        # The helper has the output too, so that reading it to its end has waited for the helper's.
        helper = int(start("--die", str(int(number))))
        assert not psutil.pid_exists(helper) or psutil.Process(helper).status() == psutil.STATUS_ZOMBIE
