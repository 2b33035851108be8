"""Which log lines are wanted, written as Conduit writes it: `warn,conduit.api=debug,state_res=off`.

A directive is a level for everything, `part=level` for one part, or a dotted part alone for all of it (a single word is taken for a
mistyped level). A part is a module (`conduit.service.sync`, also with `::`) or any run of its names (`sync`, `service.sync`); the
most exact one decides, and of two alike the later. Spans in brackets, which Conduit knows, are ignored.
"""

from __future__ import annotations

import logging
import re

LEVELS = {
    "trace": 5,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 10,
}
_PART = re.compile(r"[A-Za-z0-9_.:-]+", re.ASCII)


class LogFilter:
    """A parsed filter. Raises `ValueError` with the faulty directive."""

    def __init__(self, text: str) -> None:
        self.default = LEVELS["error"]
        self._parts: list[tuple[tuple[str, ...], int]] = []
        self._known: dict[str, int] = {}
        for directive in (part.strip() for part in text.split(",")):
            if directive:
                self._add(directive)

    def _add(self, directive: str) -> None:
        part, equals, level = re.sub(r"\[[^\]]*\]", "", directive).partition("=")
        if not equals and part.lower() in LEVELS:
            self.default = LEVELS[part.lower()]
            return
        fits = level.strip().lower() in LEVELS if equals else "." in part or ":" in part
        if not fits or not _PART.fullmatch(part):
            raise ValueError(f'"{directive}" is neither a level ({", ".join(LEVELS)}) nor part=level')
        names = tuple(part.replace("::", ".").strip(".").split("."))
        self._parts.append((names, LEVELS[level.strip().lower()] if equals else LEVELS["trace"]))

    def level_of(self, name: str) -> int:
        """Return the least level that the logger `name` may write."""
        level = self._known.get(name)
        if level is None:
            level = self._known[name] = self._find(name.split("."))
        return level

    def _find(self, path: list[str]) -> int:
        best, level = 0, self.default
        for names, wanted in self._parts:
            length = len(names)
            runs = (tuple(path[at : at + length]) for at in range(len(path) - length + 1))
            if length >= best and names in runs:
                best, level = length, wanted
        return level
