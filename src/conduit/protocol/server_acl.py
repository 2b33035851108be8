"""Which servers a room's access control list lets in.

Source: client-server API, "m.room.server_acl"; server-server API, "Server Access Control Lists".
"""

from __future__ import annotations

import re
from typing import Any

from conduit.protocol.glob import Glob

_PORT = re.compile(r":[0-9]+\Z", re.ASCII)
_STARS = re.compile(r"\*+")
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", re.ASCII)

MAX_NAME = 255
"""Characters of a server's name."""
MAX_KNOWN = 10_000
"""For how many servers a list remembers what it says: every event asks for all servers of its room."""


class ServerAcl:
    """The content of an `m.room.server_acl`, read once and asked often; entries of the wrong type are passed over."""

    __slots__ = ("_allow", "_deny", "_ip_literals", "_known", "weight")

    def __init__(self, content: dict[str, Any]) -> None:
        self._ip_literals = content.get("allow_ip_literals") is not False
        self._allow = _Entries(content.get("allow"))
        self._deny = _Entries(content.get("deny"))
        self._known: dict[str, bool] = {}
        self.weight = 4000 + 20 * len(str(content))
        """About how many bytes it takes in memory."""

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
        if self._deny.match(host):
            return False
        # 4. If it matches an entry of allow, allow.  5. Otherwise, deny.
        return self._allow.match(host)


class _Entries:
    """One list of globs, sorted by what can be told at once. A list may have thousands, and is asked about each server of its room."""

    __slots__ = ("_beginnings", "_endings", "_globs", "_names", "_others", "_parts")

    def __init__(self, entries: Any) -> None:
        patterns = entries if isinstance(entries, list) else []
        self._names: set[str] = set()
        beginnings: list[str] = []
        endings: list[str] = []
        self._parts: list[str] = []
        self._others: list[tuple[str, str]] = []
        self._globs: dict[str, Glob] = {}
        for pattern in dict.fromkeys(_STARS.sub("*", one.lower()) for one in patterns if isinstance(one, str)):
            if len(pattern.replace("*", "")) > MAX_NAME:
                continue  # no name is long enough for it
            pieces = pattern.split("*")
            if "?" in pattern or len(pieces) > 3 or (len(pieces) == 3 and (pieces[0] or pieces[2])):
                # Whatever fits it holds the longest of its pieces.
                self._others.append((max(re.split(r"[*?]", pattern), key=len), pattern))
            elif len(pieces) == 1:
                self._names.add(pattern)
            elif len(pieces) == 3:
                self._parts.append(pieces[1])
            elif pieces[0] and pieces[1]:
                self._others.append((max(pieces, key=len), pattern))
            elif pieces[0]:
                beginnings.append(pieces[0])
            else:
                endings.append(pieces[1])
        self._beginnings = tuple(beginnings)
        self._endings = tuple(endings)

    def match(self, host: str) -> bool:
        """Tell whether an entry fits the host, which is in lower case."""
        if host in self._names or host.startswith(self._beginnings) or host.endswith(self._endings):
            return True
        if any(part in host for part in self._parts):
            return True
        return any(piece in host and self._glob(pattern).matches(host) for piece, pattern in self._others)

    def _glob(self, pattern: str) -> Glob:
        glob = self._globs.get(pattern)
        if glob is None:
            glob = self._globs[pattern] = Glob(pattern)
        return glob
