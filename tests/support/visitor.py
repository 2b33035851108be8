"""A scripted server whose users join the rooms of a homeserver, as far as tests of the resident side need it.

visitor = Visitor(net.peer("peer.test"), "one.test")
joined = await visitor.join(room_id, "@eve:peer.test")        # make_join, send_join
event = await visitor.signed("leave", room_id, "@eve:peer.test")  # the event that would be sent; nothing is
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conduit.protocol.pdu import Event, countersign, seal
from conduit.protocol.room_versions import ROOM_VERSIONS, SUPPORTED
from tests.support.client import Expect, segment
from tests.support.federation import Incoming, Peer

Json = dict[str, Any]
FEDERATION = "/_matrix/federation"


@dataclass
class Joined:
    """A join that was accepted: its event, and what the resident server has told."""

    event: Event
    answer: Json

    @property
    def state(self) -> list[Event]:
        """The state before the join."""
        return [Event.from_pdu(pdu, self.event.version) for pdu in self.answer["state"]]

    @property
    def auth_chain(self) -> list[Event]:
        """What authorises it."""
        return [Event.from_pdu(pdu, self.event.version) for pdu in self.answer["auth_chain"]]


class Visitor:
    """A peer on its way into rooms of `server`."""

    def __init__(self, peer: Peer, server: str) -> None:
        self.peer = peer
        self.server = server

    async def template(
        self, membership: str, room_id: str, user_id: str, expect: Expect = 200, query: str = ""
    ) -> Json:
        """Return the answer to `make_join`, `make_knock` or `make_leave`."""
        if membership != "leave" and not query:
            query = "?" + "&".join(f"ver={version}" for version in SUPPORTED)
        target = f"{FEDERATION}/v1/make_{membership}/{segment(room_id)}/{segment(user_id)}{query}"
        answer: Json = await self.peer.get(self.server, target, expect)
        return answer

    async def signed(self, membership: str, room_id: str, user_id: str, **changes: Any) -> Event:
        """Return the event that a template leads to; `changes` replace keys of it, `content` adds to its content."""
        return self.seal(await self.template(membership, room_id, user_id), **changes)

    def seal(self, template: Json, **changes: Any) -> Event:
        """Return the signed event of a template."""
        version = ROOM_VERSIONS[template["room_version"]]
        pdu = {**template["event"], "origin": self.peer.name}
        if not version.event_ids_are_hashes:
            pdu["event_id"] = f"$visit{len(self.peer.board.requests)}:{self.peer.name}"
        pdu["content"] = {**pdu["content"], **changes.pop("content", {})}
        return seal({**pdu, **changes}, version, self.peer.name, self.peer.key)

    def target(self, membership: str, event: Event, *, form: str = "v2", query: str = "") -> str:
        """Return where the event is sent to."""
        if membership == "knock":
            form = "v1"
        return f"{FEDERATION}/{form}/send_{membership}/{segment(event.room_id)}/{segment(event.event_id)}{query}"

    async def send(
        self, membership: str, event: Event, expect: Expect = 200, *, form: str = "v2", query: str = ""
    ) -> Any:
        """Send it, and return the answer."""
        target = self.target(membership, event, form=form, query=query)
        return await self.peer.put(self.server, target, event.pdu, expect)

    def sign_invites(self) -> None:
        """Let the peer take and countersign every invite that is sent to it."""

        def sign(incoming: Incoming) -> Json:
            body = incoming.json()
            event = Event.from_pdu(body["event"], ROOM_VERSIONS[body["room_version"]])
            return {"event": countersign(event, self.peer.name, self.peer.key).pdu}

        self.peer.on("PUT", f"{FEDERATION}/v2/invite/.*", sign)

    async def join(self, room_id: str, user_id: str, *, query: str = "") -> Joined:
        """Join a room."""
        event = await self.signed("join", room_id, user_id)
        return Joined(event, await self.send("join", event, query=query))

    async def message(self, joined: Joined, sender: str, body: str, after: Event | None = None) -> Event:
        """Send a message that follows `after`, or the join; return it."""
        wanted = {("m.room.create", ""), ("m.room.power_levels", "")}
        version = joined.event.version
        auth = [event for event in joined.state if (event.type, event.state_key) in wanted]
        if version.room_id_is_create_hash:
            auth = [event for event in auth if event.type != "m.room.create"]
        event = self.peer.event(
            version,
            kind="m.room.message",
            sender=sender,
            content={"msgtype": "m.text", "body": body},
            room_id=joined.event.room_id,
            prev=[after or joined.event],
            auth=[*auth, joined.event],
        )
        await self.peer.send(self.server, [event])
        return event
