"""Everything that goes out of this server: HTTP of any kind, requests to other servers, and the keys with which they sign.

`errors` say why another server could not be asked or what it refused; `wire` is the seam at which tests put a network of their own;
`federation` signs and sends; `keyring` knows everybody's public keys, ours included; `backoff` remembers who is not to be bothered.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from conduit.service.outbound.backoff import Backoff
from conduit.service.outbound.federation import FederationClient
from conduit.service.outbound.flights import Flights, Recent
from conduit.service.outbound.http import HttpClient
from conduit.service.outbound.keyring import Keyring
from conduit.service.outbound.own_keys import OwnKeys
from conduit.service.outbound.policy import ServerPolicy
from conduit.service.outbound.resolver import Resolver
from conduit.service.outbound.turns import Turns
from conduit.service.outbound.wire import Wire
from conduit.utils.buckets import Buckets
from conduit.utils.keyed_lock import KeyedLock

__all__ = ["TOLD_PIECE", "Outbound"]

TOLD_PIECE = 64 * 1024
"""Bytes of a piece in `told_pieces`: an event has no more."""


@dataclass(frozen=True, slots=True)
class Outbound:
    """What a deed needs to talk with others; a field of the context."""

    http: HttpClient
    resolver: Resolver
    policy: ServerPolicy
    wire: Wire
    backoff: Backoff
    federation: FederationClient
    keyring: Keyring
    own_keys: OwnKeys
    told_states: Buckets
    """How many states of rooms may be asked for on behalf of events of one owner's servers: by owner (`turns.household`) and room."""
    told_pieces: Buckets
    """How much of what other servers tell is stored for the sake of events of one owner's servers: pieces of `TOLD_PIECE` bytes, by owner."""
    flights: Flights = field(default_factory=Flights)
    recent: Recent = field(default_factory=Recent)
    lanes: KeyedLock = field(default_factory=KeyedLock)
    """Held by key while something is asked that another server can make us ask: a few keys a server, so that a slow one takes no more of our requests."""

    background: Turns = field(default_factory=lambda: Turns(48, of_room=24, of_household=12, of_server=8))
    """Places of requests that others can make us make without anybody here waiting for them: they never take all that there are."""

    whole_states: Turns = field(default_factory=lambda: Turns(2, of_room=1, of_household=1, of_server=1))
    """Places of answers with the whole state of a room, until they have been taken apart: each may take a hundred megabytes."""

    async def close(self) -> None:
        """Close connections and threads; requests under way fail."""
        self.keyring.close()
        await self.wire.close()
        await self.http.close()
