"""The command `conduit`: arguments, and one clear line with a status of its own for whatever goes wrong.

Nothing but the standard library is imported before it is known to be needed, so that `--version` and a mistyped argument answer at once.
"""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import conduit

if TYPE_CHECKING:
    from conduit.config.load import Loaded


class Exit(IntEnum):
    """What the process ends with. The values follow sysexits.h where it has a fitting one."""

    OK = 0
    FINDINGS = 1
    """`db check` or `check-federation` has found something wrong."""
    USAGE = 2
    """The arguments make no sense (argparse's own status)."""
    DAMAGED = 65
    """The database is damaged."""
    MISSING = 66
    """A file or directory that was named is not there."""
    IN_USE = 69
    """The address cannot be listened on, a port in use above all."""
    BUG = 70
    """An error that nobody expected; its traceback is in the log."""
    DISK_FULL = 72
    """Too little room is left on the disk."""
    READ_ONLY = 73
    """The directory cannot be written."""
    DISK_FAILED = 74
    """The disk failed while the server ran. Whatever was acknowledged is there; look at the disk before starting again."""
    LOCKED = 75
    """Another process has the database open."""
    TOO_NEW = 76
    """A newer version has written the database."""
    FOREIGN = 77
    """The directory holds something else: the other backend, another server, no database."""
    BAD_CONFIG = 78
    """The configuration cannot be used."""


_MOST_FINDINGS = 1000
_BAR_COLUMNS = 100
_BAR_WIDTH = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the process's exit status."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except KeyboardInterrupt:
        return 128 + 2
    except BrokenPipeError:
        return Exit.OK
    except Exception as error:
        status, message = _explain(error)
        if status is Exit.BUG:
            import traceback

            traceback.print_exc()
        print(f"conduit: {message}", file=sys.stderr)
        return status


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", metavar="FILE", help="the configuration (otherwise the file that CONDUIT_CONFIG names)"
    )

    parser = argparse.ArgumentParser(
        prog="conduit",
        description="A Matrix homeserver. Without a command it runs; without any configuration it runs for this machine only.",
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=f"conduit-py {conduit.__version__}")
    parser.add_argument("--address", help="listen on this address, in place of the configured ones")
    parser.add_argument("--port", type=_port, help="listen on this port")
    parser.set_defaults(command=_run)
    commands = parser.add_subparsers(metavar="COMMAND")

    # What follows a command must not hide what came before it: absent options leave the namespace alone.
    after = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    after.add_argument(
        "--config", metavar="FILE", help="the configuration (otherwise the file that CONDUIT_CONFIG names)"
    )

    check_config = commands.add_parser("check-config", parents=[after], help="tell whether the configuration is right")
    check_config.set_defaults(command=_check_config)

    check_federation = commands.add_parser(
        "check-federation",
        parents=[after],
        help="tell whether other servers reach this one, or this one another",
    )
    check_federation.add_argument("server", nargs="?", help="the name of another server; otherwise this one")
    check_federation.set_defaults(command=_check_federation)

    rotate = commands.add_parser(
        "rotate-signing-key",
        parents=[after],
        help="sign with a new key from the next start on; the old one stays known to others",
    )
    rotate.set_defaults(command=_rotate_signing_key)

    db = commands.add_parser("db", help="look after the database of a server that does not run")
    db_commands = db.add_subparsers(metavar="COMMAND", required=True)
    check = db_commands.add_parser("check", parents=[after], help="tell whether everything in it agrees")
    check.set_defaults(command=_db_check)
    convert = db_commands.add_parser(
        "convert", parents=[after], help="copy it into another backend, leaving it as it is"
    )
    convert.add_argument("--to", choices=("lmdb", "rocksdb"), required=True, help="the backend of the copy")
    convert.add_argument(
        "--into", metavar="DIR", type=Path, required=True, help="the directory of the copy, new or empty"
    )
    convert.set_defaults(command=_db_convert)
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


def _load(options: argparse.Namespace) -> Loaded:
    from conduit.config.load import load

    return load(options.config, address=options.address, port=options.port)


def _run(options: argparse.Namespace) -> int:
    loaded = _load(options)
    from conduit.utils import imports

    with imports.quickly():
        from conduit import server
        from conduit.api import routes

        list(routes.tables())  # which imports all endpoints
    server.run(loaded, lambda: _load(options))
    return Exit.OK


def _check_config(options: argparse.Namespace) -> int:
    loaded = _load(options)
    for warning in loaded.warnings:
        print(f"warning: {warning}")
    where = (
        "nothing is configured: the embedded defaults hold"
        if loaded.embedded
        else f"{loaded.source or 'the environment'} is good"
    )
    print(f"{where} (server {loaded.config.server_name}, data in {loaded.config.database_path})")
    return Exit.OK


def _check_federation(options: argparse.Namespace) -> int:
    loaded = _load(options)
    import asyncio

    from conduit.service.outbound.check import check

    good = asyncio.run(check(loaded.config, options.server, say=lambda line: print(line, flush=True)))
    return Exit.OK if good else Exit.FINDINGS


def _rotate_signing_key(options: argparse.Namespace) -> int:
    config = _load(options).config
    from conduit.database.open import open_database
    from conduit.protocol.ids import ServerName
    from conduit.service import identity
    from conduit.utils.clock import SystemClock

    db = open_database(config.database_path, config.database_backend, create=False)
    try:
        identity.settle_server_name(db, ServerName(config.server_name))
        before = identity.signing_key(db)
        key = identity.rotate_signing_key(db, SystemClock().now_ms())
    finally:
        db.close_now()
    print(
        f"{config.server_name} signs with {key.key_id} from its next start on; {before.key_id} is published as an old key"
    )
    return Exit.OK


def _db_check(options: argparse.Namespace) -> int:
    config = _load(options).config
    from conduit.database.check import check
    from conduit.database.open import open_read_only

    db = open_read_only(config.database_path, config.database_backend)
    bar = _Bar()
    try:
        findings = check(db, progress=lambda tree, rows: bar.show(f"{rows:>12,} rows read, now {tree}"))
    finally:
        bar.end()
        db.close_now()
    for finding in findings[:_MOST_FINDINGS]:
        print(finding)
    if len(findings) > _MOST_FINDINGS:
        print(f"... and {len(findings) - _MOST_FINDINGS:,} more")
    print(f"{config.database_path}: {_counted(len(findings), 'finding') if findings else 'everything agrees'}")
    return Exit.FINDINGS if findings else Exit.OK


def _db_convert(options: argparse.Namespace) -> int:
    config = _load(options).config
    from conduit.database.convert import convert

    source, media = config.database_path, config.media_path
    within = media.resolve().is_relative_to(source.resolve())
    bar = _Bar()
    try:
        done = convert(
            source,
            config.database_backend,
            options.into,
            options.to,
            media=media if within else None,
            progress=bar.advance,
        )
    finally:
        bar.end()
    print(
        f"{options.into}: {done.entries:,} entries copied and compared, {_counted(done.files, 'media file')} linked or copied"
    )
    print(f'To use it, set database_backend = "{options.to}" and database_path = "{options.into.absolute()}"')
    if not within:
        print(f'The media stay where they are: media.path = "{media}"')
    return Exit.OK


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


class _Bar:
    """A line on the terminal that tells how far a long deed is; elsewhere than on a terminal it is silent."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._shown = False

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._on_terminal:
            self._shown = True
            print(f"\r\x1b[K{text[:_BAR_COLUMNS]}", end="", file=sys.stderr, flush=True)

    def advance(self, doing: str, done: int, total: int) -> None:
        """Show that `done` of `total` is done."""
        part = done / total if total else 1.0
        filled = int(part * _BAR_WIDTH)
        self.show(f"{doing:10} [{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {part:4.0%}  {done:,} of {total:,}")

    def end(self) -> None:
        """Take the line away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _explain(error: Exception) -> tuple[Exit, str]:
    """Return the status for `error` and what to tell the operator: what is wrong, and where it helps, what to do."""
    from conduit.config.load import ConfigError, ConfigMissing

    if isinstance(error, ConfigError):
        where = str(error.source) if error.source else "the configuration"
        if len(error.faults) == 1 and not error.warnings:
            text = f"{where}: {error.faults[0]}"
        else:
            lines = [*error.faults, *(f"{warning} (warning)" for warning in error.warnings)]
            text = f"{where} cannot be used:\n  " + "\n  ".join(lines)
        return (Exit.MISSING if isinstance(error, ConfigMissing) else Exit.BAD_CONFIG), text
    return _explain_database(error) or _explain_system(error)


def _explain_database(error: Exception) -> tuple[Exit, str] | None:
    from conduit.database import errors

    statuses: list[tuple[type[Exception], Exit]] = [
        (errors.Locked, Exit.LOCKED),
        (errors.TooNew, Exit.TOO_NEW),
        (errors.Foreign, Exit.FOREIGN),
        (errors.Damaged, Exit.DAMAGED),
        (errors.Corrupt, Exit.DAMAGED),
        (errors.DiskFull, Exit.DISK_FULL),
        (errors.CannotOpen, Exit.READ_ONLY),
        (errors.EngineFault, Exit.DISK_FAILED),
    ]
    for kind, status in statuses:
        if isinstance(error, kind):
            return status, f"the database: {error}"
    return None


def _explain_system(error: Exception) -> tuple[Exit, str]:
    if type(error).__name__ == "CannotListen":
        return Exit.IN_USE, str(error)
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return Exit.DISK_FULL, f"the disk is full: {what}"
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return Exit.READ_ONLY, f"cannot write: {what}"
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return Exit.MISSING, what
    return Exit.BUG, f"unexpected error: {type(error).__name__}: {error}"
