"""The room's state as the rules ask for it."""

from __future__ import annotations

from collections.abc import Callable

from conduit.protocol.errors import Forbidden
from conduit.protocol.pdu import Event
from conduit.protocol.power_levels import PowerLevels
from conduit.protocol.room_versions import RoomVersion

State = Callable[[str, str], Event | None]
"""Look-up of a state event by type and state key."""


class StateView:
    """Memberships, join rule and power levels of a state; whatever has the wrong shape counts as absent."""

    __slots__ = ("_levels", "_version", "create", "state")

    def __init__(self, create: Event, version: RoomVersion, state: State) -> None:
        self.create = create
        self.state = state
        self._version = version
        self._levels: PowerLevels | None = None

    @classmethod
    def open(cls, event: Event, version: RoomVersion, state: State) -> StateView:
        """Return the view for judging `event`; raises `Forbidden` when the state is not that of the event's room."""
        create = state("m.room.create", "")
        # 2. If the room_id is not the id of an accepted m.room.create, reject. The same holds for the older versions:
        # there it is what rule 3.5 says of the create event among the auth events.
        if create is None or create.room_id != event.room_id:
            raise Forbidden("The event belongs to no room that is known to have been created")
        return cls(create, version, state)

    @property
    def levels(self) -> PowerLevels:
        """The power levels, with the defaults where the room has none."""
        if self._levels is None:
            self._levels = PowerLevels(self.create, self.state("m.room.power_levels", ""), self._version)
        return self._levels

    @property
    def join_rule(self) -> str:
        """The join rule; `invite` in a room that names none, empty when it is not text."""
        event = self.state("m.room.join_rules", "")
        rule = "invite" if event is None else event.content.get("join_rule", "invite")
        return rule if isinstance(rule, str) else ""

    def membership(self, user_id: str) -> str:
        """Return the membership of a user; `leave` for who never had any."""
        event = self.state("m.room.member", user_id)
        return "leave" if event is None else event.membership or "leave"
