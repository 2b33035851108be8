"""Who is online. Kept in memory: after a restart everybody is offline until heard of.

A user is online while a device syncs, unavailable when idle for `IDLE_MS` or when a client says so, and offline when
nothing was heard for `OFFLINE_MS`. Each change that others see draws a count; one of a local user is also announced to the sender. Users of other servers
are what their server last said, until it has said nothing for `REMOTE_MS`.

Source: client-server API, "Presence"; server-server API, "Presence".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from conduit.database.database import Database
from conduit.database.watch import Crowd, WakeKey
from conduit.protocol.ids import UserId
from conduit.utils.clock import Clock

IDLE_MS = 5 * 60 * 1000
OFFLINE_MS = 60 * 1000
ACTIVE_MS = 60 * 1000
"""Somebody who acted within this time is `currently_active`, and a further act tells nobody anything new."""
CHECK_SECONDS = 10.0
REMOTE_MS = 30 * 60 * 1000
"""As long as other servers believe what they were told, too."""
RENEW_MS = 25 * 60 * 1000
"""How often the sender hears of a local user who stays as he is, so that other servers go on believing it."""
FORGET_MS = 24 * 3600 * 1000
"""When an offline user of another server is forgotten."""

STATES = ("online", "unavailable", "offline")

Audience = Callable[[UserId], Iterable[tuple[WakeKey, Iterable[Crowd]]]]
"""The wake keys that tell of a user's presence: the own one, and for each room one with the crowds that are released by it."""


@dataclass(slots=True)
class _State:
    presence: str = "offline"
    status_msg: str | None = None
    last_active_ms: int = 0
    heard_ms: int = 0
    count: int = 0
    syncing: int = 0
    remote: bool = False
    active: bool = False
    """Whether a user of another server is active, which that server says."""
    profile: Mapping[str, str] = field(default_factory=dict)
    """Name and avatar of a local user who has changed any of them since the start."""
    announced: tuple[str, str | None, bool] = ("offline", None, False)
    announced_ms: int = 0


class Presence:
    """The presence of all users known since the start. `run` is the task that lets it decay."""

    def __init__(self, *, db: Database, clock: Clock, audience: Audience, enabled: bool = True) -> None:
        self._db = db
        self._clock = clock
        self._audience = audience
        self._enabled = enabled
        self._states: dict[UserId, _State] = {}
        self._told: dict[UserId, _State] = {}
        """Those that others were told of, the last one last."""

    def set(self, user_id: UserId, presence: str, status_msg: str | None) -> None:
        """Set what a client says: one of `STATES`, with the status message that replaces the former (`None` removes it)."""
        state = self._states.setdefault(user_id, _State())
        now = self._clock.now_ms()
        state.heard_ms = now
        if presence == "online":
            state.last_active_ms = now
        if (state.presence, state.status_msg) == (presence, status_msg):
            return
        state.presence, state.status_msg = presence, status_msg
        self._tell(user_id, state)

    def set_remote(
        self,
        user_id: UserId,
        presence: str,
        status_msg: str | None,
        *,
        last_active_ago: int | None = None,
        currently_active: bool = False,
    ) -> None:
        """Set what another server says of a user of its own; `last_active_ago` in ms. The caller has checked that somebody here may see it."""
        if not self._enabled:
            return
        state = self._states.setdefault(user_id, _State(remote=True))
        now = self._clock.now_ms()
        before = (state.presence, state.status_msg, state.active)
        last_active_ms = state.last_active_ms if last_active_ago is None else max(0, now - last_active_ago)
        moved = last_active_ms - state.last_active_ms
        state.heard_ms, state.last_active_ms = now, last_active_ms
        state.presence, state.status_msg = presence, status_msg
        state.active = currently_active and presence == "online"
        if before != (state.presence, state.status_msg, state.active) or moved >= ACTIVE_MS or not state.count:
            self._tell(user_id, state)

    def show_profile(self, user_id: UserId, profile: Mapping[str, str]) -> None:
        """Tell of a local user's new name or avatar; `profile` has those that there are now."""
        if not self._enabled:
            return
        state = self._states.setdefault(user_id, _State())
        state.profile = profile
        self._tell(user_id, state)

    def active(self, user_id: UserId) -> None:
        """Note that the user has done something: sent, read, typed. It ends idleness, and makes nobody online who is not syncing."""
        if not self._enabled:
            return
        state = self._states.setdefault(user_id, _State())
        now = self._clock.now_ms()
        was_active = now - state.last_active_ms < ACTIVE_MS
        state.last_active_ms = state.heard_ms = now
        if state.presence == "offline":
            # Online is who is connected to the stream of events, and only who wants to be seen so.
            if not state.count:
                self._tell(user_id, state)
        elif state.presence == "unavailable" or not was_active:
            state.presence = "online"
            self._tell(user_id, state)

    def sync_begins(self, user_id: UserId, presence: str) -> None:
        """Note that a device has begun a /sync with that `set_presence`; `offline` leaves everything as it is."""
        if not self._enabled or presence == "offline":
            return
        state = self._states.setdefault(user_id, _State())
        state.syncing += 1
        now = self._clock.now_ms()
        state.heard_ms = now
        if presence == "online" and state.presence == "offline":
            state.last_active_ms = now
        if state.presence == presence or (presence == "unavailable" and state.presence == "online"):
            return
        if presence == "online" and state.presence == "unavailable" and now - state.last_active_ms >= IDLE_MS:
            return  # syncing alone does not end idleness
        state.presence = presence
        self._tell(user_id, state)

    def sync_ends(self, user_id: UserId, presence: str) -> None:
        """Note that this /sync is over; another must begin within `OFFLINE_MS`."""
        state = self._states.get(user_id)
        if self._enabled and presence != "offline" and state is not None:
            state.syncing = max(0, state.syncing - 1)
            state.heard_ms = self._clock.now_ms()

    def get(self, user_id: UserId) -> dict[str, Any] | None:
        """Return the content of the user's `m.presence` event, or `None` if nothing is known."""
        state = self._states.get(user_id)
        return None if state is None or not state.count else self._content(state)

    def changes(self, since: int, upto: int, *, offline: bool = True) -> dict[UserId, dict[str, Any]]:
        """Return the users whose presence changed in (since, upto], with the content of their `m.presence` events; without `offline` only who is not that.

        The content has the name and avatar of a user who has changed them.
        """
        found: dict[UserId, dict[str, Any]] = {}
        for user_id, state in reversed(self._told.items()):
            if state.count <= since:
                break
            if state.count <= upto and (offline or state.presence != "offline"):
                found[user_id] = {**self._content(state), **state.profile}
        return found

    def forget(self, user_id: UserId) -> None:
        """Forget a user whose account is gone."""
        self._states.pop(user_id, None)
        self._told.pop(user_id, None)

    async def run(self) -> None:
        """Let presence decay. Runs until cancelled."""
        while True:
            await self._clock.sleep(CHECK_SECONDS)
            now = self._clock.now_ms()
            for user_id, state in list(self._states.items()):
                self._decay(user_id, state, now)

    def _decay(self, user_id: UserId, state: _State, now: int) -> None:
        if state.remote:
            self._decay_remote(user_id, state, now)
            return
        if state.presence == "offline":
            return
        if now - state.announced_ms >= RENEW_MS:
            self._announce(user_id, state)
        if not state.syncing and now - state.heard_ms >= OFFLINE_MS:
            state.presence = "offline"
        elif state.presence == "online" and now - state.last_active_ms >= IDLE_MS:
            state.presence = "unavailable"
        else:
            return
        self._tell(user_id, state)

    def _decay_remote(self, user_id: UserId, state: _State, now: int) -> None:
        silent = now - state.heard_ms
        if state.presence != "offline" and silent >= REMOTE_MS:
            state.presence, state.active = "offline", False
            self._tell(user_id, state)
        elif state.presence == "offline" and silent >= FORGET_MS:
            self.forget(user_id)

    def _content(self, state: _State) -> dict[str, Any]:
        now = self._clock.now_ms()
        content: dict[str, Any] = {"presence": state.presence}
        if state.last_active_ms:
            content["last_active_ago"] = max(0, now - state.last_active_ms)
        if state.presence == "online":
            content["currently_active"] = state.active if state.remote else now - state.last_active_ms < ACTIVE_MS
        if state.status_msg is not None:
            content["status_msg"] = state.status_msg
        return content

    def _tell(self, user_id: UserId, state: _State) -> None:
        state.count = self._db.next_count()
        self._told.pop(user_id, None)
        self._told[user_id] = state
        for key, crowds in self._audience(user_id):
            self._db.watch.wake((key,), crowds)
        if state.remote:
            return
        now = self._clock.now_ms()
        is_active = state.presence == "online" and now - state.last_active_ms < ACTIVE_MS
        if state.announced != (state.presence, state.status_msg, is_active):
            self._announce(user_id, state)

    def _announce(self, user_id: UserId, state: _State) -> None:
        state.announced_ms = now = self._clock.now_ms()
        is_active = state.presence == "online" and now - state.last_active_ms < ACTIVE_MS
        state.announced = (state.presence, state.status_msg, is_active)
        self._db.watch.announce(("presence", user_id))
