"""The script that runs inside `conduit.pyz` between unpacking and starting."""

import fcntl
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

PREAMBLE = Path(__file__).parents[1] / "scripts" / "zipapp_preamble.py"
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
