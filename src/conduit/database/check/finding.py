"""What a check says, and how it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from conduit.database.database import Database
from conduit.database.tree import Tree

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not agree: in which tree, about what, and what is wrong."""

    tree: str
    about: str
    what: str

    def __str__(self) -> str:
        return f"{self.tree}: {self.about}: {self.what}"


Findings = Iterator[Finding]


class Reading:
    """The database as the checks read it: rows that cannot be decoded are passed over, since `rows.check` tells of them."""

    def __init__(self, db: Database, progress: Callable[[str, int], None]) -> None:
        self.db = db
        self._progress = progress
        self._done = 0

    def rows(self, tree: Tree[K, V], prefix: tuple[Any, ...] = ()) -> Iterator[tuple[K, V]]:
        """Return the readable entries of a tree, of one prefix or all."""
        head = tree.key.prefix(prefix) if prefix and tree.key.prefix is not None else b""
        for raw_key, data in self.db.scan(tree.name, head, None):
            if not raw_key.startswith(head):
                return
            self._done += 1
            if self._done % 4096 == 0:
                self._progress(tree.name, self._done)
            try:
                entry = tree.key.decode(raw_key), tree.value.decode(data)
            except ValueError:
                continue
            yield entry

    def keys(self, tree: Tree[K, Any], prefix: tuple[Any, ...] = ()) -> Iterator[K]:
        """Return the readable keys of a tree."""
        for key, _ in self.rows(tree, prefix):
            yield key

    def get(self, tree: Tree[K, V], key: K) -> V | None:
        """Return the value of `key`, or `None` if there is none that can be read."""
        data = self.db.get(tree.name, tree.key.encode(key))
        try:
            return None if data is None else tree.value.decode(data)
        except ValueError:
            return None


def finding(tree: Tree[Any, Any], about: object, what: str) -> Finding:
    """Return a finding about an entry of `tree`."""
    return Finding(tree.name, about if isinstance(about, str) else repr(about), what)
