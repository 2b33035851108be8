"""A scripted server with one user, whose device list a homeserver copies."""

from __future__ import annotations

import asyncio
from typing import Any

from conduit.protocol.ids import ServerName, UserId
from conduit.service.keys import remote_devices
from tests.service.keys.signers import CrossSigner, device_keys
from tests.support.client import User
from tests.support.clock import settle
from tests.support.federation import Incoming, Network
from tests.support.visitor import Visitor

Json = dict[str, Any]

PEER = ServerName("peer.test")
EVE = UserId("@eve:peer.test")
DEVICES = "/_matrix/federation/v1/user/devices/.*"
QUERY = "/_matrix/federation/v1/user/keys/query"


class Eve:
    """A user of `peer.test` in the rooms of users of `one.test`; `devices` and `stream_id` are what her server answers."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.peer = net.peer(PEER)
        self.hs = net["one.test"]
        self.ctx = self.hs.ctx
        self.stream_id = 5
        self.devices: Json = {"DEV": device_keys(EVE, "DEV")}
        self.names: dict[str, str] = {}
        self.signer: CrossSigner | None = None
        self.visitor = Visitor(self.peer, "one.test")
        self.peer.on("PUT", "/_matrix/federation/v1/send/.*", {"pdus": {}})
        self.peer.on("GET", DEVICES, lambda incoming: self.answer(incoming))

    def answer(self, incoming: Incoming) -> Any:
        """Return the answer to GET /user/devices; tests replace it."""
        return self.list()

    def list(self) -> Json:
        """Return her device list as it is now."""
        devices = []
        for device_id, keys in self.devices.items():
            name = self.names.get(device_id)
            devices.append({"device_id": device_id, "keys": keys, **({"device_display_name": name} if name else {})})
        answer: Json = {"user_id": EVE, "stream_id": self.stream_id, "devices": devices}
        if self.signer is not None:
            answer |= self.signer.body("master", "self_signing")
        return answer

    async def meet(self, user: User) -> str:
        """Let her join a new room of a user; return it."""
        room = await user.create_room(preset="public_chat")
        await self.visitor.join(room, EVE)
        return room

    def asked(self) -> int:
        """Return how often her device list was asked for."""
        return sum(incoming.path.startswith("/_matrix/federation/v1/user/devices") for incoming in self.peer.received)

    def update(self, stream_id: int, previous: Any = (), device_id: str = "DEV", **content: Any) -> None:
        """Let her server tell of a change of one device."""
        told = {"user_id": EVE, "device_id": device_id, "stream_id": stream_id, "prev_id": list(previous), **content}
        remote_devices.update(self.ctx, PEER, told)

    async def settled(self) -> None:
        """Wait until no list is being fetched, and users were told."""
        flights = self.ctx.outbound.flights
        while len(flights):
            await settle()
            self.net.clock.jump(remote_devices.GATHER_SECONDS)
            if len(flights):
                await asyncio.wait(list(flights._under_way.values()), timeout=0.01)


async def query(user: User, *users: str, **more: Any) -> Json:
    """Return the answer of /keys/query for all devices of some users."""
    asked = {"device_keys": {user_id: [] for user_id in users or (EVE,)}, **more}
    answer: Json = await user.post("/keys/query", asked)
    return answer


async def devices_of(user: User, other: str = EVE) -> Json:
    """Return the devices of somebody as /keys/query shows them."""
    found: Json = (await query(user, other))["device_keys"].get(other, {})
    return found


async def told(user: User) -> None:
    """Let the user's server tell of lists that it has fetched."""
    await settle()
    user.server.clock.jump(remote_devices.GATHER_SECONDS)
    await settle()


async def since(user: User) -> str:
    """Return the token of an initial /sync, once all that happened so far was told."""
    await told(user)
    return str((await user.get("/sync"))["next_batch"])


async def changed(user: User, token: str) -> list[str]:
    """Return who has changed since, as /sync tells."""
    await told(user)
    answer = await user.get("/sync", params={"since": token})
    found: list[str] = answer.get("device_lists", {}).get("changed", [])
    return found
