"""Which servers a room's access control list lets in.

Source: client-server API, "m.room.server_acl"; server-server API, "Server Access Control Lists".
"""

from __future__ import annotations

import re
from typing import Any

from conduit.protocol.glob import Glob

_PORT = re.compile(r":[0-9]+\Z", re.ASCII)
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", re.ASCII)

MAX_KNOWN = 10_000
"""For how many servers a list remembers what it says: every event asks for all servers of its room."""


class ServerAcl:
    """The content of an `m.room.server_acl`, read once and asked often; entries of the wrong type are passed over."""

    __slots__ = ("_allow", "_deny", "_ip_literals", "_known")

    def __init__(self, content: dict[str, Any]) -> None:
        self._ip_literals = content.get("allow_ip_literals") is not False
        self._allow = _globs(content.get("allow"))
        self._deny = _globs(content.get("deny"))
        self._known: dict[str, bool] = {}

    def allows(self, server_name: str) -> bool:
        """Tell whether the server may take part in the room. Ports and case do not count.

        A room without `m.room.server_acl` (rule 1) lets everybody in and has no object of this class.
        """
        known = self._known.get(server_name)
        if known is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            known = self._known[server_name] = self._judge(server_name)
        return known

    def _judge(self, server_name: str) -> bool:
        host = _PORT.sub("", server_name).lower()
        # 2. If it is an IP address and allow_ip_literals is false, deny.
        if not self._ip_literals and (host.startswith("[") or _IPV4.fullmatch(host)):
            return False
        # 3. If it matches an entry of deny, deny.
        if any(glob.matches(host) for glob in self._deny):
            return False
        # 4. If it matches an entry of allow, allow.  5. Otherwise, deny.
        return any(glob.matches(host) for glob in self._allow)


def _globs(entries: Any) -> tuple[Glob, ...]:
    patterns = entries if isinstance(entries, list) else []
    return tuple(Glob(pattern) for pattern in patterns if isinstance(pattern, str))
