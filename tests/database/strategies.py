"""What keys and values of each tree may be, for property tests, and the longest keys."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from conduit.database import codec, layouts
from conduit.database.codec import BYTES32, POSITION, RAW, TEXT, U32, U64, U64_FF, Codec, Part
from conduit.database.layouts import EventMeta, MediaMeta, Membership, PduId, Relation, StateDiff
from conduit.database.trees import TREES

MAX = (1 << 64) - 1
u64 = st.integers(0, MAX) | st.sampled_from([0, 1, 0xFF, 0xFF00, MAX])
# Few letters, so that texts are often equal or begin with each other.
text = st.text(max_size=8) | st.text("ab$!\x00\U0010ffff", max_size=3)
counts = st.integers(1, 1 << 62)

PARTS: dict[int, st.SearchStrategy[Any]] = {
    id(U64): u64,
    id(U64_FF): u64,
    id(U32): st.integers(0, (1 << 32) - 1),
    id(TEXT): text,
    id(BYTES32): st.binary(min_size=32, max_size=32),
    id(RAW): st.binary(max_size=40),
    id(POSITION): st.integers(-(1 << 62), 1 << 62),
}

pairs = st.dictionaries(st.integers(1, MAX), u64, max_size=4).map(
    lambda found: b"".join(sorted(key.to_bytes(8, "big") + event.to_bytes(8, "big") for key, event in found.items()))
)
pdu_ids = (
    st.builds(PduId, counts, counts, st.just(0))
    | st.builds(PduId, counts, st.just(0), counts)
    | st.builds(PduId, counts, counts, counts)
)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
destinations = st.tuples(text.filter(lambda name: not name.startswith("$"))) | st.tuples(text.map("${}".format), text)

WHOLE: dict[int, st.SearchStrategy[Any]] = {
    id(codec.EMPTY): st.just(True),
    id(codec.JSON): json,
    id(codec.BYTES): st.binary(max_size=20),
    id(codec.NUMBERS): st.lists(u64, max_size=4).map(tuple),
    id(layouts.PDU_ID): pdu_ids,
    id(layouts.STATE_DIFF): st.builds(StateDiff, u64, pairs, pairs),
    id(layouts.EVENT_META): st.builds(EventMeta, st.integers(0, 4), u64, u64, st.lists(u64, max_size=4).map(tuple)),
    id(layouts.RELATION): st.builds(Relation, u64, text, text, text),
    id(layouts.MEMBERSHIP): st.builds(Membership, text, u64, u64),
    id(layouts.MEDIA_META): st.builds(MediaMeta, st.binary(min_size=32, max_size=32), text, text, st.booleans()),
    id(layouts.ROOM_THEN_EVENT): st.tuples(text.map(lambda name: "!" + name.replace("$", "")), text.map("${}".format)),
    id(layouts.QUEUE): st.tuples(destinations, st.binary(max_size=24)),
}


def of(kind: Codec[Any]) -> st.SearchStrategy[Any]:
    """Return what a codec encodes."""
    if id(kind) in WHOLE:
        return WHOLE[id(kind)]
    parts = [PARTS[id(part)] for part in kind.layout]
    assert parts, "a codec without a strategy"
    return parts[0] if len(parts) == 1 else st.tuples(*parts)


def _greatest(part: Part[Any]) -> Any:
    if part is TEXT:
        return "z" * 255
    if part is RAW:
        return b"\xff" * 32
    if part is BYTES32:
        return b"\xff" * 32
    return {id(U32): (1 << 32) - 1, id(POSITION): (1 << 63) - 1}.get(id(part), MAX)


def longest_key(kind: Codec[Any]) -> Any:
    """Return the longest key that the doors let in, with the greatest numbers."""
    if kind is layouts.PDU_ID:
        return PduId(MAX, MAX, MAX)
    if kind is layouts.ROOM_THEN_EVENT:
        return ("!" + "r" * 254, "$" + "e" * 254)
    if kind is layouts.QUEUE:
        return (("$" + "u" * 254, "p" * 255), b"\xff" * 32)
    parts = tuple(_greatest(part) for part in kind.layout)
    return parts[0] if len(parts) == 1 else parts


ALL = {tree.name: tree for tree in TREES}
