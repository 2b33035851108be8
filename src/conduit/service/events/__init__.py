"""The life of an event of ours: built, authorised on the room's current state, accepted in one batch.

`send` is one event, under the room's lock. `RoomView` is several events in one batch, for deeds that make or remake a room. Both wake
everybody concerned when the batch is on disk.
"""

from __future__ import annotations

from conduit.service.events.room_view import RoomView, new_room_id
from conduit.service.events.send import send

__all__ = ["RoomView", "new_room_id", "send"]
