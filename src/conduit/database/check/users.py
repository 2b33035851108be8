"""Check: what belongs to users: sessions, keys, stored data, receipts, unread counts; and the queues."""

from __future__ import annotations

import orjson

from conduit.database import layouts, trees
from conduit.database.check.finding import Findings, Reading, finding


def check(reading: Reading) -> Findings:
    """Tell of rows about users that do not point at each other."""
    yield from _sessions(reading)
    yield from _keys(reading)
    yield from _account_data(reading)
    yield from _receipts(reading)
    yield from _ordinals(reading)
    yield from _threads(reading)
    yield from _streams(reading)
    yield from _media(reading)


def _sessions(reading: Reading) -> Findings:
    for device, token in reading.rows(trees.userdeviceid_token):
        if reading.get(trees.token_userdeviceid, token) != device:
            yield finding(trees.userdeviceid_token, device, "its token is not known")
    for _, device in reading.rows(trees.token_userdeviceid):
        if reading.get(trees.userdeviceid_metadata, device) is None:
            yield finding(trees.token_userdeviceid, device, "a token belongs to a device that is not there")
    for user_id, _ in reading.keys(trees.userdeviceid_metadata):
        if reading.get(trees.userid_password, user_id) is None:
            yield finding(trees.userdeviceid_metadata, user_id, "a device belongs to a user who is not there")


def _keys(reading: Reading) -> Findings:
    ordered = set()
    for (user_id, device_id, _, _), pack in reading.rows(trees.onetimekey_order):
        for key_id in pack.split("\0"):
            quoted = orjson.dumps(key_id).decode()
            ordered.add((user_id, device_id, quoted))
            if reading.get(trees.onetimekeyid_onetimekeys, (user_id, device_id, quoted)) is None:
                yield finding(trees.onetimekey_order, (user_id, device_id, key_id), "the key is not there")
    for key in reading.keys(trees.onetimekeyid_onetimekeys):
        if key not in ordered:
            yield finding(trees.onetimekeyid_onetimekeys, key, "the key has no place in the order of upload")
    for tree in (trees.userid_masterkeyid, trees.userid_selfsigningkeyid, trees.userid_usersigningkeyid):
        for owner, key_row in reading.rows(tree):
            if reading.get(trees.keyid_key, key_row) is None:
                yield finding(tree, owner, "the key is not there")


def _account_data(reading: Reading) -> Findings:
    for (room_id, user_id, event_type), row in reading.rows(trees.roomusertype_roomuserdataid):
        if reading.get(trees.roomuserdataid_accountdata, row) is None:
            yield finding(trees.roomusertype_roomuserdataid, (room_id, user_id, event_type), "the data is not there")
    for row in reading.keys(trees.roomuserdataid_accountdata):
        room_id, user_id, count, event_type = row
        if reading.get(trees.roomusertype_roomuserdataid, (room_id, user_id, event_type)) != row:
            yield finding(trees.roomuserdataid_accountdata, row, "nothing points at it")
        if reading.get(trees.accountdata_stream, (user_id, count)) != (room_id, event_type):
            yield finding(trees.roomuserdataid_accountdata, row, "it is not in the user's stream")
    for (user_id, count), (room_id, event_type) in reading.rows(trees.accountdata_stream):
        if reading.get(trees.roomuserdataid_accountdata, (room_id, user_id, count, event_type)) is None:
            yield finding(trees.accountdata_stream, (user_id, count), "the data is not there")


def _receipts(reading: Reading) -> Findings:
    for (room, user_id, kind, thread), receipt in reading.rows(trees.receipt):
        count = receipt.get("count") if isinstance(receipt, dict) else None
        if count is None:
            continue  # a mark of what was sent, which is in no stream
        if reading.get(trees.receipt_stream, (room, count)) != (user_id, kind, thread):
            yield finding(trees.receipt, (room, user_id, kind, thread), "it is not in the stream")
    for (room, count), key in reading.rows(trees.receipt_stream):
        receipt = reading.get(trees.receipt, (room, *key))
        if not isinstance(receipt, dict) or receipt.get("count") != count:
            yield finding(trees.receipt_stream, (room, count), f"the receipt of {key[0]} is not there")


def _ordinals(reading: Reading) -> Findings:
    for tree in (trees.notify_ordinal, trees.highlight_ordinal):
        before: tuple[int, int] | None = None
        ordinal = 0
        for (room, thread, count), number in reading.rows(tree):
            expected = ordinal + 1 if before == (room, thread) else 1
            if number != expected:
                yield finding(tree, (room, thread, count), f"it has the ordinal {number}, not {expected}")
            before, ordinal = (room, thread), number


def _threads(reading: Reading) -> Findings:
    for (room, root), (replies, _, raw) in reading.rows(trees.thread):
        try:
            place = layouts.PDU_ID.decode(raw)
        except ValueError:
            yield finding(trees.thread, (room, root), "there is no position")
            continue
        if reading.get(trees.thread_order, place) != root:
            yield finding(trees.thread, (room, root), "it is not in the order of threads")
        head = room.to_bytes(8, "big")
        rows = reading.rows(trees.relation, (root,))
        found = sum(raw.startswith(head) and row.rel_type == "m.thread" for (_, raw), row in rows)
        if found != replies:
            yield finding(trees.thread, (room, root), f"it says {replies} replies, there are {found}")
    for place, root in reading.rows(trees.thread_order):
        known = reading.get(trees.thread, (place.room, root))
        if known is None or known[2] != layouts.PDU_ID.encode(place):
            yield finding(trees.thread_order, place, "the thread has its last reply elsewhere")


def _streams(reading: Reading) -> Findings:
    for user_id, count in reading.rows(trees.devicelist_latest):
        if reading.get(trees.devicelist_stream, count) != user_id:
            yield finding(trees.devicelist_latest, user_id, "it is not in the stream")
    for count, user_id in reading.rows(trees.devicelist_stream):
        if reading.get(trees.devicelist_latest, user_id) != count:
            yield finding(trees.devicelist_stream, count, f"it is not the latest of {user_id}")
    for key, (time_ms, _) in reading.rows(trees.transaction):
        if reading.get(trees.transaction_age, (time_ms, *key)) is None:
            yield finding(trees.transaction, key[:2], "it would never be swept")
    for age in reading.keys(trees.transaction_age):
        if reading.get(trees.transaction, age[1:]) is None:
            yield finding(trees.transaction_age, age[:3], "the answer is not there")
    for (destination, kind, count), item in reading.rows(trees.destination_queue):
        if kind == 0 and reading.db.get(trees.pduid_pdu.name, item) is None:
            yield finding(trees.destination_queue, (destination, count), "the event is not there")


def _media(reading: Reading) -> Findings:
    for key, meta in reading.rows(trees.servernamemediaid_metadata):
        if reading.get(trees.filehash_metadata, meta.sha256) is None:
            yield finding(trees.servernamemediaid_metadata, key, "the file is not there")
    for digest, server, media_id in reading.keys(trees.filehash_servername_mediaid):
        known = reading.get(trees.servernamemediaid_metadata, (server, media_id))
        if known is None or known.sha256 != digest:
            yield finding(trees.filehash_servername_mediaid, (server, media_id), "the item is not there")
