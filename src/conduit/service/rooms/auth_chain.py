"""Auth chains: the events that authorise events, directly or not, walked over the edges that are kept of every event.

Nothing of a chain is stored: the edges are read level by level, many in one go, and kept in memory while there is room. A walk visits a number once, so
neither cycles nor wide graphs cost more than the number of events in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from conduit.database.cache import CacheSource
from conduit.service.rooms import timeline


def auth_of(source: CacheSource, short: int) -> tuple[int, ...]:
    """Return the short events that a short event cites as its auth events; none for an unknown one."""
    known = timeline.facts(source, short)
    return () if known is None else known.auth


def chain(source: CacheSource, shorts: Iterable[int]) -> set[int]:
    """Return the auth chains of short events. One of them is in it only if another of them leads to it. Unknown events end a chain, and are in it."""
    found: set[int] = set()
    level: Sequence[int] = list(shorts)
    while level:
        found_next: set[int] = set()
        for known in timeline.facts_of(source, level):
            if known is not None:
                found_next.update(known.auth)
        found_next -= found
        found |= found_next
        level = list(found_next)
    return found


def is_long(source: CacheSource, shorts: Iterable[int], most: int) -> bool:
    """Tell whether short events and their auth chains are more than `most`; no more than that are looked at."""
    seen = set(shorts)
    waiting = list(seen)
    while waiting and len(seen) <= most:
        known = timeline.facts(source, waiting.pop())
        new = () if known is None else [cited for cited in known.auth if cited not in seen]
        seen.update(new)
        waiting += new
    return len(seen) > most


def with_chain(source: CacheSource, shorts: Iterable[int]) -> set[int]:
    """Return short events and their auth chains."""
    starts = set(shorts)
    return starts | chain(source, starts)


def difference(source: CacheSource, sets: Sequence[Iterable[int]]) -> set[int]:
    """Return the short events that are in the auth chain of some of `sets`, each with its own events, but not of all."""
    chains = [with_chain(source, shorts) for shorts in sets]
    if not chains:
        return set()
    return set().union(*chains) - chains[0].intersection(*chains[1:])
