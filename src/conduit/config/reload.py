"""Taking over a changed configuration while the server runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from conduit.config.fields import fields_of
from conduit.config.schema import Config


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What became of a new configuration."""

    config: Config
    """The old one with what could be taken over."""
    taken: tuple[str, ...]
    """Settings that have changed and hold now."""
    waiting: tuple[str, ...]
    """Settings that have changed and hold after a restart."""


def take_over(old: Config, new: Config) -> Reloaded:
    """Return `old` with every setting of `new` that can change while the server runs."""
    changed = [item for item in fields_of(Config) if getattr(old, item.name) != getattr(new, item.name)]
    taken = tuple(item.name for item in changed if item.setting.reload)
    waiting = tuple(item.name for item in changed if not item.setting.reload)
    return Reloaded(replace(old, **{name: getattr(new, name) for name in taken}), taken, waiting)
