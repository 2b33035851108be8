"""Which servers are not to be bothered for now, because they did not answer.

After each failure in a row the pause doubles. Any sign of life ends it: an answer, or a signed request of theirs. A pause that the server itself has
asked for (`Retry-After`) is as long as it says, within an hour, and only an answer ends it. The state is stored
in `destination_state`, so that a restart does not knock on every dead door again; the sender keeps fields of its own in the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from conduit.database import trees
from conduit.database.database import Database
from conduit.protocol.ids import ServerName
from conduit.utils.clock import Clock

FIRST_PAUSE_MS = 5_000
LONGEST_PAUSE_MS = 12 * 3_600_000
SHORTEST_ASKED_MS = 1_000
LONGEST_ASKED_MS = 3_600_000
"""Within these a server is left alone for as long as it asks for."""
STORED_FROM = 2
"""Failures in a row from which on they are stored: of the names that users mistype or strangers make up, most are tried once."""
MOST_FAILING = 50_000
"""Servers remembered; beyond it those that began to fail first are forgotten."""
_SPREAD = 0.2
"""Pauses differ by up to this part from server to server, so that not all are tried at once."""


@dataclass(frozen=True, slots=True)
class Failing:
    """A server that does not answer."""

    failures: int
    """How many times in a row."""
    since: int
    """When the first of them was, in ms."""
    retry_at: int
    """When it may be tried again, in ms."""
    reason: str
    asked: bool = False
    """Whether the server has said itself when."""


class Backoff:
    """Who fails, read once and kept in memory."""

    def __init__(self, *, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._failing: dict[str, Failing] = {}
        for server, row in trees.destination_state.scan(db, ()):
            if row.get("failures"):
                self._failing[server] = Failing(
                    row["failures"], row.get("since", 0), row.get("retry_at", 0), row.get("reason", "")
                )

    def failing(self, server: str) -> Failing | None:
        """Return how the server fails, or `None` if it does not."""
        return self._failing.get(server)

    def all_failing(self) -> dict[str, Failing]:
        """Return every server that fails."""
        return dict(self._failing)

    def may_try(self, server: str) -> bool:
        """Tell whether the server may be asked now."""
        failing = self._failing.get(server)
        return failing is None or self._clock.now_ms() >= failing.retry_at

    def now_ms(self) -> int:
        """Return the time by which pauses are measured, in ms."""
        return self._clock.now_ms()

    def failed(self, server: str, reason: str = "", *, asked_ms: int | None = None) -> Failing:
        """Note that the server has not answered, or has asked for a pause of `asked_ms`. Failures of requests that were sent before the last one was noted count once."""
        now = self._clock.now_ms()
        before = self._failing.get(server)
        if before is not None and now < before.retry_at:
            return before
        failures = 1 if before is None else before.failures + 1
        pause = _pause_ms(server, failures)
        if asked_ms is not None:
            pause = min(max(asked_ms, SHORTEST_ASKED_MS), LONGEST_ASKED_MS)
        failing = Failing(
            failures, now if before is None else before.since, now + pause, reason, asked=asked_ms is not None
        )
        self._store(server, failing)
        return failing

    def succeeded(self, server: str) -> None:
        """Note that the server has answered; whoever waits to send to it is woken."""
        if server in self._failing:
            self._store(server, None)

    def alive(self, server: str) -> None:
        """Note a sign of life, such as a signed request of theirs; whoever waits to send to it is woken, unless the server wants them to wait."""
        failing = self._failing.get(server)
        if failing is not None and not (failing.asked and self._clock.now_ms() < failing.retry_at):
            self._store(server, None)

    def _store(self, server: str, failing: Failing | None) -> None:
        name = ServerName(server)
        with self._db.batch() as batch:
            row = dict(trees.destination_state.get(batch, name) or {})
            for field in ("failures", "since", "retry_at", "reason"):
                row.pop(field, None)
            if failing is not None and (row or failing.failures >= STORED_FROM):
                row |= {"failures": failing.failures, "since": failing.since, "retry_at": failing.retry_at}
                row["reason"] = failing.reason
            if failing is None:
                batch.wake(("destination", server))
            if row:
                trees.destination_state.put(batch, name, row)
            else:
                trees.destination_state.delete(batch, name)
        if failing is None:
            self._failing.pop(server, None)
        else:
            self._failing[server] = failing
            if len(self._failing) > MOST_FAILING:
                del self._failing[next(iter(self._failing))]


def _pause_ms(server: str, failures: int) -> int:
    pause = min(FIRST_PAUSE_MS << min(failures - 1, 20), LONGEST_PAUSE_MS)
    share = int.from_bytes(sha256(f"{server} {failures}".encode()).digest()[:2], "big") / 65_536
    return int(pause * (1 + _SPREAD * (2 * share - 1)))
