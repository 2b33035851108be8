"""Step: the order of one-time keys, the stream of changed devices, and under which transaction ids events were sent."""

from __future__ import annotations

from itertools import groupby

import orjson

from conduit.database import trees
from conduit.database.migrations.bulk import Bulk


def run(bulk: Bulk) -> None:
    """Write `onetimekey_order`, `devicelist_stream`, `devicelist_latest` and `event_transaction`."""
    _order_one_time_keys(bulk)
    _order_changes(bulk)
    for (user_id, device_id, transaction), response in bulk.rows(trees.userdevicetxnid_response):
        short = trees.eventid_shorteventid.get(bulk, response.decode("utf-8", "replace")) if response else None
        known = None if short is None else trees.shorteventid_meta.get(bulk, short)
        if short is not None and known is not None:
            trees.event_transaction.put(bulk, (known.room, short), (user_id, device_id, transaction))
        bulk.count()


def _order_one_time_keys(bulk: Bulk) -> None:
    every = (key for key, _ in bulk.rows(trees.onetimekeyid_onetimekeys))
    for device, keys in groupby(every, key=lambda key: key[:2]):
        ordered = {key_id for _, pack in trees.onetimekey_order.scan(bulk, device) for key_id in pack.split("\0")}
        for _, _, quoted in keys:
            try:
                key_id = orjson.loads(quoted)
            except ValueError:
                key_id = None
            if isinstance(key_id, str) and key_id not in ordered:
                algorithm = key_id.partition(":")[0]
                trees.onetimekey_order.put(bulk, (*device, algorithm, bulk.next_count()), key_id)
            bulk.count()


def _order_changes(bulk: Bulk) -> None:
    newest: dict[str, int] = {}
    for (_, count), user_id in bulk.rows(trees.keychangeid_userid):
        newest[user_id] = max(newest.get(user_id, 0), count)
    for user_id, count in newest.items():
        former = trees.devicelist_latest.get(bulk, user_id)
        if former is not None:
            if former >= count:
                continue
            trees.devicelist_stream.delete(bulk, former)
        trees.devicelist_stream.put(bulk, count, user_id)
        trees.devicelist_latest.put(bulk, user_id, count)
        bulk.count()
