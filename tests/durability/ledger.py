"""What a server has acknowledged, kept by those who were told so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


class Cell:
    """Something that one client alone changes: its last acknowledged value, and those that were asked for since without an answer."""

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.asked: list[Any] = []

    def ask(self, value: Any) -> None:
        """Note that `value` is about to be asked for."""
        self.asked.append(value)

    def done(self) -> None:
        """Note that the last value asked for was acknowledged."""
        self.value = self.asked[-1]
        self.asked.clear()

    def settle(self, found: Any) -> bool:
        """Take what was found as the value from now on; tell whether it may be so."""
        is_right = found == self.value or found in self.asked
        self.value = found
        self.asked.clear()
        return is_right


@dataclass(slots=True)
class Sent:
    """A request with a transaction id: repeated after a crash it does once what it says."""

    path: str
    body: Any
    room: str = ""
    kind: str = ""
    event_id: str = ""


@dataclass(slots=True)
class Event:
    """An event that was acknowledged, or that a reader was shown."""

    room: str
    kind: str
    sender: str
    content: Any
    """`None` if it does not matter."""


@dataclass(slots=True)
class Ledger:
    """Everything acknowledged, over all clients. What a client alone changes is in its cells."""

    events: dict[str, Event] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    """Those of `events` that no audit has seen yet."""
    redacted: dict[str, Cell] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    fresh_files: set[str] = field(default_factory=set)
    rooms: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Rooms that were made in the load: creator and name."""
    device_messages: set[str] = field(default_factory=set)
    delivered: Counter[str] = field(default_factory=Counter)
    claimed: Counter[str] = field(default_factory=Counter)
    tokens: dict[str, Cell] = field(default_factory=dict)
    newest_count: int = 0
    """The largest position of the stream that anybody was told."""
    counts: Counter[str] = field(default_factory=Counter)
    """How many requests of each kind were acknowledged."""
    lost: list[str] = field(default_factory=list)
    """What an audit has found missing or wrong, in words."""

    def add_event(self, event_id: str, event: Event) -> None:
        """Remember an event that must be there from now on."""
        if event_id not in self.events:
            self.events[event_id] = event
            self.fresh.add(event_id)

    def complain(self, *words: object) -> None:
        """Note that something is not as it was acknowledged."""
        self.lost.append(" ".join(map(str, words)))

    def unseen(self, room: str, known: Iterable[str]) -> set[str]:
        """Return the fresh events of `room` that are not among `known`."""
        return {event_id for event_id in self.fresh if self.events[event_id].room == room}.difference(known)
