"""The server's own keys as others see them: the one that signs, and those that once did.

Source: server-server API, "Publishing Keys".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit.protocol.signing import OldKey, SigningKey
from conduit.utils import base64

VALID_MS = 24 * 3_600_000
"""How long others may rely on what is published before they ask again."""
RENEW_MS = VALID_MS // 2


class OwnKeys:
    """The key that signs, and the old ones by key id."""

    def __init__(self, server_name: str, signing_key: SigningKey, old: Mapping[str, OldKey] | None = None) -> None:
        self._server_name = server_name
        self.signing_key = signing_key
        self.old = dict(old or {})
        self._published: dict[str, Any] | None = None
        self._renew_at = 0

    def change(self, signing_key: SigningKey, old: Mapping[str, OldKey]) -> None:
        """Sign with another key from now on; `old` are all that signed before it."""
        self.signing_key = signing_key
        self.old = dict(old)
        self._published = None

    def find(self, key_id: str, valid_at: int | None) -> bytes | None:
        """Return the public key of that id if it was valid at that time; `None` as the time means that it does not matter."""
        if key_id == self.signing_key.key_id:
            return base64.decode(self.signing_key.public_key)
        old = self.old.get(key_id)
        if old is None or (valid_at is not None and valid_at > old.expired_ts):
            return None
        return base64.decode(old.public_key)

    def published(self, now_ms: int) -> dict[str, Any]:
        """Return the key object, signed, which holds for at least half a day from now."""
        if self._published is None or not self._renew_at - RENEW_MS <= now_ms < self._renew_at:
            self._renew_at = now_ms + RENEW_MS
            self._published = self.signing_key.sign_json(
                {
                    "server_name": self._server_name,
                    "verify_keys": {self.signing_key.key_id: {"key": self.signing_key.public_key}},
                    "old_verify_keys": {
                        key_id: {"key": key.public_key, "expired_ts": key.expired_ts}
                        for key_id, key in self.old.items()
                    },
                    "valid_until_ts": now_ms + VALID_MS,
                },
                self._server_name,
            )
        return self._published
