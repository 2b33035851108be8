"""Check: every row can be read as its tree declares."""

from __future__ import annotations

from conduit.database.check.finding import Finding, Findings, Reading
from conduit.database.trees import TREES


def check(reading: Reading) -> Findings:
    """Tell of rows whose key or value has another form than its tree's."""
    for tree in TREES:
        decode_key, decode_value = tree.key.decode, tree.value.decode
        for raw_key, data in reading.db.scan(tree.name, b"", None):
            try:
                key = decode_key(raw_key)
            except ValueError as error:
                yield Finding(tree.name, repr(raw_key[:120]), f"the key cannot be read: {error}")
                continue
            try:
                decode_value(data)
            except ValueError as error:
                yield Finding(tree.name, repr(key), f"the value cannot be read: {error}")
