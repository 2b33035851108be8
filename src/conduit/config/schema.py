"""Every setting: its name, type, default and what it does, in one sentence.

The names are Conduit's; what Conduit does not have says so. `load` reads a TOML file into these classes, `example` writes
`conduit.toml.example` and the table in `docs/configuration.md` from them, so a setting is added here and nowhere else. A `Config` is
frozen, and valid once it was loaded: nobody checks it again.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, replace
from pathlib import Path
from typing import Any

MB = 1_000_000
MIB = 1024 * 1024
HOUR = 3600
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of one setting besides its type and default; kept in the metadata of its field."""

    doc: str
    kind: str = ""
    """`bytes` also takes `10MB`, `seconds` also `30d`; `ip`, `ranges`, `server`, `url`, `proxy`, `user`, `mode` and `log` are checked as such; for a table `none` means that `"none"` may stand in its place."""
    choices: tuple[str, ...] = ()
    refused_choices: tuple[tuple[str, str], ...] = ()
    """Values that one may expect to work, each with the reason why it does not."""
    low: float = 0
    """The least number."""
    high: float = 2**53
    """The greatest number."""
    example: str = ""
    """A value in TOML for the example file, where the default is none or not what one wants."""
    inert: str = ""
    """Why the setting has no effect here; giving it (with another value than the default) warns."""
    refused: str = ""
    """Why the setting cannot be given yet; giving it is an error."""
    reload: bool = False
    """Whether SIGHUP takes a new value over without a restart."""


def _setting(doc: str, default: Any = MISSING, **more: Any) -> Any:
    metadata = {"setting": Setting(doc, **more)}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """`[global.tls]`: TLS on the listener; without it a reverse proxy is expected to do that."""

    certs: Path = _setting(
        "PEM file with the certificate and its chain.", example='"/etc/ssl/example.org/fullchain.pem"'
    )
    key: Path = _setting("PEM file with the private key.", example='"/etc/ssl/example.org/privkey.pem"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """`[[global.listeners]]` (not in Conduit): several addresses; given, they replace `address`, `port` and `[global.tls]`."""

    address: str = _setting("Address to listen on.", "127.0.0.1", kind="ip")
    port: int = _setting("Port to listen on; 0 lets the system choose.", 6167, high=65535)
    path: Path | None = _setting("Unix socket to listen on, in place of address and port.", None)
    mode: str = _setting(
        "Who may connect to the Unix socket, as the file's mode in octal; the proxy needs to be able to write.",
        "660",
        kind="mode",
    )
    certs: Path | None = _setting("PEM file with the certificate and its chain; with `key` it turns TLS on.", None)
    key: Path | None = _setting("PEM file with the private key.", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WellKnown:
    """`[global.well_known]`: what /.well-known/matrix/ tells clients and other servers."""

    client: str | None = _setting(
        "URL of the client-server API; `https://` and the server name by default.",
        None,
        kind="url",
        example='"https://matrix.example.org"',
    )
    server: str | None = _setting(
        "Name and port where other servers reach this one; the server name, port 443 if it names none, by default.",
        None,
        kind="server",
        example='"matrix.example.org:443"',
    )
    support_page: str | None = _setting("Page with help for users (not in Conduit).", None, kind="url")
    support_role: str = _setting(
        "What the contact is for (not in Conduit).", "m.role.admin", choices=("m.role.admin", "m.role.security")
    )
    support_email: str | None = _setting("Mail address of the contact (not in Conduit).", None)
    support_mxid: str | None = _setting("Matrix user id of the contact (not in Conduit).", None, kind="user")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """`[global.turn]`: the TURN server that clients are told for calls."""

    uris: tuple[str, ...] = _setting("URIs of the TURN server.", (), example='["turn:turn.example.org?transport=udp"]')
    ttl: int = _setting("How long the credentials given to a client hold.", DAY, kind="seconds", low=1)
    secret: str | None = _setting("Secret shared with the TURN server, from which credentials are made.", None)
    username: str | None = _setting("Fixed user name, if there is no secret.", None)
    password: str | None = _setting("Fixed password, if there is no secret.", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalProxy:
    """`[global.proxy.global]`: one proxy for everything."""

    url: str = _setting("URL of the proxy.", kind="proxy", example='"socks5h://localhost:9050"')


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainProxy:
    """`[[global.proxy.by_domain]]`: a proxy for some hosts; an entry is a name, `*.suffix` or `*`, and the more specific one decides."""

    url: str = _setting("URL of the proxy.", kind="proxy", example='"socks5h://localhost:9050"')
    include: tuple[str, ...] = _setting("Hosts that it is for; all if there are none.", (), example='["*.onion"]')
    exclude: tuple[str, ...] = _setting("Hosts that it is not for.", (), example='["*.clearnet.onion"]')


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """`[global.proxy]`: what outgoing requests go through."""

    global_: GlobalProxy | None = _setting("A proxy for everything.", None)
    by_domain: tuple[DomainProxy, ...] = _setting("Proxies for some hosts; the first whose lists fit is used.", ())


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryStructure:
    """`[global.media.directory_structure]`: how media files spread over folders; an empty table means one flat folder."""

    length: int = _setting("Hex digits in the name of a folder.", 2, low=1, high=63)
    depth: int = _setting("Levels of folders; 0 keeps all files in one.", 2, high=63)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """`[[global.media.retention]]`: when media is deleted by itself."""

    scope: str | None = _setting(
        "Which media: without it the rule for scopes that have none of their own, and `space` is the total.",
        None,
        choices=("local", "remote", "thumbnail"),
    )
    accessed: int | None = _setting(
        "Delete what nobody has fetched for so long.", None, kind="seconds", example='"30d"'
    )
    created: int | None = _setting("Delete what is older than this.", None, kind="seconds")
    space: int | None = _setting(
        "Delete what was not fetched for longest, until no more than this is used.", None, kind="bytes"
    )


DEFAULT_RETENTION = (
    Retention(scope="remote", accessed=30 * DAY),
    Retention(scope="thumbnail", accessed=30 * DAY),
)

_NO_S3 = "media in S3 is not built yet: use the filesystem backend"


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """`[global.media]`: where uploaded files and thumbnails are kept."""

    backend: str = _setting(
        "Where media is kept.", "filesystem", choices=("filesystem",), refused_choices=(("s3", _NO_S3),)
    )
    path: Path | None = _setting("Directory of the media; `media` in the database directory by default.", None)
    directory_structure: DirectoryStructure = _setting("How files spread over folders.", DirectoryStructure())
    retention: tuple[Retention, ...] = _setting(
        "When media is deleted by itself; by default thumbnails and other servers' media that nobody has fetched for 30 days.",
        DEFAULT_RETENTION,
    )
    endpoint: str | None = _setting("S3: URL of the service.", None, refused=_NO_S3)
    bucket: str | None = _setting("S3: name of the bucket.", None, refused=_NO_S3)
    region: str | None = _setting("S3: region.", None, refused=_NO_S3)
    key: str | None = _setting("S3: access key.", None, refused=_NO_S3)
    secret: str | None = _setting("S3: secret key.", None, refused=_NO_S3)
    duration: int | None = _setting("S3: how long signed URLs hold.", None, kind="seconds", refused=_NO_S3)
    bucket_use_path: bool | None = _setting("S3: bucket in the path, not in the host name.", None, refused=_NO_S3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often something may be done: `burst` times at once, then `per_second` on average."""

    per_second: float = _setting("How often on average.", 1.0, low=0.0001)
    burst: int = _setting("How often at once.", 10, low=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """`[global.rate_limits]` (not in Conduit): how much one user, or one address without a user, may ask for.

    Each class is a table of its own, as `[global.rate_limits.message]`.
    """

    enabled: bool = _setting("Whether requests are limited at all.", True)
    message: Rate = _setting("Sending messages and state, redacting.", Rate(per_second=10, burst=50))
    chatty: Rate = _setting(
        "Typing notices, receipts, presence, account data, to-device messages, keys.", Rate(per_second=25, burst=150)
    )
    read: Rate = _setting("Reading history, members, state and profiles.", Rate(per_second=50, burst=300))
    search: Rate = _setting("Searching messages, users and the room directory.", Rate(per_second=2, burst=20))
    join: Rate = _setting("Joining and knocking.", Rate(per_second=0.5, burst=20))
    invite: Rate = _setting("Inviting.", Rate(per_second=0.5, burst=30))
    create_room: Rate = _setting("Creating and upgrading rooms, making aliases.", Rate(per_second=0.2, burst=15))
    upload: Rate = _setting("Uploading media.", Rate(per_second=2, burst=30))
    login: Rate = _setting(
        "Logging in, and every other check of a password; counted by address and by account.",
        Rate(per_second=0.2, burst=15),
    )
    registration: Rate = _setting("Registering, counted by address.", Rate(per_second=0.1, burst=10))
    federation: Rate = _setting(
        "Requests of one other server; large ones count as several.", Rate(per_second=200, burst=2000)
    )


LEAKED_KEY = "l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og="
"""A signing key that was published with the Element Server Suite's first images; anybody can sign with it."""

PRIVATE_RANGES = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "64:ff9b::/96",
    "100::/64",
    "2001:db8::/32",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
)

ROOM_VERSIONS = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12")

_ONE_BUDGET = "caches are limited by bytes, not entries: use db_cache_capacity_mb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """`[global]`: the whole configuration of a homeserver."""

    # --- identity and storage
    server_name: str = _setting(
        "The name in every id of this server (`@user:server_name`). It cannot be changed later.",
        kind="server",
        example='"example.org"',
    )
    database_path: Path = _setting("Directory of the database and the media.", example='"/var/lib/matrix-conduit/"')
    database_backend: str = _setting(
        "How data is stored.",
        "rocksdb",
        choices=("rocksdb", "lmdb"),
        refused_choices=(
            (
                "sqlite",
                "SQLite is not supported: convert the database to RocksDB with Conduit's own conduit_toolbox first",
            ),
            ("persy", "Persy is not supported"),
            ("heed", "Conduit's LMDB files (heed) are laid out differently: use lmdb with a new directory"),
        ),
    )
    durability: str = _setting(
        "When a request is answered (not in Conduit): `fsync` after its data is on disk, `os` once the kernel has it, "
        "so that a power failure can lose the last seconds.",
        "fsync",
        choices=("fsync", "os"),
    )
    db_cache_capacity_mb: float = _setting(
        "Memory for all caches together, the database's own included, in MB; never more than an eighth of the machine's.",
        300.0,
        low=1,
    )
    conduit_cache_capacity_modifier: float = _setting("Factor on the server's own part of that memory.", 1.0, low=0.01)
    pdu_cache_capacity: int = _setting("Events in memory.", 150_000, inert=_ONE_BUDGET)
    rocksdb_max_open_files: int = _setting("Files that RocksDB keeps open.", 1000, low=16)
    cleanup_second_interval: int = _setting(
        "Period of SQLite's clean-up.", 60, kind="seconds", inert="there is no SQLite here, and nothing to clean up"
    )

    # --- network
    address: str = _setting("Address to listen on.", "127.0.0.1", kind="ip")
    port: int = _setting("Port to listen on.", 6167, high=65535)
    tls: Tls | None = _setting("TLS on that port.", None)
    listeners: tuple[Listener, ...] = _setting(
        "Several addresses to listen on, in place of the above (not in Conduit).", ()
    )
    trusted_proxies: tuple[str, ...] = _setting(
        "Addresses and ranges of reverse proxies whose `X-Forwarded-For` is believed (not in Conduit).",
        ("127.0.0.0/8", "::1/128"),
        kind="ranges",
    )
    max_request_size: int = _setting("Largest upload.", 20 * MIB, kind="bytes", low=1024, example='"20MB"')
    well_known: WellKnown = _setting("What /.well-known/matrix/ tells.", WellKnown())
    rate_limits: RateLimits = _setting("How much one user or address may ask for.", RateLimits(), reload=True)

    # --- accounts
    allow_registration: bool = _setting("Whether people can make accounts themselves.", False, reload=True)
    registration_token: str | None = _setting("Token that one must know to make an account.", None, reload=True)
    allow_guest_registration: bool = _setting("Whether guests get accounts (not in Conduit).", False, reload=True)
    enable_lightning_bolt: bool = _setting("Whether new display names get a bolt appended.", True, reload=True)
    openid_token_ttl: int = _setting("How long an OpenID token holds.", HOUR, kind="seconds", low=1)
    access_token_ttl: int = _setting(
        "How long the access tokens of clients hold that can refresh them (not in Conduit).",
        7 * DAY,
        kind="seconds",
        low=60,
    )
    jwt_secret: str | None = _setting("Secret (HS256) of JSON Web Tokens that log in through m.login.token.", None)
    emergency_password: str | None = _setting("Password with which an operator can log in as @conduit.", None)

    # --- rooms
    allow_room_creation: bool = _setting(
        "Whether users who are not administrators can create rooms.", True, reload=True
    )
    allow_encryption: bool = _setting("Whether encrypted events may be sent.", True, reload=True)
    allow_unstable_room_versions: bool = _setting("Whether room versions 3 to 5 may be used for new rooms.", True)
    default_room_version: str = _setting("Version of new rooms.", "12", choices=ROOM_VERSIONS)

    # --- federation
    # What goes between servers is started with the server or not at all, so a change waits for a restart.
    allow_federation: bool = _setting("Whether to talk with other servers.", False)
    federation_allowed_servers: tuple[str, ...] = _setting(
        "The only servers to talk with, as globs like `*.example.org`; all if there are none (not in Conduit).",
        (),
        reload=True,
    )
    federation_denied_servers: tuple[str, ...] = _setting(
        "Servers not to talk with, as globs; this goes before the servers allowed (not in Conduit).", (), reload=True
    )
    trusted_servers: tuple[str, ...] = _setting(
        "Servers that are asked for the keys of other servers which do not answer, or which are many.",
        ("matrix.org",),
        kind="server",
    )
    ignored_keys: tuple[str, ...] = _setting("Signing keys of servers that are never accepted.", (LEAKED_KEY,))
    max_concurrent_requests: int = _setting("Requests to other servers at a time.", 100, low=1)
    max_fetch_prev_events: int = _setting("Missing events fetched before one that names them.", 100, low=1)
    federation_ca_file: Path | None = _setting(
        "PEM bundle of authorities trusted besides the system's for outgoing TLS (not in Conduit).", None
    )
    ip_range_denylist: tuple[str, ...] = _setting(
        "Address ranges that the server never calls (not in Conduit).", PRIVATE_RANGES, kind="ranges"
    )
    proxy: Proxy = _setting(
        'What outgoing requests go through; `proxy = "none"` is nothing. Behind a proxy it is the proxy that resolves names, so it must '
        "keep requests out of private networks itself.",
        Proxy(),
        kind="none",
    )

    # --- media, calls, bridges
    media: Media = _setting("Where media is kept.", Media())
    turn: Turn = _setting("The TURN server for calls.", Turn())
    appservice_registration_files: tuple[Path, ...] = _setting(
        "Registration files (YAML) of application services (not in Conduit).",
        (),
        inert="application services are not built yet",
    )

    # --- logs
    log: str = _setting(
        "What is logged: a level, and levels of parts as `part=level`.",
        "warn,state_res=warn,_=off",
        kind="log",
        reload=True,
    )
    log_format: str = _setting(
        "How it is logged (not in Conduit): `auto` is `text` on a terminal and `json` elsewhere.",
        "auto",
        choices=("auto", "text", "json"),
    )
    allow_check_for_updates: bool = _setting(
        "Whether to ask for news about new versions.", False, inert="this server never asks for updates"
    )
    allow_jaeger: bool = _setting("Export of traces.", False, inert="traces are not exported")
    tracing_flame: bool = _setting("Writing a flame graph.", False, inert="no flame graph is written")

    @property
    def media_path(self) -> Path:
        """The directory of the media."""
        return self.media.path or self.database_path / "media"

    @property
    def well_known_client(self) -> str:
        """The URL of the client-server API, without a slash at its end."""
        return (self.well_known.client or f"https://{self.server_name}").rstrip("/")

    @property
    def well_known_server(self) -> str:
        """The name and port where other servers reach this one."""
        if self.well_known.server:
            return self.well_known.server
        name = self.server_name
        has_port = name.rpartition(":")[2].isdigit() and not name.endswith("]") and ":" in name
        return name if has_port else f"{name}:443"

    @property
    def effective_listeners(self) -> tuple[Listener, ...]:
        """Where to listen: `listeners`, or the one that `address`, `port` and `tls` describe."""
        if self.listeners:
            return self.listeners
        tls = self.tls
        return (
            Listener(
                address=self.address,
                port=self.port,
                certs=tls.certs if tls else None,
                key=tls.key if tls else None,
            ),
        )

    @classmethod
    def for_tests(cls, **changes: Any) -> Config:
        """Return a valid configuration of `localhost` on the memory engine, open to everybody and without rate limits."""
        base = cls(
            server_name="localhost",
            database_path=Path("no-such-directory"),
            database_backend="memory",
            allow_registration=True,
            enable_lightning_bolt=False,
            rate_limits=RateLimits(enabled=False),
        )
        return replace(base, **changes)
