"""Who must fetch whose device keys anew: the device-list stream.

Source: client-server API, "Tracking the device list for a user".
"""

from __future__ import annotations

from collections.abc import Iterable

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.ids import ServerName, UserId, server_name_of
from conduit.service.keys import device_updates
from conduit.service.rooms import members
from conduit.service.users import devices


def record_change(batch: Batch, user_id: UserId, device_ids: Iterable[str] = (), *, signing_keys: bool = False) -> None:
    """Tell everybody who shares a room with a local user, and the user's own devices, that devices or keys have changed.

    Other servers are told which: `device_ids` are those that came, went, or have another name or other keys; `signing_keys` says that the master
    or the self-signing key is new.
    """
    devices.changed(batch, user_id)
    batch.wake(("user", user_id))
    members.wake_in_sight(batch, user_id, server_name_of(user_id))
    device_updates.announce(batch, user_id, device_ids, signing_keys=signing_keys)


def record_remote_change(batch: Batch, user_id: UserId, server_name: ServerName) -> None:
    """Tell the users of this server who share a room with a remote user that devices or keys of that user have changed."""
    devices.changed(batch, user_id)
    members.wake_in_sight(batch, user_id, server_name)


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
