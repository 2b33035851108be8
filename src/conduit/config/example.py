"""What is written from the schema: `conduit.toml.example` and the table of settings in `docs/configuration.md`.

`scripts/settings` writes both; a test compares them with what is committed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from conduit.config.fields import Field, fields_of
from conduit.config.schema import DAY, HOUR, MIB, Config, Rate, Setting

_HEAD = """\
# Configuration of a Conduit-py homeserver: every setting, what it does and its default.
#
# Name this file in CONDUIT_CONFIG or after --config. `conduit check-config` tells whether it is right. Only server_name and
# database_path are required. What stands behind a # is the default, or an example of what is not set by default. Every setting
# can be given in the environment too, in capitals: CONDUIT_PORT, CONDUIT_WELL_KNOWN_CLIENT, CONDUIT_MEDIA_DIRECTORY_STRUCTURE_DEPTH.
# Sizes are bytes or "20MB", durations seconds or "30d".
"""
_TABLE_START = "<!-- settings: written by scripts/settings -->\n"
_TABLE_END = "<!-- end of settings -->\n"
_WIDTH = 118
_SHOW_ITEMS = 4


def example() -> str:
    """Return the text of `conduit.toml.example`."""
    lines = [_HEAD, "[global]", *_settings(Config)]
    for item, path in _tables(Config, "global"):
        header = f"[[{path}]]" if item.many else f"[{path}]"
        lines += ["", "", *_comment(item.setting.doc), f"#{header}", *_settings(_class(item))]
    return "\n".join(lines) + "\n"


def table() -> str:
    """Return the table of all settings for `docs/configuration.md`, in Markdown."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    lines += [_row(item, item.name) for item in _plain(Config)]
    for item, path in _tables(Config, "global"):
        prefix = path.removeprefix("global.")
        lines += [_row(inner, f"{prefix}{'[]' if item.many else ''}.{inner.key}") for inner in _plain(_class(item))]
    return "\n".join(lines) + "\n"


def _class(item: Field) -> type:
    assert item.table is not None
    return item.table


def _plain(cls: type) -> list[Field]:
    return [item for item in fields_of(cls) if item.table in (None, Rate)]


def _tables(cls: type, path: str) -> Iterator[tuple[Field, str]]:
    for item in fields_of(cls):
        if item not in _plain(cls):
            yield item, f"{path}.{item.key}"
            yield from _tables(_class(item), f"{path}.{item.key}")


def _settings(cls: type) -> Iterator[str]:
    for item in _plain(cls):
        yield ""
        yield from _comment(_doc(item.setting))
        if item.required:
            yield f"{'' if cls is Config else '#'}{item.name} = {item.setting.example}"
        elif item.default is None or item.default == ():
            yield f"#{item.name} = {item.setting.example or _placeholder(item)}  # not set by default"
        else:
            yield f"#{item.name} = {_toml(item.default, item.setting)}"


def _doc(setting: Setting) -> str:
    text = setting.doc
    if setting.choices and len(setting.choices) <= _SHOW_ITEMS:
        text += " One of " + ", ".join(f'"{choice}"' for choice in setting.choices) + "."
    if setting.inert:
        text += f" Accepted without effect: {setting.inert}."
    if setting.refused:
        text += f" Refused: {setting.refused}."
    return text


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]


def _placeholder(item: Field) -> str:
    if item.many:
        return "[]"
    if item.kind in (int, float):
        return '"10GB"' if item.setting.kind == "bytes" else '"30d"' if item.setting.kind == "seconds" else "0"
    if item.kind is bool:
        return "false"
    return f'"{item.setting.choices[0]}"' if item.setting.choices else '""'


def _toml(value: Any, setting: Setting) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Rate):
        return f"{{ per_second = {value.per_second:g}, burst = {value.burst} }}"
    if isinstance(value, tuple):
        parts = [_toml(part, setting) for part in value]
        if len(parts) <= _SHOW_ITEMS:
            return f"[{', '.join(parts)}]"
        lines = textwrap.wrap(", ".join(parts), _WIDTH - 5)
        return "\n".join(["[", *(f"#    {line}" for line in lines), "#]"])
    if isinstance(value, str | Path):
        return f'"{value}"'
    if setting.kind == "seconds":
        return _duration(value)
    if setting.kind == "bytes" and value % MIB == 0:
        return f'"{value // MIB}MiB"'
    return f"{value:_}" if value >= 10_000 else str(value)


def _duration(seconds: int) -> str:
    for unit, length in (("d", DAY), ("h", HOUR), ("min", 60)):
        if seconds and seconds % length == 0:
            return f'"{seconds // length}{unit}"'
    return str(seconds)


def _row(item: Field, name: str) -> str:
    if item.default is MISSING:
        default = "required"
    elif item.default in (None, ()):
        default = "none"
    elif isinstance(item.default, tuple) and len(item.default) > _SHOW_ITEMS:
        default = "private ranges"
    else:
        default = f"`{_toml(item.default, item.setting)}`"
    return f"| `{name}` | {default} | {_doc(item.setting).replace('|', chr(92) + '|')} |"


def with_table(page: str) -> str:
    """Return the text of `docs/configuration.md` with its table replaced by the one of today."""
    before, start, rest = page.partition(_TABLE_START)
    _, end, after = rest.partition(_TABLE_END)
    if not start or not end:
        raise ValueError("docs/configuration.md has lost the marks around its table")
    return f"{before}{start}{table()}{end}{after}"
