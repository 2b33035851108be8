"""Who must fetch whose device keys anew: the device-list stream.

Source: client-server API, "Tracking the device list for a user".
"""

from __future__ import annotations

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.ids import UserId, server_name_of
from conduit.service.rooms import members
from conduit.service.users import devices


def record_change(batch: Batch, user_id: UserId) -> None:
    """Tell everybody who shares a room with a local user, and the user's own devices, that devices or keys have changed."""
    devices.changed(batch, user_id)
    batch.wake(("user", user_id))
    members.wake_in_sight(batch, user_id, server_name_of(user_id))


def record_private_change(batch: Batch, observer: UserId, user_id: UserId) -> None:
    """Tell `observer` alone that what they see of the user's keys has changed: they have signed one of them."""
    trees.keychangeid_userid.put(batch, (observer, batch.next_count()), user_id)
    batch.wake(("user", observer))


def changed(source: CacheSource, observer: UserId, since: int, upto: int) -> set[UserId]:
    """Return the users, visible to `observer`, whose keys changed in the interval (since, upto].

    Visible are the observer and whoever shares a joined room now. Who has come into view by a join is not told here.
    """
    found = {UserId(user) for _, user in trees.devicelist_stream.scan(source, after=since, before=upto + 1)}
    visible = {user for user in found if user == observer or members.share_room(source, observer, user)}
    visible.update(
        UserId(user) for _, user in trees.keychangeid_userid.scan(source, (observer,), after=since, before=upto + 1)
    )
    return visible
