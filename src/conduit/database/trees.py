"""THE catalogue: every tree, its key, its value and what it is for.

Conduit's trees come first, under Conduit's names and in Conduit's layout (database version 18); they are frozen. Trees of this server follow,
marked `ours=True`. A tree is added by one line here; one that is no longer used stays as a name in `TOMBSTONES`, so that migrations
can find it. `TREES` is the whole list, in order.

"short" ids are 8-byte numbers that stand for rooms, events and state keys; "count" is a value of the one counter.
"""

from __future__ import annotations

from typing import Any

from conduit.database import layouts
from conduit.database.codec import (
    BYTES,
    BYTES32,
    EMPTY,
    JSON,
    NUMBER,
    NUMBERS,
    RAW,
    STRING,
    TEXT,
    U32,
    U64,
    U64_FF,
    one,
    row,
)
from conduit.database.tree import Tree

VERSION = 18
"""Conduit's database version of this layout."""

# --- Globals and keys of servers -----------------------------------------------------------------------------------
global_ = Tree(
    "global",
    key=one(RAW),
    value=BYTES,
    doc="c: the counter; u: last update announcement; version; keypair; ours: schema, reserved, old_keys",
)
server_signingkeys = Tree("server_signingkeys", key=one(TEXT), value=JSON, doc="server -> its ServerSigningKeys object")

# --- Accounts, devices, tokens -------------------------------------------------------------------------------------
userid_password = Tree(
    "userid_password",
    key=one(TEXT),
    value=STRING,
    doc="user -> Argon2id text; empty = cannot log in by password. The key's presence means that the user exists",
)
userid_displayname = Tree("userid_displayname", key=one(TEXT), value=STRING, doc="user -> display name")
userid_avatarurl = Tree("userid_avatarurl", key=one(TEXT), value=STRING, doc="user -> mxc URI")
userid_blurhash = Tree("userid_blurhash", key=one(TEXT), value=STRING, doc="user -> blurhash of the avatar")
userdeviceid_metadata = Tree(
    "userdeviceid_metadata",
    key=row(TEXT, TEXT),
    value=JSON,
    doc="user, device -> device object. The key's presence means that the device exists",
)
userdeviceid_token = Tree("userdeviceid_token", key=row(TEXT, TEXT), value=STRING, doc="user, device -> access token")
token_userdeviceid = Tree(
    "token_userdeviceid", key=one(TEXT), value=row(TEXT, TEXT), doc="access token -> user, device"
)
userid_devicelistversion = Tree(
    "userid_devicelistversion", key=one(TEXT), value=NUMBER, doc="user -> number of device changes"
)
userfilterid_filter = Tree("userfilterid_filter", key=row(TEXT, TEXT), value=JSON, doc="user, filter id -> filter")
openidtoken_expiresatuserid = Tree(
    "openidtoken_expiresatuserid", key=one(TEXT), value=row(U64, TEXT), doc="OpenID token -> expiry in ms, user"
)
userdevicesessionid_uiaainfo = Tree(
    "userdevicesessionid_uiaainfo",
    key=row(TEXT, TEXT, TEXT),
    value=JSON,
    doc="user, device, session -> state of user-interactive authentication",
)
userdevicetxnid_response = Tree(
    "userdevicetxnid_response",
    key=row(TEXT, TEXT, TEXT),
    value=BYTES,
    doc="user, device or empty, transaction -> event id or empty. Superseded by `transaction`",
)

# --- End-to-end encryption -----------------------------------------------------------------------------------------
onetimekeyid_onetimekeys = Tree(
    "onetimekeyid_onetimekeys",
    key=row(TEXT, TEXT, TEXT),
    value=JSON,
    doc='user, device, "algorithm:id" as JSON string -> key',
)
userid_lastonetimekeyupdate = Tree(
    "userid_lastonetimekeyupdate", key=one(TEXT), value=NUMBER, doc="user -> count of the last upload or claim"
)
keychangeid_userid = Tree(
    "keychangeid_userid", key=row(TEXT, U64), value=STRING, doc="room or user, count -> user whose keys changed"
)
keyid_key = Tree(
    "keyid_key", key=row(TEXT, TEXT), value=JSON, doc="user, device or public key -> device keys or cross-signing key"
)
userid_masterkeyid = Tree(
    "userid_masterkeyid", key=one(TEXT), value=row(TEXT, TEXT), doc="user -> key of its master key in keyid_key"
)
userid_selfsigningkeyid = Tree(
    "userid_selfsigningkeyid",
    key=one(TEXT),
    value=row(TEXT, TEXT),
    doc="user -> key of its self-signing key in keyid_key",
)
userid_usersigningkeyid = Tree(
    "userid_usersigningkeyid",
    key=one(TEXT),
    value=row(TEXT, TEXT),
    doc="user -> key of its user-signing key in keyid_key",
)
todeviceid_events = Tree(
    "todeviceid_events",
    key=row(TEXT, TEXT, U64),
    value=JSON,
    doc="user, device, count -> to-device event, until acknowledged",
)
backupid_algorithm = Tree(
    "backupid_algorithm", key=row(TEXT, TEXT), value=JSON, doc="user, version in decimal -> algorithm and auth_data"
)
backupid_etag = Tree("backupid_etag", key=row(TEXT, TEXT), value=NUMBER, doc="user, version -> etag")
backupkeyid_backup = Tree(
    "backupkeyid_backup",
    key=row(TEXT, TEXT, TEXT, TEXT),
    value=JSON,
    doc="user, version, room, session -> key backup data",
)

# --- EDUs ----------------------------------------------------------------------------------------------------------
readreceiptid_readreceipt = Tree(
    "readreceiptid_readreceipt",
    key=row(TEXT, U64_FF, TEXT),
    value=JSON,
    doc="room, count, user -> m.receipt event. Superseded by `receipt`",
)
roomuserid_privateread = Tree(
    "roomuserid_privateread",
    key=row(TEXT, TEXT),
    value=NUMBER,
    doc="room, user -> count of the event read privately. Superseded by `receipt`",
)
roomuserid_lastprivatereadupdate = Tree(
    "roomuserid_lastprivatereadupdate",
    key=row(TEXT, TEXT),
    value=NUMBER,
    doc="room, user -> count of that update. Superseded by `receipt`",
)
presenceid_presence = Tree(
    "presenceid_presence",
    key=row(TEXT, U64_FF, TEXT),
    value=JSON,
    doc="room, count, user -> presence event; cleared at every start, not written",
)
userid_lastpresenceupdate = Tree(
    "userid_lastpresenceupdate", key=one(TEXT), value=NUMBER, doc="user -> time of the last presence update in ms"
)

# --- Timeline ------------------------------------------------------------------------------------------------------
pduid_pdu = Tree(
    "pduid_pdu",
    key=layouts.PDU_ID,
    value=BYTES,
    doc="position in a room's timeline -> event: federation form plus event_id, canonical JSON",
)
eventid_pduid = Tree("eventid_pduid", key=one(TEXT), value=layouts.PDU_ID, doc="event -> position")
eventid_outlierpdu = Tree("eventid_outlierpdu", key=one(TEXT), value=BYTES, doc="event that is in no timeline -> event")
softfailedeventids = Tree("softfailedeventids", key=one(TEXT), value=EMPTY, doc="soft-failed events")
roomid_pduleaves = Tree(
    "roomid_pduleaves", key=row(TEXT, TEXT), value=STRING, doc="room, event -> event: the forward extremities"
)
referencedevents = Tree(
    "referencedevents",
    key=layouts.ROOM_THEN_EVENT,
    value=EMPTY,
    doc="room and event without separator: named by some prev_events",
)
tofrom_relation = Tree(
    "tofrom_relation",
    key=row(U64, U64),
    value=EMPTY,
    doc="count of the target, count of the relating event. Superseded by `relation`",
)
threadid_userids = Tree(
    "threadid_userids",
    key=layouts.PDU_ID,
    value=BYTES,
    doc="position of a thread's root -> participants. Superseded by `thread`",
)
tokenids = Tree("tokenids", key=row(U64, TEXT, RAW), value=EMPTY, doc="short room, word, position: the search index")

# --- State ---------------------------------------------------------------------------------------------------------
roomid_shortroomid = Tree(
    "roomid_shortroomid", key=one(TEXT), value=NUMBER, doc="room -> short room: the list of known rooms"
)
eventid_shorteventid = Tree("eventid_shorteventid", key=one(TEXT), value=NUMBER, doc="event -> short event")
shorteventid_eventid = Tree("shorteventid_eventid", key=one(U64), value=STRING, doc="short event -> event")
statekey_shortstatekey = Tree(
    "statekey_shortstatekey", key=row(TEXT, TEXT), value=NUMBER, doc="event type, state key -> short state key"
)
shortstatekey_statekey = Tree(
    "shortstatekey_statekey", key=one(U64), value=row(TEXT, TEXT), doc="short state key -> event type, state key"
)
statehash_shortstatehash = Tree(
    "statehash_shortstatehash", key=one(BYTES32), value=NUMBER, doc="hash of a state -> short state hash"
)
shortstatehash_statediff = Tree(
    "shortstatehash_statediff", key=one(U64), value=layouts.STATE_DIFF, doc="short state hash -> parent, added, removed"
)
roomid_shortstatehash = Tree("roomid_shortstatehash", key=one(TEXT), value=NUMBER, doc="room -> its current state")
shorteventid_shortstatehash = Tree(
    "shorteventid_shortstatehash", key=one(U64), value=NUMBER, doc="short event -> state before it"
)
roomsynctoken_shortstatehash = Tree(
    "roomsynctoken_shortstatehash",
    key=row(U64, U64),
    value=NUMBER,
    doc="short room, sync token -> state. Never written: `roomstate_history` serves",
)
shorteventid_authchain = Tree(
    "shorteventid_authchain",
    key=one(U64),
    value=NUMBERS,
    doc="short event -> its auth chain. Never written: chains are walked over `shorteventid_meta`",
)

# --- Membership ----------------------------------------------------------------------------------------------------
userroomid_joined = Tree("userroomid_joined", key=row(TEXT, TEXT), value=EMPTY, doc="user, room")
roomuserid_joined = Tree("roomuserid_joined", key=row(TEXT, TEXT), value=EMPTY, doc="room, user")
roomid_joinedcount = Tree("roomid_joinedcount", key=one(TEXT), value=NUMBER, doc="room -> number of joined users")
roomid_invitedcount = Tree("roomid_invitedcount", key=one(TEXT), value=NUMBER, doc="room -> number of invited users")
roomserverids = Tree("roomserverids", key=row(TEXT, TEXT), value=EMPTY, doc="room, server with a joined user")
serverroomids = Tree("serverroomids", key=row(TEXT, TEXT), value=EMPTY, doc="server, room")
roomuseroncejoinedids = Tree(
    "roomuseroncejoinedids",
    key=row(TEXT, TEXT),
    value=EMPTY,
    doc="user, room (in spite of its name); read by full key only",
)
userroomid_invitestate = Tree(
    "userroomid_invitestate", key=row(TEXT, TEXT), value=JSON, doc="user, room -> stripped state of the invite"
)
roomuserid_invitecount = Tree(
    "roomuserid_invitecount", key=row(TEXT, TEXT), value=NUMBER, doc="room, user -> count of the invite"
)
userroomid_knockstate = Tree(
    "userroomid_knockstate", key=row(TEXT, TEXT), value=JSON, doc="user, room -> stripped state of the knock"
)
roomuserid_knockcount = Tree(
    "roomuserid_knockcount", key=row(TEXT, TEXT), value=NUMBER, doc="room, user -> count of the knock"
)
userroomid_leftstate = Tree(
    "userroomid_leftstate",
    key=row(TEXT, TEXT),
    value=JSON,
    doc="user, room -> [], or the leave of a room not known here",
)
roomuserid_leftcount = Tree(
    "roomuserid_leftcount",
    key=row(TEXT, TEXT),
    value=NUMBER,
    doc="room, user -> count of the leave; removed when forgotten",
)
userroomid_notificationcount = Tree(
    "userroomid_notificationcount",
    key=row(TEXT, TEXT),
    value=NUMBER,
    doc="user, room -> notifications. Superseded by `notify_ordinal` and `notify_personal`",
)
userroomid_highlightcount = Tree(
    "userroomid_highlightcount",
    key=row(TEXT, TEXT),
    value=NUMBER,
    doc="user, room -> highlights; Conduit also puts room, user -> last reset here. Superseded as above",
)
lazyloadedids = Tree(
    "lazyloadedids",
    key=row(TEXT, TEXT, TEXT, TEXT),
    value=EMPTY,
    doc="user, device, room, member already sent to that device",
)

# --- Directory -----------------------------------------------------------------------------------------------------
alias_roomid = Tree("alias_roomid", key=one(TEXT), value=STRING, doc="alias localpart -> room")
alias_userid = Tree("alias_userid", key=one(TEXT), value=STRING, doc="alias localpart -> its maker")
aliasid_alias = Tree("aliasid_alias", key=row(TEXT, U64), value=STRING, doc="room, count -> full alias")
publicroomids = Tree("publicroomids", key=one(TEXT), value=EMPTY, doc="rooms in the public directory")
disabledroomids = Tree("disabledroomids", key=one(TEXT), value=EMPTY, doc="rooms whose federation is refused")

# --- Account data --------------------------------------------------------------------------------------------------
roomuserdataid_accountdata = Tree(
    "roomuserdataid_accountdata",
    key=layouts.ACCOUNT_DATA,
    value=JSON,
    doc="room or empty, user, count, type -> {type, content}",
)
roomusertype_roomuserdataid = Tree(
    "roomusertype_roomuserdataid",
    key=row(TEXT, TEXT, TEXT),
    value=layouts.ACCOUNT_DATA,
    doc="room or empty, user, type -> key in roomuserdataid_accountdata",
)

# --- Media ---------------------------------------------------------------------------------------------------------
servernamemediaid_metadata = Tree(
    "servernamemediaid_metadata",
    key=row(TEXT, TEXT),
    value=layouts.MEDIA_META,
    doc="server, media id -> SHA-256, filename, content type, served without authentication",
)
thumbnailid_metadata = Tree(
    "thumbnailid_metadata",
    key=row(TEXT, TEXT, U32, U32),
    value=layouts.MEDIA_META,
    doc="server, media id, width, height -> as above",
)
filehash_metadata = Tree(
    "filehash_metadata",
    key=one(BYTES32),
    value=layouts.THREE_NUMBERS,
    doc="SHA-256 -> size, created s, last access s; presence means that the file is stored",
)
filehash_servername_mediaid = Tree(
    "filehash_servername_mediaid", key=row(BYTES32, TEXT, TEXT), value=EMPTY, doc="SHA-256, server, media id"
)
filehash_thumbnailid = Tree(
    "filehash_thumbnailid",
    key=row(BYTES32, TEXT, TEXT, U32, U32),
    value=EMPTY,
    doc="SHA-256, server, media id, width, height",
)
servername_userlocalpart_mediaid = Tree(
    "servername_userlocalpart_mediaid", key=row(TEXT, TEXT, TEXT), value=EMPTY, doc="server, localpart, media id"
)
servernamemediaid_userlocalpart = Tree(
    "servernamemediaid_userlocalpart",
    key=row(TEXT, TEXT),
    value=STRING,
    doc="server, media id -> localpart of the uploader",
)
blocked_servername_mediaid = Tree(
    "blocked_servername_mediaid",
    key=row(TEXT, TEXT),
    value=row(U64, TEXT),
    doc="server, media id -> time of the block s, reason",
)

# --- Outgoing queues, application services, pushers ----------------------------------------------------------------
servernameevent_data = Tree(
    "servernameevent_data",
    key=layouts.QUEUE,
    value=BYTES,
    doc="destination, position or count -> empty or EDU. Superseded by `destination_queue`",
)
servercurrentevent_data = Tree(
    "servercurrentevent_data", key=layouts.QUEUE, value=BYTES, doc="the transaction in flight, as above"
)
servername_educount = Tree(
    "servername_educount", key=one(TEXT), value=NUMBER, doc="server -> receipts and device changes up to here were sent"
)
id_appserviceregistrations = Tree(
    "id_appserviceregistrations", key=one(TEXT), value=STRING, doc="application service -> its registration as YAML"
)
senderkey_pusher = Tree("senderkey_pusher", key=row(TEXT, TEXT), value=JSON, doc="user, push key -> pusher")

# === Ours: facts about events and state ============================================================================
roomstate = Tree(
    "roomstate",
    key=row(U64, U64),
    value=NUMBER,
    ours=True,
    doc="short room, short state key -> short event: current state by point read",
)
roomstate_history = Tree(
    "roomstate_history",
    key=row(U64, U64),
    value=NUMBER,
    ours=True,
    doc="short room, count -> short state hash: the current state from that count on",
)
shorteventid_stateafter = Tree(
    "shorteventid_stateafter",
    key=one(U64),
    value=NUMBER,
    ours=True,
    doc="short event -> state after it, for accepted and soft-failed events",
)
shorteventid_meta = Tree(
    "shorteventid_meta",
    key=one(U64),
    value=layouts.EVENT_META,
    ours=True,
    doc="short event -> status, short room, depth, auth events",
)
room_events = Tree(
    "room_events",
    key=row(U64, U64),
    value=EMPTY,
    ours=True,
    doc="short room, short event: every event of the room, outliers too",
)
shortroomid_roomid = Tree("shortroomid_roomid", key=one(U64), value=STRING, ours=True, doc="short room -> room")
room_gap = Tree(
    "room_gap",
    key=row(U64, U64),
    value=JSON,
    ours=True,
    doc="short room, count -> event ids missing before that position",
)
stagedpdu = Tree(
    "stagedpdu",
    key=row(U64, U64),
    value=row(TEXT, RAW),
    ours=True,
    doc="short room, count -> origin, event as received: waiting to be processed",
)
received_transaction = Tree(
    "received_transaction",
    key=one(TEXT),
    value=JSON,
    ours=True,
    doc="server -> [transaction id, what was answered] of its latest transactions, newest last",
)
room_dropped = Tree(
    "room_dropped",
    key=row(TEXT, TEXT),
    value=row(U64, U64),
    ours=True,
    doc="room, server that resolution has put out of it -> when in ms, 1 once an event was sent to it from which it learns",
)
relation = Tree(
    "relation",
    key=row(U64, RAW),
    value=layouts.RELATION,
    ours=True,
    doc="short event of the target (known or not), position of the relating event -> its short event, rel_type, type, sender",
)
annotation = Tree(
    "annotation",
    key=row(U64, BYTES32, TEXT),
    value=NUMBER,
    ours=True,
    doc="short event of the target, SHA-256 of event type and key, sender -> short event: nobody annotates twice alike",
)
thread = Tree(
    "thread",
    key=row(U64, U64),
    value=row(U64, U64, RAW),
    ours=True,
    doc="short room, short event of the root -> number of replies, short event of the last one, its position",
)
thread_order = Tree(
    "thread_order",
    key=layouts.PDU_ID,
    value=NUMBER,
    ours=True,
    doc="position of a thread's last reply -> short event of the root",
)
thread_participant = Tree(
    "thread_participant", key=row(U64, TEXT), value=EMPTY, ours=True, doc="short event of the root, user who replied"
)
redaction = Tree(
    "redaction", key=row(TEXT, TEXT), value=EMPTY, ours=True, doc="target event, redaction event: whichever comes first"
)
redacted = Tree(
    "redacted",
    key=one(TEXT),
    value=STRING,
    ours=True,
    doc="event -> the valid redaction that applies to it; reads prune",
)
membership = Tree(
    "membership",
    key=row(TEXT, TEXT),
    value=layouts.MEMBERSHIP,
    ours=True,
    doc="user, room -> membership, count of its last change, short event",
)
membership_stream = Tree(
    "membership_stream",
    key=row(TEXT, U64),
    value=STRING,
    ours=True,
    doc="user, count -> room in which the user's membership changed; one row a room",
)
partial_room = Tree(
    "partial_room",
    key=one(TEXT),
    value=JSON,
    ours=True,
    doc="room joined without its list of members -> {event, servers, via}: the join, servers in the room, whom to ask",
)
partial_past = Tree(
    "partial_past",
    key=one(TEXT),
    value=row(U64, U64),
    ours=True,
    doc="room -> first count at which its members were not all known, count since which they are",
)
membership_intent = Tree(
    "membership_intent",
    key=row(TEXT, TEXT),
    value=JSON,
    ours=True,
    doc="room, user -> {membership, server, version, event, undo}: a signed member event about to leave for another server",
)

# === Ours: counts, receipts, notifications =========================================================================
notify_ordinal = Tree(
    "notify_ordinal",
    key=row(U64, U64, U64),
    value=NUMBER,
    ours=True,
    doc="short room, thread (short event of the root, or 0), count of an event that notifies by default -> how many there are up to it",
)
notify_personal = Tree(
    "notify_personal",
    key=row(TEXT, U64, U64, U64),
    value=row(U32, U32),
    ours=True,
    doc="user, short room, thread, count -> how the user's notification and highlight differ from everybody's: 0 less, 1 alike, 2 more",
)
highlight_ordinal = Tree(
    "highlight_ordinal",
    key=row(U64, U64, U64),
    value=NUMBER,
    ours=True,
    doc="short room, thread or 0, count of an event that highlights for everybody -> how many there are up to it",
)
thread_aside = Tree(
    "thread_aside",
    key=row(U64, U64),
    value=NUMBER,
    ours=True,
    doc="short room, count of an event that counts in a thread without being a reply in it (an edit, say) -> short event of the root",
)
pushrules_own = Tree(
    "pushrules_own", key=one(TEXT), value=EMPTY, ours=True, doc="users whose push rules differ from the predefined ones"
)
ignoring = Tree("ignoring", key=one(TEXT), value=EMPTY, ours=True, doc="users who ignore somebody")
receipt = Tree(
    "receipt",
    key=row(U64, TEXT, TEXT, TEXT),
    value=JSON,
    ours=True,
    doc="short room, user, receipt type, thread id or empty -> {event_id, ts, count, at}: at = position of the event",
)
receipt_stream = Tree(
    "receipt_stream",
    key=row(U64, U64),
    value=row(TEXT, TEXT, TEXT),
    ours=True,
    doc="short room, count -> user, receipt type, thread: one row a receipt",
)

accountdata_stream = Tree(
    "accountdata_stream",
    key=row(TEXT, U64),
    value=row(TEXT, TEXT),
    ours=True,
    doc="user, count -> room or empty, type of the account data set then; one row an item",
)

# === Ours: accounts ================================================================================================
account = Tree(
    "account",
    key=one(TEXT),
    value=JSON,
    ours=True,
    doc="user -> {created_ts, kind, deactivated, erased, locked, suspended, ...}",
)
accesstoken = Tree(
    "accesstoken",
    key=one(TEXT),
    value=JSON,
    ours=True,
    doc="access token with a life time -> {expires_at, refresh_token}",
)
refreshtoken = Tree(
    "refreshtoken", key=one(TEXT), value=JSON, ours=True, doc="refresh token -> {user, device, used, next}"
)
profile_field = Tree(
    "profile_field", key=row(TEXT, TEXT), value=JSON, ours=True, doc="user, field -> value of the extended profile"
)
login_token = Tree(
    "login_token", key=one(TEXT), value=JSON, ours=True, doc="token of m.login.token -> {user, expires_at}"
)
profile_pending = Tree(
    "profile_pending",
    key=one(TEXT),
    value=EMPTY,
    ours=True,
    doc="users whose rooms are still to be told of their profile",
)
registration_token = Tree(
    "registration_token",
    key=one(TEXT),
    value=JSON,
    ours=True,
    doc="registration token -> {uses_allowed, pending, completed, expires_at}",
)
transaction = Tree(
    "transaction",
    key=row(TEXT, TEXT, BYTES32),
    value=row(U64, RAW),
    ours=True,
    doc="user, device, hash of method, path and transaction id -> time in ms, response",
)
transaction_age = Tree(
    "transaction_age",
    key=row(U64, TEXT, TEXT, BYTES32),
    value=EMPTY,
    ours=True,
    doc="time in ms, then the key of `transaction`: the rows in the order in which they are swept",
)
event_transaction = Tree(
    "event_transaction",
    key=row(U64, U64),
    value=row(TEXT, TEXT, TEXT),
    ours=True,
    doc="short room, short event -> user, device, transaction id under which it was sent",
)
devicelist_stream = Tree(
    "devicelist_stream",
    key=one(U64),
    value=STRING,
    ours=True,
    doc="count -> user whose devices or keys changed; one row a user",
)
devicelist_latest = Tree(
    "devicelist_latest", key=one(TEXT), value=NUMBER, ours=True, doc="user -> its row in devicelist_stream"
)
devicelist_outgoing = Tree(
    "devicelist_outgoing",
    key=row(TEXT, U64),
    value=JSON,
    ours=True,
    doc="local user, count -> change that other servers are still to be told of: {device_id, stream_id, prev_id}, {signing_keys} or {joined}",
)
devicelist_chain = Tree(
    "devicelist_chain",
    key=one(TEXT),
    value=NUMBER,
    ours=True,
    doc="local user -> stream id of the newest device list update: the next one names it in its prev_id",
)
devicelist_remote = Tree(
    "devicelist_remote",
    key=one(TEXT),
    value=JSON,
    ours=True,
    doc="remote user -> {stream_id, seen, fresh, at, untold}: how far the copy of the device list goes, the count at which it was fetched, and whether users are still to be told",
)
devicelist_device = Tree(
    "devicelist_device",
    key=row(TEXT, TEXT),
    value=JSON,
    ours=True,
    doc="remote user, device -> {keys, name}: the copy of the device list",
)
onetimekey_order = Tree(
    "onetimekey_order",
    key=row(TEXT, TEXT, TEXT, U64),
    value=STRING,
    ours=True,
    doc="user, device, algorithm, count -> key ids with NUL between them: one-time keys in the order of their upload",
)
fallbackkey = Tree(
    "fallbackkey",
    key=row(TEXT, TEXT, TEXT),
    value=JSON,
    ours=True,
    doc="user, device, algorithm -> {key_id, key, used}",
)
user_word = Tree(
    "user_word",
    key=row(TEXT, TEXT),
    value=EMPTY,
    ours=True,
    doc="lower-cased word of a localpart or display name, user: the user directory's index",
)
report = Tree("report", key=one(U64), value=JSON, ours=True, doc="count -> report of an event, room or user")
media_pending = Tree(
    "media_pending",
    key=row(TEXT, TEXT),
    value=JSON,
    ours=True,
    doc="server, media id reserved but not uploaded -> {user, expires_at}",
)

media_pending_of_user = Tree(
    "media_pending_of_user",
    key=row(TEXT, TEXT),
    value=NUMBER,
    ours=True,
    doc="user, media id reserved but not uploaded -> when it expires in ms",
)
threepid_binding = Tree(
    "threepid_binding",
    key=row(TEXT, TEXT, TEXT, TEXT),
    value=NUMBER,
    ours=True,
    doc="user, medium, address, identity server at which the user has bound it -> time in ms",
)

# === Ours: outgoing queues =========================================================================================
destination_queue = Tree(
    "destination_queue",
    key=row(TEXT, U64, U64),
    value=BYTES,
    ours=True,
    doc="destination, class (0 PDU, 1 EDU), count -> position of the event (empty key part: see sending) or EDU",
)
destination_room = Tree(
    "destination_room",
    key=row(TEXT, U64),
    value=layouts.PDU_ID,
    ours=True,
    doc="destination in destination_behind, short room -> newest event for it: the catch-up form",
)
destination_state = Tree(
    "destination_state",
    key=one(TEXT),
    value=JSON,
    ours=True,
    doc="destination that fails -> {failures, since, retry_at, reason}",
)
destination_transaction = Tree(
    "destination_transaction",
    key=one(TEXT),
    value=JSON,
    ours=True,
    doc="destination -> the transaction in flight, by what it consists of, and whom the destination takes for typing",
)
destination_behind = Tree(
    "destination_behind",
    key=one(TEXT),
    value=NUMBER,
    ours=True,
    doc="destination out of reach for long -> time in ms: it gets the newest event of each room in destination_room instead of its queue",
)
todevice_received = Tree(
    "todevice_received",
    key=row(TEXT, BYTES32),
    value=NUMBER,
    ours=True,
    doc="other server, SHA-256 of a message id of its to-device messages -> time of receipt in ms: each is delivered once",
)
todevice_waiting = Tree(
    "todevice_waiting",
    key=row(TEXT, TEXT),
    value=JSON,
    ours=True,
    doc="user, device -> {sender of this server, or owner of another: bytes of theirs that wait in todeviceid_events}",
)
push_queue = Tree(
    "push_queue",
    key=row(TEXT, U64),
    value=JSON,
    ours=True,
    doc="user, count -> event to push: {room, event, highlight, tweaks}",
)
appservice_directory = Tree(
    "appservice_directory",
    key=row(TEXT, TEXT, TEXT),
    value=EMPTY,
    ours=True,
    doc="application service, network, room in that network's published directory",
)
appservice_queue = Tree(
    "appservice_queue",
    key=row(TEXT, U64),
    value=JSON,
    ours=True,
    doc="application service, count -> event id or EDU to deliver",
)

TREES: tuple[Tree[Any, Any], ...] = tuple(value for value in list(globals().values()) if isinstance(value, Tree))
TREE_NAMES: tuple[str, ...] = tuple(tree.name for tree in TREES)
TOMBSTONES: tuple[str, ...] = (
    "mediaid_file",
    "stateid_shorteventid",
    "userdevicesessionid_uiaarequest",
    "notification",
)
"""Names that are not to be used again: they occur in Conduit's own migrations only, or were this server's once."""
