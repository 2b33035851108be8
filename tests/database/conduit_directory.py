"""A directory as Conduit 0.10 leaves it: its rows, byte for byte as its layout says, written by a RocksDB binding that is not ours.

Nothing here uses our codecs or trees, so that a mistake in them shows.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
from pyrex import PyOptions, PyRocksDBExtended, PyWriteBatch

from conduit.protocol.event_auth import auth_types_for
from conduit.protocol.pdu import Event, seal
from conduit.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from conduit.protocol.signing import SigningKey

HOME = "localhost"
FF = b"\xff"
STRIPPED = b'[{"type":"m.room.name","state_key":"","sender":"@far:elsewhere.org","content":{"name":"Far"}}]'
NAMES = """
global server_signingkeys userid_password userid_displayname userid_avatarurl userid_blurhash userdeviceid_metadata userdeviceid_token token_userdeviceid
userid_devicelistversion userfilterid_filter openidtoken_expiresatuserid userdevicesessionid_uiaainfo userdevicetxnid_response onetimekeyid_onetimekeys
userid_lastonetimekeyupdate keychangeid_userid keyid_key userid_masterkeyid userid_selfsigningkeyid userid_usersigningkeyid todeviceid_events
backupid_algorithm backupid_etag backupkeyid_backup readreceiptid_readreceipt roomuserid_privateread roomuserid_lastprivatereadupdate
presenceid_presence userid_lastpresenceupdate pduid_pdu eventid_pduid eventid_outlierpdu softfailedeventids roomid_pduleaves referencedevents
tofrom_relation threadid_userids tokenids roomid_shortroomid eventid_shorteventid shorteventid_eventid statekey_shortstatekey shortstatekey_statekey
statehash_shortstatehash shortstatehash_statediff roomid_shortstatehash shorteventid_shortstatehash roomsynctoken_shortstatehash shorteventid_authchain
userroomid_joined roomuserid_joined roomid_joinedcount roomid_invitedcount roomserverids serverroomids roomuseroncejoinedids userroomid_invitestate
roomuserid_invitecount userroomid_knockstate roomuserid_knockcount userroomid_leftstate roomuserid_leftcount userroomid_notificationcount
userroomid_highlightcount lazyloadedids alias_roomid alias_userid aliasid_alias publicroomids disabledroomids roomuserdataid_accountdata
roomusertype_roomuserdataid servernamemediaid_metadata thumbnailid_metadata filehash_metadata filehash_servername_mediaid filehash_thumbnailid
servername_userlocalpart_mediaid servernamemediaid_userlocalpart blocked_servername_mediaid servernameevent_data servercurrentevent_data
servername_educount id_appserviceregistrations senderkey_pusher
""".split()  # noqa: SIM905 (a table)


def u64(number: int) -> bytes:
    """Return 8 bytes, big-endian."""
    return number.to_bytes(8, "big")


def joined(*parts: str | bytes) -> bytes:
    """Return parts with 0xff between them."""
    return FF.join(part if isinstance(part, bytes) else part.encode() for part in parts)


class Room:
    """A room as Conduit has it in memory while it writes."""

    def __init__(self, room_id: str, short: int, version: RoomVersion) -> None:
        self.room_id = room_id
        self.short = short
        self.version = version
        self.state: dict[tuple[str, str], Event] = {}
        self.ids: dict[int, int] = {}
        self.stack: list[tuple[int, dict[int, int]]] = []
        """(short state hash, whole state) of each layer."""
        self.leaves: list[str] = []
        self.depth = 0
        self.events: list[Event] = []
        self.places: dict[str, bytes] = {}


class Conduit:
    """Writes rows as Conduit does, into dictionaries; `save` makes the directory."""

    def __init__(self, seed: int = 1) -> None:
        self.rows: dict[str, dict[bytes, bytes]] = {name: {} for name in NAMES}
        self.count = 0
        self.random = random.Random(seed)
        self.key = SigningKey(bytes(range(32)), "abcd1234")
        self.ts = 1_600_000_000_000
        self.rows["global"][b"version"] = u64(18)
        self.rows["global"][b"keypair"] = joined("abcd1234", self.key.to_pkcs8())

    def put(self, tree: str, key: bytes, value: bytes = b"") -> None:
        """Set one row."""
        self.rows[tree][key] = value

    def next(self) -> int:
        """Return the next count."""
        self.count += 1
        return self.count

    def save(self, directory: Path) -> None:
        """Make the directory."""
        self.rows["global"][b"c"] = u64(self.count)
        options = PyOptions()
        options.create_if_missing = True
        db = PyRocksDBExtended(str(directory), options)
        batch = PyWriteBatch()
        for name, rows in self.rows.items():
            family = db.create_column_family(name)
            for key, value in rows.items():
                batch.put_cf(family, key, value)
        db.write(batch)
        db.close()

    # --- accounts --------------------------------------------------------------------------------------------------

    def user(self, localpart: str, password: str = "$argon2id$v=19$hash", *, token: str | None = None) -> str:
        """Make an account, with a device if it gets a token."""
        user_id = f"@{localpart}:{HOME}"
        self.put("userid_password", user_id.encode(), password.encode())
        self.put("userid_displayname", user_id.encode(), localpart.title().encode())
        self.account_data("", user_id, "m.push_rules", {"global": {"override": []}})
        if token is not None:
            device = {"device_id": "DEVICE", "display_name": None, "last_seen_ip": None, "last_seen_ts": 1}
            self.put("userdeviceid_metadata", joined(user_id, "DEVICE"), orjson.dumps(device))
            self.put("userdeviceid_token", joined(user_id, "DEVICE"), token.encode())
            self.put("token_userdeviceid", token.encode(), joined(user_id, "DEVICE"))
            self.put("userid_devicelistversion", user_id.encode(), u64(1))
        return user_id

    def account_data(self, room_id: str, user_id: str, kind: str, content: Any) -> None:
        """Set an item of account data."""
        self.rows["roomuserdataid_accountdata"].pop(
            self.rows["roomusertype_roomuserdataid"].get(joined(room_id, user_id, kind), b""), None
        )
        row = joined(room_id, user_id, u64(self.next()), kind)
        self.put("roomuserdataid_accountdata", row, orjson.dumps({"type": kind, "content": content}))
        self.put("roomusertype_roomuserdataid", joined(room_id, user_id, kind), row)

    # --- rooms -----------------------------------------------------------------------------------------------------

    def create(self, creator: str, version: str = "10", *, name: str = "") -> Room:
        """Make a public room of `creator`."""
        kind = ROOM_VERSIONS[version]
        create: dict[str, Any] = {"room_version": version}
        if not kind.creator_is_sender:
            create["creator"] = creator
        pdu = self._pdu(creator, "m.room.create", create, state_key="")
        if not kind.room_id_is_create_hash:
            pdu["room_id"] = room_id = f"!{name or 'room'}{self.count}:{HOME}"
            event = self._seal(pdu, kind)
        else:
            event = self._seal(pdu, kind)
            room_id = event.room_id
        room = Room(room_id, self.next(), kind)
        self.put("roomid_shortroomid", room_id.encode(), u64(room.short))
        self.append(room, event)
        self.send(room, creator, "m.room.member", {"membership": "join"}, state_key=creator)
        levels: dict[str, Any] = {
            "users": {} if kind.creators_privileged else {creator: 100},
            "notifications": {"room": 50},
        }
        self.send(room, creator, "m.room.power_levels", levels, state_key="")
        self.send(room, creator, "m.room.join_rules", {"join_rule": "public"}, state_key="")
        self.send(room, creator, "m.room.history_visibility", {"history_visibility": "shared"}, state_key="")
        return room

    def _pdu(self, sender: str, kind: str, content: Any, *, state_key: str | None = None) -> dict[str, Any]:
        self.ts += 1000
        pdu: dict[str, Any] = {
            "auth_events": [],
            "content": content,
            "depth": 1,
            "origin_server_ts": self.ts,
            "prev_events": [],
            "sender": sender,
            "type": kind,
        }
        if state_key is not None:
            pdu["state_key"] = state_key
        return pdu

    def _seal(self, pdu: dict[str, Any], version: RoomVersion) -> Event:
        if not version.event_ids_are_hashes:
            pdu["event_id"] = f"$event{self.count}:{HOME}"
        return seal(pdu, version, HOME, self.key)

    def build(
        self,
        room: Room,
        sender: str,
        kind: str,
        content: Any,
        *,
        state_key: str | None = None,
        redacts: str | None = None,
    ) -> Event:
        """Return an event on top of the room's leaves."""
        pdu = self._pdu(sender, kind, content, state_key=state_key)
        types = auth_types_for(kind, sender, state_key, content, room.version)
        auth = [room.state[pair].reference() for pair in types if pair in room.state]
        by_id = {event.event_id: event for event in room.events}
        pdu.update(
            auth_events=auth,
            depth=room.depth + 1,
            prev_events=[by_id[leaf].reference() for leaf in room.leaves],  # type: ignore[index]
            room_id=room.room_id,
        )
        if redacts is not None:
            (pdu["content"] if room.version.redacts_in_content else pdu)["redacts"] = redacts
        return self._seal(pdu, room.version)

    def send(self, room: Room, sender: str, kind: str, content: Any, **options: Any) -> Event:
        """Send an event into a room."""
        event = self.build(room, sender, kind, content, **options)
        self.append(room, event)
        return event

    def short_event(self, event_id: str) -> int:
        """Return an event's short id."""
        found = self.rows["eventid_shorteventid"].get(event_id.encode())
        if found is not None:
            return int.from_bytes(found, "big")
        short = self.next()
        self.put("eventid_shorteventid", event_id.encode(), u64(short))
        self.put("shorteventid_eventid", u64(short), event_id.encode())
        return short

    def short_key(self, kind: str, state_key: str) -> int:
        """Return a state key's short id."""
        found = self.rows["statekey_shortstatekey"].get(joined(kind, state_key))
        if found is not None:
            return int.from_bytes(found, "big")
        short = self.next()
        self.put("statekey_shortstatekey", joined(kind, state_key), u64(short))
        self.put("shortstatekey_statekey", u64(short), joined(kind, state_key))
        return short

    def stored(self, event: Event, unsigned: Any = None) -> bytes:
        """Return an event's row: canonical, with `event_id` and `unsigned`."""
        pdu = {**event.pdu, "event_id": event.event_id}
        if unsigned:
            pdu["unsigned"] = unsigned
        return orjson.dumps(pdu, option=orjson.OPT_SORT_KEYS)

    def append(self, room: Room, event: Event) -> None:
        """Append an event as Conduit does, in its order."""
        event_id = event.event_id
        short = self.short_event(event_id)
        before = room.stack[-1][0] if room.stack else 0
        if before:
            self.put("shorteventid_shortstatehash", u64(short), u64(before))
        if event.state_key is not None:
            self._new_state(room, self.short_key(event.type, event.state_key), short)
            room.state[event.type, event.state_key] = event
        for previous in event.prev_events:
            self.put("referencedevents", room.room_id.encode() + previous.encode())
        for leaf in room.leaves:
            del self.rows["roomid_pduleaves"][joined(room.room_id, leaf)]
        room.leaves = [event_id]
        self.put("roomid_pduleaves", joined(room.room_id, event_id), event_id.encode())
        read = self.next()
        if event.sender.endswith(f":{HOME}"):
            self.put("roomuserid_privateread", joined(room.room_id, event.sender), u64(read))
            self.put("roomuserid_lastprivatereadupdate", joined(room.room_id, event.sender), u64(self.next()))
            self.put("userroomid_notificationcount", joined(event.sender, room.room_id), u64(0))
            self.put("userroomid_highlightcount", joined(event.sender, room.room_id), u64(0))
            self.put("userroomid_highlightcount", joined(room.room_id, event.sender), u64(self.next()))
        place = u64(room.short) + u64(self.next())
        self.put("pduid_pdu", place, self.stored(event, {"transaction_id": "m1", "age": 5}))
        self.put("eventid_pduid", event_id.encode(), place)
        body = event.content.get("body")
        if event.type == "m.room.message" and isinstance(body, str):
            for word in body.lower().split():
                self.put("tokenids", u64(room.short) + joined(word, place))
        room.depth += 1
        room.events.append(event)
        room.places[event_id] = place
        if room.stack:
            self.put("roomid_shortstatehash", room.room_id.encode(), u64(room.stack[-1][0]))
        if event.type == "m.room.member" and event.state_key is not None:
            self.member(room.room_id, event.state_key, event.content["membership"])

    def _new_state(self, room: Room, key: int, event: int) -> None:
        new = {**room.ids, key: event}
        number = self.next()
        if len(room.stack) >= 4 or (room.stack and len(room.stack[-1][1]) < 3):
            room.stack = []
        parent = room.stack[-1] if room.stack else (0, {})
        added = [u64(k) + u64(e) for k, e in new.items() if parent[1].get(k) != e]
        removed = [u64(k) + u64(e) for k, e in parent[1].items() if new.get(k) != e]
        self.random.shuffle(added)
        value = u64(parent[0]) + b"".join(added)
        if removed:
            value += u64(0) + b"".join(removed)
        self.put("shortstatehash_statediff", u64(number), value)
        room.stack.append((number, new))
        room.ids = new

    def member(self, room_id: str, user_id: str, membership: str) -> None:
        """Write the membership cache."""
        by_user, by_room = joined(user_id, room_id), joined(room_id, user_id)
        for tree in ("userroomid_joined", "userroomid_invitestate", "userroomid_knockstate", "userroomid_leftstate"):
            self.rows[tree].pop(by_user, None)
        for tree in ("roomuserid_joined", "roomuserid_invitecount", "roomuserid_knockcount", "roomuserid_leftcount"):
            self.rows[tree].pop(by_room, None)
        if membership == "join":
            self.put("userroomid_joined", by_user)
            self.put("roomuserid_joined", by_room)
            self.put("roomuseroncejoinedids", by_user)
        elif membership in ("invite", "knock"):
            self.put(f"userroomid_{membership}state", by_user, STRIPPED)
            self.put(f"roomuserid_{membership}count", by_room, u64(self.next()))
        else:
            self.put("userroomid_leftstate", by_user, b"[]")
            self.put("roomuserid_leftcount", by_room, u64(self.next()))
        prefix = joined(room_id, b"")
        users = [key[len(prefix) :].decode() for key in self.rows["roomuserid_joined"] if key.startswith(prefix)]
        self.put("roomid_joinedcount", room_id.encode(), u64(len(users)))
        invited = sum(key.startswith(prefix) for key in self.rows["roomuserid_invitecount"])
        self.put("roomid_invitedcount", room_id.encode(), u64(invited))
        for server in {user.partition(":")[2] for user in users}:
            self.put("roomserverids", joined(room_id, server))
            self.put("serverroomids", joined(server, room_id))

    def redact(self, room: Room, sender: str, target: Event) -> Event:
        """Redact an event in place, as Conduit does."""
        redaction = self.send(room, sender, "m.room.redaction", {"reason": "rude"}, redacts=target.event_id)
        because = orjson.loads(self.stored(redaction))
        self.put(
            "pduid_pdu", room.places[target.event_id], self.stored(target.redacted(), {"redacted_because": because})
        )
        return redaction

    def backfill(self, room: Room, event: Event) -> None:
        """Put an event before all others."""
        place = u64(room.short) + u64(0) + u64((1 << 64) - 1 - self.next())
        self.put("pduid_pdu", place, self.stored(event))
        self.put("eventid_pduid", event.event_id.encode(), place)

    def receipt(self, room: Room, user_id: str, event: Event) -> int:
        """Write a public receipt; return its count."""
        count = self.next()
        content = {event.event_id: {"m.read": {user_id: {"ts": 1234}}}}
        edu = {"type": "m.receipt", "content": content, "room_id": room.room_id}
        self.put("readreceiptid_readreceipt", joined(room.room_id, u64(count), user_id), orjson.dumps(edu))
        self.put("userroomid_highlightcount", joined(room.room_id, user_id), u64(self.next()))
        return count

    def synced(self, room: Room) -> int:
        """Note the room's state for a sync token; return the token."""
        token = self.count
        self.put("roomsynctoken_shortstatehash", u64(room.short) + u64(token), u64(room.stack[-1][0]))
        return token
