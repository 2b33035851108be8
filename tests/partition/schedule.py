"""Seeded quarrels: people of several servers change one room while the network between them is cut and joined, and in the end all agree.

quarrel = Quarrel(seed, camps, field)
await quarrel.run()                 # raises `Disagreement`, with the seed and all that was done

Who may do what is not looked at: what is forbidden is refused, on whichever side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from tests.support.client import Json, User, segment

VERSIONS = ("2", "4", "6", "7", "8", "9", "10", "10", "11", "11", "12", "12", "12")
"""From which one is drawn; those that new rooms have more often."""
PHASES = (3, 6)
ACTS = (2, 7)
"""How many people of a camp act in a phase."""
LONGEST_PAUSE = 4 * 3600.0
ROUNDS = 30
"""How often everybody is heard before they are taken not to agree."""
TRIES = 5
"""How often it is looked for somebody who stays in the room long enough to see it."""
_POSSIBLE = {200, 400, 403, 404, 409, 502, 504}
"""What an act may be answered with: it may be forbidden, senseless, or need somebody who is out of reach."""

Key = tuple[str, str]


@dataclass
class View:
    """What a server knows of a room in which people of it are: the ids of the state, and who is joined."""

    state: dict[Key, str]
    joined: set[str]


class Disagreement(AssertionError):
    """The servers do not agree in the end."""


class Field(Protocol):
    """The network between the camps."""

    def split(self, groups: list[list[str]]) -> None:
        """Let servers reach only those of their own group."""

    def heal(self) -> None:
        """Let everybody reach everybody."""

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and whoever has something to do begin it."""

    async def rest(self) -> None:
        """Wait for a moment of real time."""


@dataclass(eq=False)
class Camp:
    """A server and its people; the first of them has power in the room."""

    name: str
    people: list[User]
    is_deaf: bool = False
    """Whether the server takes nothing of a room any more once it believes to be out of it, so that it cannot learn that others have it in. Synapse is so."""

    @property
    def names(self) -> set[str]:
        """The ids of its people."""
        return {person.user_id for person in self.people}


class Quarrel:
    """A room and all that is done in it. `log` tells what was done, in order."""

    def __init__(self, seed: int, camps: list[Camp], field: Field, versions: Sequence[str] = VERSIONS) -> None:
        self.seed = seed
        self.camps = camps
        self.field = field
        self.random = Random(seed)
        self.version = self.random.choice(versions)
        self.room = ""
        self.log: list[str] = []
        self._said: list[str] = []
        self._acts: list[tuple[int, Callable[[Camp, User], Coroutine[Any, Any, None]]]] = [
            (4, self._topic),
            (2, self._thing),
            (2, self._join_rule),
            (3, self._levels),
            (3, self._remove),
            (2, self._pardon),
            (2, self._leave),
            (4, self._join),
            (2, self._invite),
            (3, self._say),
            (1, self._redact),
        ]

    @property
    def people(self) -> list[User]:
        """Everybody."""
        return [person for camp in self.camps for person in camp.people]

    async def run(self) -> None:
        """Quarrel, and agree."""
        await self._open()
        for _ in range(self.random.randint(*PHASES)):
            groups = self._groups()
            self.log.append(f"split {groups}" if len(groups) > 1 else "heal")
            if len(groups) > 1:
                self.field.split(groups)
            else:
                self.field.heal()
            await asyncio.gather(*(self._phase(camp) for camp in self.camps))
            # More than an hour makes what follows a catching up after an outage.
            await self.field.pass_time(self.random.choice((0, 1, 30, 600, 5000)))
        self.field.heal()
        await self._agree()

    async def _open(self) -> None:
        owner = self.camps[0].people[0]
        powerful = [camp.people[0].user_id for camp in self.camps[1:]]
        request: Json = {"preset": "public_chat", "room_version": self.version, "name": f"Quarrel {self.seed}"}
        if self.version == "12" and self.random.random() < 0.5:
            request["creation_content"] = {"additional_creators": powerful[:1]}
        self.room = (await owner.post("/createRoom", request))["room_id"]
        for person in self.people[1:]:
            await self._join_by(person, owner.user_id.partition(":")[2], expect=200)
        levels = await owner.state(self.room, "m.room.power_levels")
        creators = {owner.user_id, *request.get("creation_content", {}).get("additional_creators", ())}
        chosen = {user: self.random.choice((50, 90, 100)) for user in powerful}
        users = {**levels["users"], **chosen}
        if self.version == "12":
            users = {user: level for user, level in users.items() if user not in creators}
        await owner.set_state(self.room, "m.room.power_levels", {**levels, "users": users})
        await self._until_all_agree("at the beginning")

    def _groups(self) -> list[list[str]]:
        groups: dict[int, list[str]] = {}
        for camp in self.camps:
            groups.setdefault(self.random.randrange(len(self.camps)), []).append(camp.name)
        return list(groups.values())

    async def _phase(self, camp: Camp) -> None:
        for _ in range(self.random.randint(*ACTS)):
            (act,) = self.random.choices([act for _, act in self._acts], [weight for weight, _ in self._acts])
            person = camp.people[0] if self.random.random() < 0.5 else self.random.choice(camp.people)
            await act(camp, person)
            await self.field.pass_time(self.random.choice((0, 0.001, 0.01, 1)))

    # --- acts

    async def _do(
        self, person: User, what: str, method: str, path: str, body: Any = None, **params: Any
    ) -> Json | None:
        """Send a request; note it with its status, and return the answer if it was done."""
        path = path if path.startswith("/join/") else f"/rooms/{segment(self.room)}{path}"
        answer = await person.raw(method, path, {} if body is None else body, params=params)
        reason = "" if answer.status == 200 else f" {answer.json().get('error')}"
        self.log.append(f"{person.user_id} {what} {answer.status}{reason}")
        assert answer.status in _POSSIBLE, f"{what} -> {answer.status} {answer.body!r}"
        decoded: Json | None = answer.json() if answer.status == 200 else None
        if decoded is not None and "event_id" in decoded:
            self._said.append(decoded["event_id"])
            self.log[-1] += f" {decoded['event_id']}"
        return decoded

    async def _state(self, person: User, event_type: str, content: Json, key: str = "") -> None:
        path = f"/state/{segment(event_type)}/{segment(key)}"
        await self._do(person, f"{event_type} {key} {content}", "PUT", path, content)

    async def _topic(self, camp: Camp, person: User) -> None:
        await self._state(person, "m.room.topic", {"topic": f"{person.user_id} {self.random.randrange(1000)}"})

    async def _thing(self, camp: Camp, person: User) -> None:
        key = self.random.choice(("", "a", "b", person.user_id))
        await self._state(person, "org.example.thing", {"thing": self.random.randrange(1000)}, key)

    async def _join_rule(self, camp: Camp, person: User) -> None:
        rules = ["public", "public", "invite"] + (["knock"] if int(self.version) >= 7 else [])
        await self._state(person, "m.room.join_rules", {"join_rule": self.random.choice(rules)})

    async def _levels(self, camp: Camp, person: User) -> None:
        answer = await person.raw("GET", f"/rooms/{segment(self.room)}/state/m.room.power_levels/")
        if answer.status != 200:
            return
        levels = answer.json()
        if self.random.random() < 0.7:
            target = self.random.choice(self.people).user_id
            levels["users"] = {**levels.get("users", {}), target: self.random.choice((0, 10, 50, 50, 90, 100))}
        else:
            name = self.random.choice(("state_default", "ban", "kick", "invite", "events_default", "redact"))
            levels[name] = self.random.choice((0, 0, 50, 60))
        await self._state(person, "m.room.power_levels", levels)

    async def _remove(self, camp: Camp, person: User) -> None:
        deed = self.random.choice(("kick", "ban"))
        target = self.random.choice(self.people).user_id
        await self._do(person, f"{deed} {target}", "POST", f"/{deed}", {"user_id": target})

    async def _pardon(self, camp: Camp, person: User) -> None:
        target = self.random.choice(self.people).user_id
        await self._do(person, f"unban {target}", "POST", "/unban", {"user_id": target})

    async def _leave(self, camp: Camp, person: User) -> None:
        # Somebody stays, lest there be nobody left to agree with.
        if person is not self.people[0]:
            await self._do(person, "leave", "POST", "/leave")

    async def _join(self, camp: Camp, person: User) -> None:
        await self._join_by(person, self.random.choice(self.camps).name)

    async def _join_by(self, person: User, server: str, expect: int | None = None) -> None:
        path = f"/join/{segment(self.room)}"
        done = await self._do(person, f"join by {server}", "POST", path, via=server, server_name=server)
        assert expect is None or done is not None, self.log[-1]

    async def _invite(self, camp: Camp, person: User) -> None:
        target = self.random.choice(self.people).user_id
        await self._do(person, f"invite {target}", "POST", "/invite", {"user_id": target})

    async def _say(self, camp: Camp, person: User) -> None:
        path = f"/send/m.room.message/{segment(person.next_txn())}"
        body = {"msgtype": "m.text", "body": f"{len(self.log)}"}
        await self._do(person, "say", "PUT", path, body)

    async def _redact(self, camp: Camp, person: User) -> None:
        if self._said:
            target = self.random.choice(self._said)
            path = f"/redact/{segment(target)}/{segment(person.next_txn())}"
            await self._do(person, f"redact {target}", "PUT", path)

    # --- agreeing

    async def _agree(self) -> None:
        # The first of all may have been removed: they come back, if they may, so that there is somebody.
        self.log.append("the end")
        await self._until_all_agree("in the end")

    async def _until_all_agree(self, when: str) -> None:
        """Let everybody who is in the room say something, until all have heard it and have the same state."""
        complaints: list[str] = []
        for number in range(ROUNDS):
            spoken = [event for camp in self.camps for event in await self._speak(camp)]
            # Until those who have long found nobody try again.
            await self.field.pass_time(min(10 * 2**number, LONGEST_PAUSE))
            for _ in range(10):
                await self.field.rest()
                complaints = await self._complaints(spoken)
                if not complaints:
                    return
        raise Disagreement(
            "\n".join([f"seed {self.seed}, version {self.version}, room {self.room}, {when}:", *complaints, *self.log])
        )

    async def _speak(self, camp: Camp) -> list[str]:
        for person in camp.people:
            path = f"/rooms/{segment(self.room)}/send/m.room.message/{segment(person.next_txn())}"
            answer = await person.raw("PUT", path, {"msgtype": "m.text", "body": "heard?"})
            if answer.status == 200:
                return [answer.json()["event_id"]]
        # Where none of them may send messages, somebody who is in can still take another name.
        person = await self._insider(camp)
        if person is None:
            return []
        path = f"/rooms/{segment(self.room)}/state/m.room.member/{segment(person.user_id)}"
        answer = await person.raw("PUT", path, {"membership": "join", "displayname": person.next_txn()})
        return [answer.json()["event_id"]] if answer.status == 200 else []

    async def _complaints(self, spoken: list[str]) -> list[str]:
        """Return in what the servers differ, a line each."""
        views = {camp: view for camp in self.camps if (view := await self._view(camp)) is not None}
        return await self._differences(next(iter(views)), views, spoken) if views else []

    async def _differences(self, reference: Camp, views: dict[Camp, View], spoken: list[str]) -> list[str]:
        truth = views[reference]
        lines = [
            f"{key}: {view.state.get(key)} at {camp.name}, {truth.state.get(key)} at {reference.name}"
            for camp, view in views.items()
            for key in sorted({*view.state, *truth.state})
            if view.state.get(key) != truth.state.get(key)
        ]
        if lines:
            return lines
        for camp in self.camps:
            expected = bool(truth.joined & camp.names)
            if camp.is_deaf and camp not in views:
                continue
            if expected != (camp in views):
                lines.append(f"{camp.name} is {'' if expected else 'not '}in the room, but does not know")
            elif expected and views[camp].joined != truth.joined:
                own = sorted(views[camp].joined)
                lines.append(f"members at {camp.name}: {own}, at {reference.name}: {sorted(truth.joined)}")
            elif expected:
                lines += [
                    f"{event} has not come to {camp.name}" for event in spoken if not await self._has(camp, event)
                ]
        return lines

    async def _insider(self, camp: Camp) -> User | None:
        for person in camp.people:
            if self.room in (await person.get("/joined_rooms"))["joined_rooms"]:
                return person
        return None

    async def _view(self, camp: Camp) -> View | None:
        for _ in range(TRIES):
            person = await self._insider(camp)
            if person is None:
                return None
            path = f"/rooms/{segment(self.room)}"
            state, members = [await person.raw("GET", f"{path}/{what}") for what in ("state", "joined_members")]
            if state.status == members.status == 200:
                ids = {(event["type"], event["state_key"]): event["event_id"] for event in state.json()}
                return View(ids, set(members.json()["joined"]))
            # They were put out between two questions, as branches have just met.
        raise Disagreement(
            f"seed {self.seed}: {camp.name} says that somebody is in the room, and does not let them see it"
        )

    async def _has(self, camp: Camp, event_id: str) -> bool:
        person = await self._insider(camp)
        if person is None:
            return True
        path = f"/rooms/{segment(self.room)}/event/{segment(event_id)}"
        return (await person.raw("GET", path)).status == 200
