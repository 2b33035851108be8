"""The composite layouts beyond their round trips, which every tree's test makes."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.database import layouts
from conduit.database.codec import Codec
from conduit.database.layouts import PduId, StateDiff
from tests.database.conduit_directory import u64

MAX = (1 << 64) - 1


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        (layouts.PDU_ID, b""),
        (layouts.PDU_ID, bytes(15)),
        (layouts.PDU_ID, u64(1) + u64(2) + u64(3)),
        (layouts.PDU_ID, u64(1) + u64(0) + u64(MAX)),
        (layouts.PDU_ID, u64(1) + u64(0) + u64(0) + u64(5)),
        (layouts.PDU_ID, u64(1) + u64(2) + u64(9) + u64(5)),
        (layouts.STATE_DIFF, b""),
        (layouts.STATE_DIFF, u64(1) + u64(2)),
        (layouts.STATE_DIFF, bytes(13)),
        (layouts.EVENT_META, bytes(16)),
        (layouts.EVENT_META, bytes(20)),
        (layouts.RELATION, u64(1) + b"one\xfftwo"),
        (layouts.RELATION, b"abc"),
        (layouts.MEMBERSHIP, bytes(9)),
        (layouts.MEDIA_META, bytes(20)),
        (layouts.MEDIA_META, bytes(33)),
        (layouts.ROOM_THEN_EVENT, b"!room only"),
        (layouts.QUEUE, b"no separator"),
        (layouts.QUEUE, b"$@u:s\xffno pushkey"),
    ],
)
def test_damaged_rows_raise_value_errors(codec: Codec[Any], data: bytes) -> None:
    """So that the tree can name itself and the key."""
    with pytest.raises(ValueError, match=r".*"):
        codec.decode(data)


def test_state_diff_is_read_unsorted() -> None:
    """Conduit's rows are in no order; removed pairs begin after a number 0."""
    pair = [u64(9) + u64(1), u64(2) + u64(0), u64(5) + u64(5)]
    data = u64(7) + pair[0] + pair[1] + u64(0) + pair[2]
    assert layouts.STATE_DIFF.decode(data) == StateDiff(7, pair[0] + pair[1], pair[2])
    assert layouts.STATE_DIFF.decode(u64(7) + pair[0]) == StateDiff(7, pair[0], b"")
    assert layouts.STATE_DIFF.decode(u64(0)) == StateDiff(0, b"", b"")


def test_position_prefixes_take_rooms_counts_and_positions() -> None:
    """A bound may be a whole position or a bare count."""
    prefix = layouts.PDU_ID.prefix
    assert prefix is not None
    assert prefix((1,)) == u64(1)
    assert prefix((1, 7)) == u64(1) + u64(7)
    assert prefix((1, PduId(1, 0, 7))) == u64(1) + u64(0) + u64(MAX - 7)
