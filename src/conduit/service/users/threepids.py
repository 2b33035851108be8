"""Which third-party identifiers users have bound at which identity servers, so that they can be unbound later.

Source: client-server API, `POST /account/3pid/bind`.
"""

from __future__ import annotations

from typing import NamedTuple

from conduit.database import trees
from conduit.database.database import Batch
from conduit.database.tree import Source
from conduit.protocol.threepids import ThreePid


class Binding(NamedTuple):
    """An identifier and the identity server at which it is bound."""

    threepid: ThreePid
    server: str


def bindings(source: Source, user_id: str) -> list[Binding]:
    """Return what the user has bound."""
    return [Binding(ThreePid(key[1], key[2]), key[3]) for key in trees.threepid_binding.keys(source, (user_id,))]


def remember(batch: Batch, user_id: str, binding: Binding, now_ms: int) -> None:
    """Note that the user has bound an identifier at `now_ms`."""
    trees.threepid_binding.put(batch, (user_id, *binding.threepid, binding.server), now_ms)


def forget(batch: Batch, user_id: str, binding: Binding) -> None:
    """Note that an identifier is bound no longer."""
    trees.threepid_binding.delete(batch, (user_id, *binding.threepid, binding.server))
