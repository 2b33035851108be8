"""Runs inside `conduit.pyz` once it is unpacked, before the server: looks at the Python version and removes what older builds left.

shiv hands in `site_packages`, the folder that holds the unpacked packages. A running server holds a shared lock on its build, so that
nobody removes what it may yet import. Nothing heavy is imported here: it is part of every start.
"""

import fcntl
import os
import sys
from pathlib import Path

LOCK_NAME = ".in_use"


def wrong_python(site: Path) -> str:
    """Return why this interpreter cannot run the build, in one line, or nothing."""
    built_for = (site / "conduit" / "built_for").read_text().strip()
    here = f"{sys.implementation.cache_tag} {os.uname().sysname} {os.uname().machine}"
    if here == built_for:
        return ""
    tag, system, machine = built_for.split()
    python = "python3." + tag[len("cpython-3") :]  # no newer syntax or methods here: old Pythons come this far
    return f"conduit.pyz is built for {python} on {system} {machine}, this is {sys.executable} ({here}): run it with {python}, or build another with `make zipapp`"


def hold(build: Path) -> None:
    """Mark `build` as in use for as long as this process lives."""
    lock = os.open(build / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)


def remove_old(build: Path) -> None:
    """Remove the other builds of the same file, except those that a process still uses."""
    name = build.name.rpartition("_")[0]
    for other in build.parent.glob(f"{name}_*"):
        if other == build or other.name.endswith(".tmp") or not other.is_dir():
            continue
        lock = os.open(other / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            import shutil

            shutil.rmtree(other, ignore_errors=True)
            (other.parent / f".{other.name}_lock").unlink(missing_ok=True)
        finally:
            os.close(lock)


def main(site: Path) -> None:
    """Check and tidy; ends the process if this Python cannot run the build."""
    complaint = wrong_python(site)
    if complaint:
        sys.exit(complaint)
    try:
        hold(site.parent)
        remove_old(site.parent)
    except OSError:
        pass  # a cache that can only be read works as well, it is only not tidied


if "site_packages" in globals():
    main(Path(globals()["site_packages"]))
