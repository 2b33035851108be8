"""Send a message to devices. Source: client-server API, "Send-to-Device messaging"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from conduit.protocol import canonical_json
from conduit.protocol.errors import BadJson, TooLarge
from conduit.protocol.ids import ServerName, UserId, parse_user_id, server_name_of
from conduit.service import transactions
from conduit.service.context import Context
from conduit.service.keys import to_device
from conduit.service.sending import catch_up, queue
from conduit.utils.tokens import random_text

log = structlog.get_logger(__name__)

Contents = Mapping[str, Mapping[str, Any]]
"""device, or `*` for all of them -> content."""

MAX_MESSAGE_BYTES = 65_536
"""As for an event: the message must fit into an EDU."""
MAX_MESSAGES = 10_000
"""How many devices one request may name: all is one batch, and everybody waits for it."""


def _parse(messages: Mapping[str, Any]) -> dict[UserId, Contents]:
    parsed: dict[UserId, Contents] = {}
    named = 0
    for user, contents in messages.items():
        if not isinstance(contents, dict) or not all(isinstance(content, dict) for content in contents.values()):
            raise BadJson("messages must map users to devices to contents")
        # Who is named without a device is looked for as well.
        named += len(contents) or 1
        if named > MAX_MESSAGES:
            raise TooLarge(f"A request may name at most {MAX_MESSAGES} devices")
        for content in contents.values():
            if len(canonical_json.encode(content)) > MAX_MESSAGE_BYTES:
                raise TooLarge(f"A message may hold at most {MAX_MESSAGE_BYTES} bytes")
        parsed[parse_user_id(user)] = contents
    return parsed


async def send_to_device(
    ctx: Context, *, sender: UserId, device_id: str, event_type: str, txn_id: str, messages: Mapping[str, Any]
) -> None:
    """Queue a message for each device named; the same transaction of the same device does nothing more.

    Users of other servers are sent theirs through the outgoing queue, in order and exactly once, unless their server has been dead for a month. Raises `BadJson`, `InvalidParam` for a key that is no
    user id, `TooLarge`. Unknown users and devices are passed over.
    """
    parsed = _parse(messages)
    key = transactions.key("PUT", f"sendToDevice/{event_type}", txn_id)
    with ctx.db.batch() as batch:
        if transactions.find(batch, sender, device_id, key) is not None:
            return
        remote: dict[ServerName, dict[UserId, Contents]] = {}
        for user_id, contents in parsed.items():
            server = server_name_of(user_id)
            if server == ctx.server_name:
                to_device.deliver(batch, sender, event_type, user_id, contents)
            elif ctx.outbound.policy.refusal(server) is None:
                remote.setdefault(server, {})[user_id] = contents
        for server, wanted in remote.items():
            failing = ctx.outbound.backoff.failing(server)
            if failing is not None and ctx.clock.now_ms() - failing.since >= catch_up.DEAD_MS:
                log.info("message_to_devices_dropped", server=server, failing_since=failing.since)
                continue
            for part in _parts(wanted):
                content = {"sender": sender, "type": event_type, "message_id": random_text(20), "messages": part}
                queue.enqueue_edu(batch, server, {"edu_type": "m.direct_to_device", "content": content})
        transactions.remember(batch, sender, device_id, key, b"{}", ctx.clock.now_ms())


def _parts(wanted: Mapping[UserId, Contents]) -> list[dict[str, dict[str, Any]]]:
    """Return the messages for one server in parts, each of which makes an EDU of bearable size."""
    parts: list[dict[str, dict[str, Any]]] = [{}]
    size = 0
    for user_id, contents in wanted.items():
        for device_id, content in contents.items():
            more = len(canonical_json.encode(content)) + len(user_id) + len(device_id)
            if size and size + more > MAX_MESSAGE_BYTES:
                parts.append({})
                size = 0
            size += more
            parts[-1].setdefault(user_id, {})[device_id] = content
    return [part for part in parts if part]
