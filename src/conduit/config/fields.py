"""The settings of a class as data: name, type, default and how one value is read. Derived once from the dataclasses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from conduit.config import values
from conduit.config.schema import DirectoryStructure, Setting


@dataclass(frozen=True, slots=True)
class Field:
    """One setting."""

    name: str
    setting: Setting
    default: Any
    """`MISSING` if it must be given."""
    kind: type
    """The type of the value, or of each of its parts."""
    many: bool
    """Whether it is a list."""
    table: type | None
    """The class of its table or tables, if it is one."""
    one: Callable[[object], Any]
    """Reads one value, or one part of a list; raises `Unfit`."""
    empty_means: Any = None
    """What an empty table stands for, if not for the defaults."""

    @property
    def key(self) -> str:
        """Its name in the file; a Python keyword has an underscore appended in the class."""
        return self.name.rstrip("_")

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def is_text(self) -> bool:
        """Whether an environment variable's text is the value as it stands."""
        return not self.many and (self.kind in (str, Path) or self.setting.kind in ("bytes", "seconds"))


@cache
def fields_of(cls: type) -> tuple[Field, ...]:
    """Return the settings of a table's class in their order."""
    hints = get_type_hints(cls)
    return tuple(_field(item.name, hints[item.name], item.default, item.metadata["setting"]) for item in fields(cls))


def _field(name: str, hint: Any, default: Any, setting: Setting) -> Field:
    plain = [part for part in get_args(hint) if part is not NoneType]
    many = get_origin(hint) is tuple
    kind = plain[0] if plain else hint
    return Field(
        name,
        setting,
        default,
        kind,
        many,
        _table(kind),
        _reader(kind, setting),
        DirectoryStructure(depth=0) if kind is DirectoryStructure else None,
    )


def _table(kind: Any) -> type | None:
    return kind if isinstance(kind, type) and is_dataclass(kind) else None


def _reader(kind: type, setting: Setting) -> Callable[[object], Any]:
    if kind is bool:
        return values.flag
    if kind is Path:
        return values.path
    if kind in (int, float):
        return partial(values.number, setting=setting, whole=kind is int)
    return partial(values.text, setting=setting)
