"""Reading the configuration: a TOML file, environment variables over it, or neither.

Every fault is found in one go and named with its key. What has no effect here, is unknown or is written in Conduit's old way warns.
Without any configuration the server runs embedded: for `localhost`, on the loopback address, open to whoever reaches that.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from conduit.config import values
from conduit.config.checks import disagreements
from conduit.config.fields import Field, fields_of
from conduit.config.schema import Config, WellKnown
from conduit.config.values import Unfit

PREFIX = "CONDUIT_"
FILE_VARIABLE = "CONDUIT_CONFIG"
_OLD_TURN_KEYS = ("turn_uris", "turn_ttl", "turn_secret", "turn_username", "turn_password")


class ConfigError(Exception):
    """The configuration cannot be used. `faults` says everything that is wrong with it, a line each; `warnings` what else is odd."""

    def __init__(self, faults: list[str], source: Path | None = None, warnings: list[str] | None = None) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults
        self.source = source
        self.warnings = warnings or []


class ConfigMissing(ConfigError):
    """The file that was named is not there or cannot be read."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and where it comes from."""

    config: Config
    source: Path | None = None
    """The file, if there was one."""
    embedded: bool = False
    """Whether nothing was configured at all."""
    warnings: tuple[str, ...] = ()


def load(
    file: str | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    address: str | None = None,
    port: int | None = None,
) -> Loaded:
    """Return the configuration in `file`, else in the file that `CONDUIT_CONFIG` names, with the environment's values over it.

    With neither, nor any variable of a setting, that is the embedded configuration. `address` and `port` (from the command line)
    replace those of any. Raises `ConfigError` with all faults, `ConfigMissing` if the file cannot be read.
    """
    given = {name: text for name, text in environ.items() if name.startswith(PREFIX) and name != FILE_VARIABLE}
    named = file or environ.get(FILE_VARIABLE) or None
    overrides = {key: value for key, value in (("address", address), ("port", port)) if value is not None}
    if named is None and not any(name in _variables() for name in given):
        return _embedded(environ, overrides, [_unknown_variable(name) for name in sorted(given)])

    source = Path(named).expanduser() if named else None
    report = _Report()
    raw = _global_table(_read(source), report) if source else {}
    _move_old_turn_keys(raw, report)
    _overlay_environment(raw, given, report)
    if overrides:
        raw |= overrides
        raw.pop("listeners", None)
        report.origins.update({key: f"--{key}" for key in overrides})
    config = _read_table(Config, raw, None, "", report)
    if not report.faults:
        report.faults += disagreements(config)
    if report.faults:
        raise ConfigError(report.faults, source, report.warnings)
    return Loaded(config, source, warnings=tuple(report.warnings))


def data_directory(environ: Mapping[str, str]) -> Path:
    """Return the user's directory for the data of the embedded configuration."""
    base = environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "conduit"


def _embedded(environ: Mapping[str, str], overrides: dict[str, Any], warnings: list[str]) -> Loaded:
    address = overrides.get("address", "127.0.0.1")
    if address not in ("127.0.0.1", "::1", "localhost"):
        raise ConfigError(
            [
                f"--address {address}: without a configuration anybody who reaches the server can make an account, so it only "
                "listens on 127.0.0.1; write a configuration file (conduit.toml.example shows all settings) to listen elsewhere"
            ]
        )
    address = "127.0.0.1" if address == "localhost" else address
    port = overrides.get("port", 6167)
    config = Config(
        server_name="localhost",
        database_path=data_directory(environ),
        address=address,
        port=port,
        allow_registration=True,
        well_known=WellKnown(client=f"http://{f'[{address}]' if ':' in address else address}:{port}"),
    )
    return Loaded(config, embedded=True, warnings=tuple(warnings))


@dataclass(slots=True)
class _Report:
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)
    """Key path → the environment variable or option that gave it."""

    def name(self, path: str) -> str:
        return self.origins.get(path) or f"global.{path}"


def _read(source: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(source.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigMissing(["there is no such file"], source) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"not UTF-8 at byte {error.start}"], source) from None
    except OSError as error:
        raise ConfigMissing([error.strerror or str(error)], source) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"not TOML: {error}"], source) from None


def _global_table(document: dict[str, Any], report: _Report) -> dict[str, Any]:
    known = {item.name for item in fields_of(Config)}
    for key in document:
        if key == "global":
            continue
        if key in known:
            report.faults.append(f"{key}: belongs below a line [global]")
        else:
            report.warnings.append(f"{key}: unknown; everything is read from [global]")
    table = document.get("global", {})
    if not isinstance(table, dict):
        report.faults.append("global: expected a table")
        return {}
    return dict(table)


def _move_old_turn_keys(raw: dict[str, Any], report: _Report) -> None:
    for old in _OLD_TURN_KEYS:
        if old in raw:
            new = old.removeprefix("turn_")
            report.warnings.append(f"global.{old}: is now called global.turn.{new}")
            turn = raw.setdefault("turn", {})
            value = raw.pop(old)
            if isinstance(turn, dict):
                turn.setdefault(new, value)


@cache
def _variables() -> dict[str, tuple[tuple[str, ...], Field]]:
    """Return every environment variable of a setting: its path and field."""

    def walk(cls: type, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Field]]:
        for item in fields_of(cls):
            yield (*path, item.key), item
            if item.table is not None and not item.many:
                yield from walk(item.table, (*path, item.key))

    return {PREFIX + "_".join(path).upper(): (path, item) for path, item in walk(Config, ())}


def _unknown_variable(name: str) -> str:
    return f"{name}: unknown environment variable{_nearest(name, _variables())}"


def _nearest(name: str, known: Any) -> str:
    import difflib  # only for what is mistyped

    near = difflib.get_close_matches(name, list(known), 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _overlay_environment(raw: dict[str, Any], given: dict[str, str], report: _Report) -> None:
    for name, text in sorted(given.items()):
        if name not in _variables():
            report.warnings.append(_unknown_variable(name))
            continue
        path, item = _variables()[name]
        table = raw
        for key in path[:-1]:
            inner = table.get(key)
            # A copy, so that what the file gave stays as it is; a value in a table's place is reported when it is read.
            table[key] = dict(inner) if isinstance(inner, dict) else {}
            table = table[key]
        table[path[-1]] = values.from_environment(text, is_text=item.is_text, is_list=item.many)
        report.origins[".".join(path)] = name


def _read_table(cls: type, raw: dict[str, Any], default: Any, path: str, report: _Report) -> Any:
    """Return a `cls` with what `raw` gives, and `default`'s values (or the class's own) for the rest; `None` after a fault."""
    known = {item.key: item for item in fields_of(cls)}
    for key in raw:
        if key not in known:
            report.warnings.append(f"{report.name(path + key)}: unknown setting{_nearest(key, known)}")
    given: dict[str, Any] = {}
    for item in known.values():
        if item.key in raw:
            given[item.name] = _read_field(item, raw[item.key], default, path, report)
        elif item.required and default is None:
            doc = item.setting.doc
            if not doc[1].isupper():  # as in PEM or URL
                doc = doc[0].lower() + doc[1:]
            report.faults.append(f"{report.name(path + item.key)}: is required: {doc}")
    if report.faults:
        return default
    return cls(**given) if default is None else replace(default, **given)


def _read_field(item: Field, value: Any, parent: Any, path: str, report: _Report) -> Any:
    here = path + item.key
    setting = item.setting
    default = getattr(parent, item.name) if parent is not None else item.default
    if setting.refused:
        if value != "none":
            report.faults.append(f"{report.name(here)}: {setting.refused}")
        return default
    try:
        result = _fit(item, value, default, here, report)
    except Unfit as unfit:
        shown = value if not isinstance(value, str) else f'"{value}"'
        why = f"; {unfit.why}" if unfit.why else ""
        report.faults.append(f"{report.name(here)}: expected {unfit}, not {str(shown)[:80]}{why}")
        return default
    if setting.inert and result != item.default:
        report.warnings.append(f"{report.name(here)}: has no effect: {setting.inert}")
    return result


def _fit(item: Field, value: Any, default: Any, here: str, report: _Report) -> Any:
    if item.table is None:
        if not item.many:
            return item.one(value)
        if not isinstance(value, list):
            raise Unfit("a list")
        return tuple(item.one(part) for part in value)
    if not item.many:
        if value == "none" and item.setting.kind == "none":
            return item.default
        if not isinstance(value, dict):
            raise Unfit("a table")
        if item.empty_means is not None and not value:
            return item.empty_means
        return _read_table(item.table, value, default, here + ".", report)
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise Unfit(f"tables, each under a line [[global.{here}]]")
    return tuple(_read_table(item.table, part, None, f"{here}[{at}].", report) for at, part in enumerate(value))
