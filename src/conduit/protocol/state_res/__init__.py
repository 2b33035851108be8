"""State resolution: one state out of several.

`resolve` is a function of its arguments: no order of sets, of mappings or of time enters the result. Events and states
come in by reference, which may be the event ids themselves or the integers that a database gives them; event ids are
compared only where the specification breaks a tie by them.

The parts, in the order of use: `split` finds what is in conflict, `auth_graph` what else belongs to the full conflicted
set, `power_sort` and `mainline` order it, `iterative_auth` lets in what the rules allow. `v1` is the algorithm of room
version 1, which has only a tie-break in common with the later ones.

Where the text leaves room, or the network has settled on something else, the code says so: servers must agree with each
other before all.

Source: rooms/v1, rooms/v2 and rooms/v12, "State resolution".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import RoomVersion
from conduit.protocol.state_res import v1
from conduit.protocol.state_res.auth_graph import AuthGraph, auth_difference, conflicted_subgraph
from conduit.protocol.state_res.iterative_auth import Resolver
from conduit.protocol.state_res.mainline import mainline_sort
from conduit.protocol.state_res.power_sort import power_events_and_chains, power_sort
from conduit.protocol.state_res.split import split

__all__ = ["resolve", "split"]

K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=Hashable)


def _tuple_key(event_type: str, state_key: str) -> Any:
    return event_type, state_key


def _never(_: Any) -> bool:
    return False


def resolve(
    version: RoomVersion,
    state_sets: Sequence[Mapping[K, R]],
    fetch: Callable[[R], Event | None],
    *,
    auth_of: Callable[[R], Iterable[R]] | None = None,
    key_of: Callable[[str, str], K] = _tuple_key,
    rejected: Callable[[R], bool] = _never,
) -> dict[K, R]:
    """Return the state that several states of one room resolve to.

    `state_sets` map state keys to event references. `fetch` gives the event of a reference, or None when it is not at
    hand: such an event takes no part. By default references are event ids and state keys are pairs of type and state
    key; otherwise `auth_of` gives the references of an event's auth events, and `key_of` the key of a pair. `rejected`
    tells which events were rejected and so authorise nothing.

    Events are fetched for what is in conflict only; the graph of the rest is walked by `auth_of`, once.
    """
    if not state_sets:
        return {}
    unconflicted, conflicted = split(state_sets)
    if version.state_res == 1:
        return v1.resolve(version, state_sets, fetch, key_of)
    if not conflicted:
        return unconflicted
    graph = AuthGraph(fetch, auth_of or cast("Callable[[R], Iterable[R]]", _by_event_id(fetch)))
    modified = version.state_res == 21
    full = auth_difference(graph, state_sets, conflicted)
    full |= conflicted_subgraph(graph, conflicted) if modified else conflicted
    full = {ref for ref in full if graph.event(ref) is not None}
    create = unconflicted.get(key_of("m.room.create", ""))
    resolver = Resolver(version, graph, key_of, rejected, create)
    # 1. Take the power events of the full conflicted set, with those of their auth chains that belong to it as well,
    # in reverse topological power ordering.
    powerful = power_events_and_chains(graph, full)
    # 2. Apply the iterative auth checks to them, starting from the unconflicted state; in version 2.1 from nothing.
    state = {} if modified else dict(unconflicted)
    resolver.apply(state, power_sort(graph, powerful, version, create))
    # 3. Take all the others in the mainline ordering based on the power levels that have come out.
    remaining = full.difference(powerful)
    ordered = mainline_sort(graph, remaining, state.get(key_of("m.room.power_levels", "")))
    # 4. Apply the iterative auth checks to them.
    resolver.apply(state, ordered)
    # 5. Whatever was not in conflict stays as it was.
    state.update(unconflicted)
    return state


def _by_event_id(fetch: Callable[[R], Event | None]) -> Callable[[R], Iterable[Any]]:
    def auth_of(ref: R) -> Iterable[Any]:
        event = fetch(ref)
        return () if event is None else event.auth_events

    return auth_of
