"""What a deed works with: the owners of state, built once in `conduit.server` and handed down.

Services are not in it: they are modules, imported by name. At most twelve fields; a thirteenth would be a service that has crept in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conduit.config.schema import Config
    from conduit.database.database import Database
    from conduit.protocol.ids import ServerName
    from conduit.protocol.signing import SigningKey
    from conduit.service.locks import Locks
    from conduit.service.media.files import MediaFiles
    from conduit.service.outbound import Outbound
    from conduit.service.presence import Presence
    from conduit.service.rooms.typing import Typing
    from conduit.service.users.passwords import Hasher
    from conduit.utils.clock import Clock
    from conduit.utils.tasks import Tasks


@dataclass(frozen=True, slots=True)
class Context:
    """The owners of state of one running homeserver."""

    config: Config
    server_name: ServerName
    db: Database
    clock: Clock
    locks: Locks
    typing: Typing
    presence: Presence
    media_files: MediaFiles
    hasher: Hasher
    outbound: Outbound
    tasks: Tasks

    @property
    def signing_key(self) -> SigningKey:
        """The key that signs; an administrator may change it while the server runs."""
        return self.outbound.own_keys.signing_key
