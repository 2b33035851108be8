"""Putting the outbound side together from the configuration."""

from __future__ import annotations

from conduit.config.schema import Config
from conduit.database.database import Database
from conduit.protocol.ids import ServerName
from conduit.protocol.signing import SigningKey
from conduit.service.outbound import Outbound
from conduit.service.outbound.backoff import Backoff
from conduit.service.outbound.federation import FederationClient
from conduit.service.outbound.keyring import Keyring
from conduit.service.outbound.own_keys import OwnKeys
from conduit.service.outbound.policy import ServerPolicy
from conduit.service.outbound.wire import Unwired, Wire
from conduit.utils.clock import Clock


def outbound(
    config: Config, *, db: Database, clock: Clock, signing_key: SigningKey, wire: Wire | None = None
) -> Outbound:
    """Return the outbound side of a server. Nothing is sent before somebody asks. Tests give a `wire` of their own."""
    server_name = ServerName(config.server_name)
    wire = wire or Unwired()
    policy = ServerPolicy(enabled=config.allow_federation)
    backoff = Backoff(db=db, clock=clock)
    own = OwnKeys(server_name, signing_key)
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
    return Outbound(policy, wire, backoff, federation, keyring)
