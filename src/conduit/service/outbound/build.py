"""Putting the outbound side together from the configuration."""

from __future__ import annotations

from collections.abc import Mapping

from conduit.config.schema import Config
from conduit.database.database import Database
from conduit.protocol.ids import ServerName
from conduit.protocol.signing import OldKey, SigningKey
from conduit.service.outbound import Outbound
from conduit.service.outbound.address_filter import AddressFilter
from conduit.service.outbound.backoff import Backoff
from conduit.service.outbound.federation import FederationClient
from conduit.service.outbound.http import HttpClient
from conduit.service.outbound.https_wire import HttpsWire
from conduit.service.outbound.keyring import Keyring
from conduit.service.outbound.own_keys import OwnKeys
from conduit.service.outbound.policy import ServerPolicy
from conduit.service.outbound.proxies import Proxies
from conduit.service.outbound.resolver import Resolver, fetch_delegation, look_up_srv
from conduit.service.outbound.wire import Wire
from conduit.utils.buckets import Buckets
from conduit.utils.clock import Clock

MAX_TOLD_STATES = 30
"""How many states of one room other servers are asked for at once on behalf of one owner's servers: a room that was missed for long needs a few."""
TOLD_STATES_A_SECOND = 1 / 60
MAX_TOLD_PIECES = 4096
"""How much of states and auth chains is stored at once for one owner's servers: 256 MiB, some rooms of the largest."""
TOLD_PIECES_A_SECOND = 1 / 4


def outbound(
    config: Config,
    *,
    db: Database,
    clock: Clock,
    signing_key: SigningKey,
    old_keys: Mapping[str, OldKey] | None = None,
    wire: Wire | None = None,
) -> Outbound:
    """Return the outbound side of a server. Nothing is sent before somebody asks. Tests give a `wire` of their own."""
    server_name = ServerName(config.server_name)
    http = HttpClient(
        addresses=AddressFilter(config.ip_range_denylist),
        proxies=Proxies(config.proxy),
        ca_file=config.federation_ca_file,
    )
    resolver = Resolver(
        clock=clock,
        well_known=lambda host: fetch_delegation(http, host, now_ms=clock.now_ms()),
        srv=look_up_srv,
    )
    wire = wire or HttpsWire(resolver=resolver, http=http)
    policy = ServerPolicy(
        enabled=config.allow_federation,
        allowed=config.federation_allowed_servers,
        denied=config.federation_denied_servers,
    )
    backoff = Backoff(db=db, clock=clock)
    own = OwnKeys(server_name, signing_key, old_keys)
    federation = FederationClient(
        server_name=server_name,
        signing_key=lambda: own.signing_key,
        wire=wire,
        backoff=backoff,
        policy=policy,
        max_requests=config.max_concurrent_requests,
    )
    keyring = Keyring(
        server_name=server_name,
        db=db,
        clock=clock,
        federation=federation,
        own=own,
        notaries=config.trusted_servers,
        ignored=config.ignored_keys,
    )
    told_states = Buckets(TOLD_STATES_A_SECOND, MAX_TOLD_STATES, clock)
    told_pieces = Buckets(TOLD_PIECES_A_SECOND, MAX_TOLD_PIECES, clock)
    return Outbound(http, resolver, policy, wire, backoff, federation, keyring, own, told_states, told_pieces)
