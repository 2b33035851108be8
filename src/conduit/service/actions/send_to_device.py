"""Send a message to devices. Source: client-server API, "Send-to-Device messaging"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit.protocol import canonical_json
from conduit.protocol.errors import BadJson, TooLarge
from conduit.protocol.ids import UserId, parse_user_id, server_name_of
from conduit.service import transactions
from conduit.service.context import Context
from conduit.service.keys import to_device

MAX_MESSAGE_BYTES = 65_536
"""As for an event: the message must fit into an EDU."""


def _parse(messages: Mapping[str, Any]) -> dict[UserId, Mapping[str, Mapping[str, Any]]]:
    parsed: dict[UserId, Mapping[str, Mapping[str, Any]]] = {}
    for user, contents in messages.items():
        if not isinstance(contents, dict) or not all(isinstance(content, dict) for content in contents.values()):
            raise BadJson("messages must map users to devices to contents")
        for content in contents.values():
            if len(canonical_json.encode(content)) > MAX_MESSAGE_BYTES:
                raise TooLarge(f"A message may hold at most {MAX_MESSAGE_BYTES} bytes")
        parsed[parse_user_id(user)] = contents
    return parsed


async def send_to_device(
    ctx: Context, *, sender: UserId, device_id: str, event_type: str, txn_id: str, messages: Mapping[str, Any]
) -> None:
    """Queue a message for each device named; the same transaction of the same device does nothing more.

    Raises `BadJson`, `InvalidParam` for a key that is no user id, `TooLarge`. Unknown users and devices are passed over.
    """
    parsed = _parse(messages)
    key = transactions.key("PUT", f"sendToDevice/{event_type}", txn_id)
    with ctx.db.batch() as batch:
        if transactions.find(batch, sender, device_id, key) is not None:
            return
        for user_id, contents in parsed.items():
            if server_name_of(user_id) == ctx.server_name:
                to_device.deliver(batch, sender, event_type, user_id, contents)
        transactions.remember(batch, sender, device_id, key, b"{}", ctx.clock.now_ms())
