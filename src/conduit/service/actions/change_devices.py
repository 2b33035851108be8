"""Rename and delete devices. Source: client-server API, "Device Management"."""

from __future__ import annotations

from collections.abc import Iterable

from conduit.protocol.errors import NotFound
from conduit.protocol.ids import UserId
from conduit.service.actions.log_in import end_sessions
from conduit.service.context import Context
from conduit.service.keys import device_lists
from conduit.service.users import devices


def rename(ctx: Context, user_id: UserId, device_id: str, name: str | None) -> None:
    """Give the device a name; `None` leaves it as it is. Raises `NotFound` if there is no such device."""
    if not devices.exists(ctx.db, user_id, device_id):
        raise NotFound("You have no such device")
    if name is None:
        return
    with ctx.db.batch() as batch:
        devices.rename(batch, user_id, device_id, name)
        device_lists.record_change(batch, user_id, [device_id])


def delete(ctx: Context, user_id: UserId, device_ids: Iterable[str]) -> None:
    """Delete those of the devices that exist, and end their sessions."""
    with ctx.db.batch() as batch:
        end_sessions(batch, user_id, device_ids)
