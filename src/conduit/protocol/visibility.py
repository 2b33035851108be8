"""Who may see an event, by the room's history visibility at the time.

Pure decisions on facts which others gather: the state at the event, and memberships.

Source: client-server API, "Room History Visibility"; server-server API, "Backfilling and retrieving missing events".
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

DEFAULT: Final = "shared"
DUMMY: Final = "org.matrix.dummy_event"
"""The type of the messages by which servers join the branches of a room: no client is shown them or hears of them."""
_KNOWN: Final = frozenset({"world_readable", "shared", "invited", "joined"})


def is_hidden(event_type: str, state_key: str | None) -> bool:
    """Tell whether an event is servers' business only."""
    return event_type == DUMMY and state_key is None


def visibility_of(content: dict[str, Any] | None) -> str:
    """Return the visibility that an `m.room.history_visibility` sets; `shared` where it is absent or not understood."""
    value = content.get("history_visibility") if content is not None else None
    return value if isinstance(value, str) and value in _KNOWN else DEFAULT


def may_see(visibility: str, membership: str, *, joined_since: bool) -> bool:
    """Tell whether a user may see an event.

    `visibility` and `membership` (`leave` for none) are those at the event; `joined_since` says whether the user
    joined the room at any point after it. An event that changes the one or the other is asked about twice, see
    `may_see_change`.
    """
    # 1. If the visibility was world_readable, allow.  2. If the user was joined, allow.
    if visibility == "world_readable" or membership == "join":
        return True
    # 3. If it was shared and the user joined at any point afterwards, allow.
    if visibility == "shared":
        return joined_since
    # 4. If the user was invited and it was invited, allow.  5. Otherwise, deny.
    return visibility == "invited" and membership == "invite"


def may_see_change(visibility: tuple[str, str], membership: tuple[str, str], *, joined_since: bool) -> bool:
    """Tell whether a user may see an event that changes the visibility, or the user's own membership.

    Both are given as they were before and after the event; being allowed by either side suffices.
    """
    return any(
        may_see(seen, member, joined_since=joined_since) for seen, member in zip(visibility, membership, strict=True)
    )


def server_may_see(visibility: str, memberships: Collection[str]) -> bool:
    """Tell whether a server in the room may be sent an event; `memberships` are those of its users at the event."""
    if visibility in ("world_readable", "shared"):
        return True
    return "join" in memberships or (visibility == "invited" and "invite" in memberships)
