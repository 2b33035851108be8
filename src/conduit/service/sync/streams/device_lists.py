"""Device lists in /sync: whose device keys the client must fetch anew, and whose it may forget. Only incremental answers have them."""

from __future__ import annotations

from conduit.service.keys import device_lists
from conduit.service.rooms.moves import Moves
from conduit.service.sync.window import Window


def changes(window: Window, moved: Moves) -> dict[str, list[str]]:
    """Return `changed` and `left`, each only if somebody is in it. `moved` is who came into sight and who went out of it."""
    changed = moved.came | moved.invited
    if window.sight_news:
        changed = changed | device_lists.changed(window.db, window.user_id, window.since, window.upto)
    lists: dict[str, list[str]] = {"changed": [*sorted(changed)], "left": [*sorted(moved.went - changed)]}
    return {name: users for name, users in lists.items() if users}
