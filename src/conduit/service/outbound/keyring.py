"""Everybody's signing keys: who has validly signed what. Ours are here as well, to be published.

Keys come from memory, from the database, from their server and, if that cannot be asked, from notaries (`trusted_servers`). What is
asked for by several at once is fetched once, and a server that has just been asked in vain is left alone for a while.

Source: server-server API, "Retrieving server keys", "Validating hashes and signatures on received events"; the room versions on the
validity of keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import structlog
from nacl.bindings import crypto_sign_BYTES, crypto_sign_open
from nacl.exceptions import CryptoError

from conduit.database.database import Database
from conduit.protocol.canonical_json import dump
from conduit.protocol.errors import BadJson, LimitExceeded, MatrixError, Unauthorized
from conduit.protocol.event_auth import required_signers
from conduit.protocol.hashes import essential_bytes
from conduit.protocol.ids import ServerName
from conduit.protocol.room_versions import RoomVersion
from conduit.protocol.signing import ALGORITHM
from conduit.service.outbound import own_keys
from conduit.service.outbound.errors import RemoteError
from conduit.service.outbound.federation import FederationClient, path
from conduit.service.outbound.known_keys import KnownKeys
from conduit.service.outbound.pauses import Pauses
from conduit.service.outbound.server_keys import BadKeys, KnownKey, ServerKeys, read_document
from conduit.utils import base64
from conduit.utils.clock import Clock

log = structlog.get_logger(__name__)

Json = dict[str, Any]

FETCH_SECONDS = 20.0
MAX_DOCUMENT = 32 * 1024
MAX_BATCH_ANSWER = 8 * 1024 * 1024
SERVERS_A_QUERY = 100
"""How many servers a notary is asked about at a time."""
PREFETCH_SECONDS = 30.0
MAX_PREFETCHED = 5000
FETCHES = 64
"""Key objects fetched at a time."""
STRANGERS = 16
"""Fetches at a time on behalf of requests whose sender is not known yet."""
MAX_STRANGERS = 500
"""Such requests that may wait."""
_INLINE = 6
"""Signatures (60 µs each) that are checked at once; more go to a thread."""
_CHUNK = 128
_SLICE = 1024
_WINDOW = 1 << 20
_OVERLAP = 1024
_SIGNED = re.compile(
    rb'"signatures"\s*:\s*\{\s*"([0-9A-Za-z.:\[\]-]{1,255})"\s*:\s*\{\s*"(ed25519:[0-9A-Za-z_]{1,100})"'
)
_MANY = 8
"""From so many unknown servers on, notaries are asked first: one request in place of one to each."""

Wanted = Mapping[str, Mapping[str, int]]
"""By server and key id, when the key must be valid in ms; 0 if it does not matter."""


class NoKey(str):
    """Why a signature could not be checked: no key is known for it."""

    __slots__ = ()


_NOT_SIGNED = frozenset({"signatures", "unsigned"})
_PREFIX = ALGORITHM + ":"


@dataclass(slots=True)
class _Need:
    """One PDU that is being verified."""

    essence: bytes
    signatures: list[tuple[str, list[tuple[str, bytes]]]]
    """For each required server its signatures: key id and raw bytes."""
    valid_at: int | None
    checks: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    """For each required server the signatures that can be checked: raw signature, public key. All of them must hold."""


class Keyring:
    """The public keys of all servers. `close` it in the end."""

    def __init__(
        self,
        *,
        server_name: ServerName,
        db: Database,
        clock: Clock,
        federation: FederationClient,
        own: own_keys.OwnKeys,
        notaries: Sequence[str] = (),
        ignored: Iterable[str] = (),
    ) -> None:
        self._server_name = server_name
        self._clock = clock
        self._federation = federation
        self._own = own
        self._notaries = [name for name in notaries if name != server_name]
        self.known = KnownKeys(db, clock, ignored=_raw_keys(ignored))
        self._fetching: dict[str, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pauses = Pauses(clock)
        self._slots = asyncio.Semaphore(FETCHES)
        self._stranger_slots = asyncio.Semaphore(STRANGERS)
        self._strangers = 0
        self._threads: ThreadPoolExecutor | None = None
        self._workers = max(1, min(4, os.cpu_count() or 1))

    def close(self) -> None:
        """End the threads and the fetches under way."""
        for task in self._tasks:
            task.cancel()
        self.known.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    # --- our own keys ----------------------------------------------------------------------------------------------

    def published(self) -> Json:
        """Return this server's own key object, signed."""
        return self._own.published(self._clock.now_ms())

    # --- verifying -------------------------------------------------------------------------------------------------

    async def public_key(self, server: str, key_id: str, *, valid_at_ms: int | None) -> bytes | None:
        """Return a server's key, fetched if need be, or `None` if it has no such key that was valid at that time."""
        key = self._find(server, key_id, valid_at_ms)
        if key is None and server != self._server_name:
            await self._fetch({server: {key_id: valid_at_ms or 0}})
            key = self._find(server, key_id, valid_at_ms)
        return key

    async def verify_json(self, server: str, value: Json, *, valid_at_ms: int | None) -> None:
        """Return if the object is validly signed by the server; raises `Unauthorized` with the reason otherwise.

        `valid_at_ms` is when the key must have been valid; `None` means that it does not matter.
        """
        signatures = value.get("signatures")
        entry = signatures.get(server) if isinstance(signatures, dict) else None
        offered = _offered(entry)
        if not offered:
            raise Unauthorized(f"Not signed by {server}")
        message = dump({key: part for key, part in value.items() if key not in _NOT_SIGNED})
        await self.verify_message(server, message, offered, valid_at_ms=valid_at_ms)

    async def verify_message(
        self, server: str, message: bytes, signatures: Sequence[tuple[str, bytes]], *, valid_at_ms: int | None
    ) -> None:
        """Return if one of the signatures (key id and raw bytes) by the server holds over `message`; else raise `Unauthorized`."""
        known = False
        for fetched in (False, True):
            for key_id, signature in signatures:
                key = self._find(server, key_id, valid_at_ms)
                if key is not None:
                    known = True
                    if verify_signature(message, signature, key):
                        return
            if known or fetched or server == self._server_name:
                break
            await self._fetch({server: dict.fromkeys((key_id for key_id, _ in signatures), valid_at_ms or 0)})
        if known:
            raise Unauthorized(f"The signature of {server} is wrong")
        raise Unauthorized(f"No valid key of {server} is known under {', '.join(key_id for key_id, _ in signatures)}")

    async def may_sign(self, server: str, key_id: str) -> bool:
        """Tell whether the server has such a key with which it may sign requests now; it is fetched if need be."""
        now = self._clock.now_ms()
        if self._current(server, key_id, now) is None and key_id.startswith(_PREFIX):
            await self._fetch_for_strangers({server: {key_id: now}})
        return self._current(server, key_id, now) is not None

    def signed_request(self, server: str, key_id: str, signature: str, messages: Iterable[bytes]) -> bool:
        """Tell whether the signature over one of `messages` was made with a key of which `may_sign` is true."""
        key = self._current(server, key_id, self._clock.now_ms())
        offered = _offered({key_id: signature})
        if key is None or not offered:
            return False
        return any(verify_signature(message, offered[0][1], key) for message in messages)

    async def prefetch(self, raw: bytes, *, seconds: float = PREFETCH_SECONDS) -> None:
        """Fetch in one go the keys of all servers that have signed something in a large JSON text, at most for so long.

        Nothing is verified, and what cannot be fetched shows later: this only saves asking one after the other.
        """
        wanted: dict[str, dict[str, int]] = {}
        for at in range(0, len(raw), _WINDOW):
            for match in _SIGNED.finditer(raw, at, at + _WINDOW + _OVERLAP):
                server, key_id = match[1].decode(), match[2].decode()
                if self._find(server, key_id, None) is None and server != self._server_name:
                    wanted.setdefault(server, {})[key_id] = 0
            if len(wanted) > MAX_PREFETCHED:
                break
            await asyncio.sleep(0)
        if wanted:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._fetch(wanted)

    async def verify_pdus(
        self, pairs: Sequence[tuple[Json, RoomVersion]], essences: Sequence[bytes] | None = None, *, fetch: bool = True
    ) -> list[str | None]:
        """Return for each PDU `None` if all `required_signers` have validly signed it, else why not, in words.

        The PDUs have passed `event_format.check_format`. `essences` are their `hashes.essential_bytes`, if the caller has them already.
        Keys are fetched together, unless nobody is to be asked; many signatures are checked in threads.
        """
        needs: list[_Need | str] = []
        missing: dict[str, dict[str, int]] = {}
        for number, (pdu, version) in enumerate(pairs):
            need = _need(pdu, version, essences[number] if essences is not None else None)
            needs.append(need)
            if isinstance(need, _Need) and not self._assign(need):
                self._look_for_missing(need, missing)
            if number % _CHUNK == _CHUNK - 1:
                await asyncio.sleep(0)
        if missing and fetch:
            await self._fetch(missing)
        results: list[str | None] = []
        for at in range(0, len(needs), _SLICE):
            results += await self._check_all([self._assigned(need) for need in needs[at : at + _SLICE]])
        return results

    def _assigned(self, need: _Need | str) -> _Need | str:
        """Return the need with its keys, as they are known by now, or whose key is lacking."""
        if isinstance(need, str) or len(need.checks) == len(need.signatures) or self._assign(need):
            return need
        return NoKey(f"no valid key of {need.signatures[len(need.checks)][0]} is known for its signature")

    def _look_for_missing(self, need: _Need, missing: dict[str, dict[str, int]]) -> None:
        for server, signatures in need.signatures:
            if server == self._server_name:
                continue
            if any(self._find(server, key_id, need.valid_at) is not None for key_id, _ in signatures):
                continue
            keys = missing.setdefault(server, {})
            for key_id, _ in signatures:
                keys[key_id] = max(keys.get(key_id, 0), need.valid_at or 0)

    def _assign(self, need: _Need) -> bool:
        """Give the need the known keys of each of its servers; tell whether all of these have one. What is lacking is lacking from the first on."""
        need.checks.clear()
        for server, signatures in need.signatures:
            found = [
                (signature, key)
                for key_id, signature in signatures
                if (key := self._find(server, key_id, need.valid_at)) is not None
            ]
            if not found:
                return False
            need.checks.append(found)
        return True

    async def _check_all(self, needs: list[_Need | str]) -> list[str | None]:
        count = sum(len(need.checks) for need in needs if isinstance(need, _Need))
        if count <= _INLINE:
            return _check_chunk(needs)
        loop = asyncio.get_running_loop()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._workers, thread_name_prefix="signatures")
        size = min(_CHUNK, -(-len(needs) // self._workers))
        chunks = [needs[at : at + size] for at in range(0, len(needs), size)]
        results = await asyncio.gather(*(loop.run_in_executor(self._threads, _check_chunk, chunk) for chunk in chunks))
        return [result for chunk in results for result in chunk]

    # --- what is known ---------------------------------------------------------------------------------------------

    def _find(self, server: str, key_id: str, valid_at: int | None) -> bytes | None:
        if server == self._server_name:
            return self._own.find(key_id, valid_at)
        known = self.known.get(server)
        return None if known is None else known.find(key_id, valid_at)

    def _current(self, server: str, key_id: str, now: int) -> bytes | None:
        known = self.known.get(server)
        key: KnownKey | None = None if known is None else known.keys.get(key_id)
        return None if key is None or not key.current or key.valid_until < now else key.public_key

    def document(self, server: str) -> Json | None:
        """Return the newest key object known of a server as it signed it, or `None`."""
        known = self.known.get(server)
        return None if known is None else known.document

    async def vouch(self, wanted: Wanted) -> list[Json]:
        """Return the key objects of servers, signed by this one as their notary; servers of which nothing is known are left out.

        A key id of "" stands for whatever the server has. What is known but not valid for as long as wished is asked for anew, and given
        as it is if the server does not answer.
        """
        now = self._clock.now_ms()
        stale = {
            server: dict(keys)
            for server, keys in wanted.items()
            if server != self._server_name and not self._vouches(server, keys, now)
        }
        if stale:
            await self._fetch_for_strangers(stale, renew=True)
        documents: list[Json] = []
        for server in wanted:
            if server == self._server_name:
                documents.append(self.published())
                continue
            known = self.known.get(server)
            found = [] if known is None else known.documents(wanted[server])
            documents += [self._own.signing_key.sign_json(document, self._server_name) for document in found]
        return documents

    def _vouches(self, server: str, keys: Mapping[str, int], now: int) -> bool:
        known = self.known.get(server)
        if known is None:
            return False
        # An answer is used for half of its lifetime; longer for who asks what held at a time that is past.
        is_fresh = now - known.fetched_at <= (known.valid_until - known.fetched_at) / 2
        return all(
            (least <= known.valid_until and (not key_id or key_id in known.keys))
            if is_fresh
            else (least < now and known.find(key_id, least) is not None)
            for key_id, least in keys.items()
        )

    # --- fetching --------------------------------------------------------------------------------------------------

    async def _fetch_for_strangers(self, wanted: Wanted, *, renew: bool = False) -> None:
        """Fetch keys because somebody unknown says that they are needed; raises `LimitExceeded` if too many wait already.

        Such fetches have few places of their own, so that they cannot hold up those that this server itself needs.
        """
        if self._strangers >= MAX_STRANGERS:
            raise LimitExceeded("Too many servers ask at the moment", retry_after_ms=5000)
        self._strangers += 1
        try:
            async with self._stranger_slots:
                await self._fetch(wanted, renew=renew)
        finally:
            self._strangers -= 1

    async def _fetch(self, wanted: Wanted, *, renew: bool = False) -> None:
        """Fetch the keys of servers, each key such that it is valid at the given time. Failures are only logged."""
        waiting = [self._fetching[server] for server in wanted if server in self._fetching]
        asked = {
            server: keys
            for server, keys in wanted.items()
            if server not in self._fetching
            and (self._pauses.may_renew(server) if renew else self._pauses.may_ask(server))
        }
        if asked:
            loop = asyncio.get_running_loop()
            futures = {server: loop.create_future() for server in asked}
            self._fetching.update(futures)
            waiting += futures.values()
            task = loop.create_task(self._fetch_new(asked))
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._fetched(futures, done))
        for future in waiting:
            # Who gives up waiting does not end the fetch for others.
            await asyncio.wait((future,))

    def _fetched(self, futures: Mapping[str, asyncio.Future[None]], task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        for server, future in futures.items():
            # Those that were settled earlier may be asked for anew by now.
            if self._fetching.get(server) is future:
                self._settle(server)
        if not task.cancelled() and task.exception() is not None:
            log.error("keys_not_fetched", exc_info=task.exception())

    def _settle(self, server: str) -> None:
        """Let those go on who wait for the keys of a server: there is no more to come."""
        future = self._fetching.pop(server, None)
        if future is not None and not future.done():
            future.set_result(None)

    async def _fetch_new(self, wanted: Wanted) -> None:
        left = set(wanted)
        many = len(left) >= _MANY
        if many:
            await self._ask_notaries(wanted, left)
        await asyncio.gather(*(self._ask_directly(server, left, settles=many) for server in sorted(left)))
        if not many:
            await self._ask_notaries(wanted, left)
        for server in left:
            self._pauses.failed(server)

    def _answered(self, server: str) -> None:
        self._pauses.answered(server)
        self._settle(server)

    async def _ask_notaries(self, wanted: Wanted, left: set[str]) -> None:
        """Ask notaries about the servers that are `left`, and take those out of it of which they gave what is wanted.

        Nobody vouches for a notary: whom it is to be believed is found out from itself. (Else two could wait for each other.)
        """
        for notary in self._notaries:
            asked = {server: wanted[server] for server in left if server not in self._notaries}
            if not asked:
                return
            if not self._knows_current(notary) and self._pauses.may_ask(notary):
                await self._ask_directly(notary, set())
                self._pauses.failed(notary)
            if not self._knows_current(notary):
                continue
            for server in await self._ask_notary(notary, asked):
                left.discard(server)
                self._answered(server)

    def _knows_current(self, server: str) -> bool:
        known, now = self.known.get(server), self._clock.now_ms()
        return known is not None and any(key.current and key.valid_until >= now for key in known.keys.values())

    async def _ask_directly(self, server: str, left: set[str], *, settles: bool = True) -> None:
        async with self._slots:
            try:
                document = await self._federation.get(
                    server,
                    "/_matrix/key/v2/server",
                    seconds=FETCH_SECONDS,
                    max_bytes=MAX_DOCUMENT,
                    now=True,
                    signed=False,
                )
                keys = read_document(document, server, now_ms=self._clock.now_ms(), ignored=self.known.ignored)
            except (RemoteError, BadKeys) as error:
                log.info("keys_not_fetched", server=server, reason=str(error))
                if settles and server in left:
                    self._pauses.failed(server)
                    left.discard(server)
                    self._settle(server)
                return
        self.known.put([keys], direct=True)
        if server in left:
            left.discard(server)
            self._answered(server)

    async def _ask_notary(self, notary: str, wanted: Wanted) -> set[str]:
        """Ask a notary about servers; returns those of which it gave keys that are valid when they are wanted."""
        answered: set[str] = set()
        servers = sorted(wanted)
        for at in range(0, len(servers), SERVERS_A_QUERY):
            part = servers[at : at + SERVERS_A_QUERY]
            body = {
                "server_keys": {
                    server: {key: {"minimum_valid_until_ts": time} for key, time in wanted[server].items()}
                    for server in part
                }
            }
            try:
                answer = await self._federation.post(
                    notary, path("/_matrix/key/v2", "query"), body, seconds=FETCH_SECONDS, max_bytes=MAX_BATCH_ANSWER
                )
            except RemoteError as error:
                log.info("notary_failed", notary=notary, reason=error.reason)
                break
            answered |= self._take_from_notary(notary, answer, frozenset(part))
        return {server for server in answered if self._satisfied(server, wanted[server])}

    def _satisfied(self, server: str, keys: Mapping[str, int]) -> bool:
        return all(self._find(server, key_id, valid_at) is not None for key_id, valid_at in keys.items())

    def _take_from_notary(self, notary: str, answer: Json, asked: frozenset[str]) -> set[str]:
        documents = answer.get("server_keys")
        good: list[ServerKeys] = []
        now = self._clock.now_ms()
        for document in documents if isinstance(documents, list) else ():
            server = document.get("server_name") if isinstance(document, dict) else None
            if not isinstance(server, str) or server not in asked:
                continue
            try:
                self._check_vouched(notary, document, now)
                good.append(read_document(document, server, now_ms=now, ignored=self.known.ignored))
            except (BadKeys, BadJson) as error:
                log.info("keys_not_taken", server=server, notary=notary, reason=str(error))
        self.known.put(good, direct=False)
        return {keys.server for keys in good}

    def _check_vouched(self, notary: str, document: Json, now: int) -> None:
        signatures = document.get("signatures")
        entry = signatures.get(notary) if isinstance(signatures, dict) else None
        message = dump({key: part for key, part in document.items() if key not in _NOT_SIGNED})
        for key_id, signature in _offered(entry):
            key = self._current(notary, key_id, now)
            if key is not None and verify_signature(message, signature, key):
                return
        raise BadKeys("the notary has not signed it")


def _raw_keys(texts: Iterable[str]) -> Iterable[bytes]:
    for text in texts:
        try:
            yield base64.decode(text)
        except ValueError:
            log.warning("ignored_key_is_no_key", key=text)


def _offered(entry: Any) -> list[tuple[str, bytes]]:
    """Return the signatures of one server that could be checked."""
    offered = []
    for key_id, text in list(entry.items())[:10] if isinstance(entry, dict) else ():
        if isinstance(text, str) and key_id.startswith(_PREFIX):
            try:
                raw = base64.decode(text)
            except ValueError:
                continue
            if len(raw) == crypto_sign_BYTES:
                offered.append((key_id, raw))
    return offered


def _need(pdu: Json, version: RoomVersion, essence: bytes | None) -> _Need | str:
    try:
        signers = required_signers(pdu, version)
        signatures = pdu.get("signatures")
        by_server = signatures if isinstance(signatures, dict) else {}
        offered = [(server, _offered(by_server.get(server))) for server in sorted(signers)]
        for server, found in offered:
            if not found:
                return f"it is not signed by {server}"
        essence = essential_bytes(pdu, version) if essence is None else essence
    except (MatrixError, TypeError, KeyError) as error:
        return str(error)
    return _Need(
        essence, [(str(s), f) for s, f in offered], pdu["origin_server_ts"] if version.key_validity_enforced else None
    )


def _check_chunk(needs: Sequence[_Need | str]) -> list[str | None]:
    results: list[str | None] = []
    for need in needs:
        if isinstance(need, str):
            results.append(need)
            continue
        fault = None
        for (server, _), checks in zip(need.signatures, need.checks, strict=True):
            if not all(verify_signature(need.essence, signature, key) for signature, key in checks):
                fault = f"the signature of {server} is wrong"
                break
        results.append(fault)
    return results


def verify_signature(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Tell whether the raw signature over `message` was made with the private half of the raw key."""
    try:
        crypto_sign_open(signature + message, public_key)
    except (CryptoError, ValueError):
        return False
    return True
