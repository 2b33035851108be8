"""Micro-bench: canonical JSON, ours against the `canonicaljson` package. `python -m benches.canonical_json`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from canonicaljson import encode_canonical_json

from conduit.protocol import canonical_json

MESSAGE: dict[str, Any] = {
    "type": "m.room.message",
    "room_id": "!AUbjqQKX2OlbdojPUgPjIgVLd_kcp1xENuJYw2pBbsE",
    "sender": "@alice:example.org",
    "origin_server_ts": 1_795_369_948_011,
    "depth": 4711,
    "content": {"msgtype": "m.text", "body": "A message of the usual length, as people write them all day long."},
    "prev_events": ["$5lM-QDOwiL7-zp6t9Ncv-fpAYiJAV0-nlb_c69PrqKs"],
    "auth_events": ["$" + letter * 43 for letter in "abc"],
    "hashes": {"sha256": "x" * 43},
    "signatures": {"example.org": {"ed25519:a_abcd": "y" * 86}},
}
POWER_LEVELS: dict[str, Any] = {
    **MESSAGE,
    "type": "m.room.power_levels",
    "state_key": "",
    "content": {"users": {f"@user{number}:example.org": 50 for number in range(30)}, "events": {}, "ban": 50},
}
ROUNDS = 20_000


def _cost(work: Callable[[Any], bytes], value: Any) -> float:
    started = time.process_time()
    for _ in range(ROUNDS):
        work(value)
    return (time.process_time() - started) / ROUNDS * 1e6


def main() -> None:
    """Print microseconds of CPU for each encoder and event."""
    print(f"{'event':14} {'dump':>8} {'encode':>8} {'canonicaljson':>14}   µs")
    for name, event in (("message", MESSAGE), ("power levels", POWER_LEVELS)):
        assert canonical_json.encode(event) == encode_canonical_json(event)
        costs = [_cost(work, event) for work in (canonical_json.dump, canonical_json.encode, encode_canonical_json)]
        print(f"{name:14} {costs[0]:8.2f} {costs[1]:8.2f} {costs[2]:14.2f}")


if __name__ == "__main__":
    main()
