"""Deleting media by age, by disuse and by total size, as `[[global.media.retention]]` says.

Source: Conduit's configuration, `media.retention`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

from conduit.config.schema import Retention
from conduit.database import trees
from conduit.service.context import Context
from conduit.service.media import items, uploads

LOCAL, REMOTE, THUMBNAIL = "local", "remote", "thumbnail"
MIN_PERIOD_S = 60.0
MAX_PERIOD_S = 3600.0
_STEP = 200


class _File(NamedTuple):
    digest: bytes
    scope: str
    size: int
    created: int
    accessed: int


def period_s(rules: Iterable[Retention]) -> float:
    """Return how often to sweep: a tenth of the shortest time in the rules, within a minute and an hour."""
    times = [seconds for rule in rules for seconds in (rule.accessed, rule.created) if seconds is not None]
    return min(max(min(times, default=MAX_PERIOD_S) / 10, MIN_PERIOD_S), MAX_PERIOD_S)


def _scope(ctx: Context, digest: bytes) -> str:
    """Return whose file it is. A file that a local user uploaded too counts as local, so that a remote rule never takes it."""
    servers = {server for _, server, _ in trees.filehash_servername_mediaid.keys(ctx.db, (digest,))}
    if not servers:
        return THUMBNAIL
    return LOCAL if ctx.server_name in servers else REMOTE


def _expired(files: list[_File], rules: tuple[Retention, ...], now: int) -> list[bytes]:
    """Return what the rules no longer keep, in one pass over all files."""
    by_scope = {rule.scope: rule for rule in rules}
    fallback = by_scope.get(None)
    gone: dict[bytes, None] = {}
    for file in files:
        rule = by_scope.get(file.scope, fallback)
        if rule is None:
            continue
        too_old = rule.created is not None and now - file.created > rule.created
        unused = rule.accessed is not None and now - file.accessed > rule.accessed
        if too_old or unused:
            gone[file.digest] = None
    for scope, rule in by_scope.items():
        if rule.space is None:
            continue
        kept = [file for file in files if file.digest not in gone and scope in (None, file.scope)]
        used = sum(file.size for file in kept)
        for file in sorted(kept, key=lambda file: file.accessed):
            if used <= rule.space:
                break
            gone[file.digest] = None
            used -= file.size
    return list(gone)


async def sweep(ctx: Context) -> int:
    """Write the times of last access, then delete what the rules no longer keep; return how many files went."""
    accesses, ctx.media_files.accesses = ctx.media_files.accesses, {}
    with ctx.db.batch() as batch:
        items.touch(batch, accesses)
        uploads.sweep_pending(batch, ctx.clock.now_ms())
    rules = ctx.config.media.retention
    if not rules:
        return 0
    files: list[_File] = []
    rows = iter(list(trees.filehash_metadata.keys(ctx.db)))
    while some := list(islice(rows, _STEP)):
        for digest in some:
            known = items.file(ctx.db, digest)
            if known is not None:
                files.append(_File(digest, _scope(ctx, digest), *known))
        await asyncio.sleep(0)
    gone = _expired(files, rules, ctx.clock.now_ms() // items.SECOND_MS)
    for digest in gone:
        await delete_file(ctx, digest)
    return len(gone)


async def delete_file(ctx: Context, digest: bytes) -> None:
    """Delete a file with every item and thumbnail that it serves: rows first, the bytes once those are durably gone."""
    freed: list[bytes] = []
    with ctx.db.batch() as batch:
        for _, server, media_id in list(trees.filehash_servername_mediaid.keys(batch, (digest,))):
            freed += items.delete(batch, server, media_id)
        if items.delete_thumbnails_of_file(batch, digest):
            freed.append(digest)
    await ctx.db.durable()
    for free in dict.fromkeys(freed):
        await ctx.media_files.delete(free, _is_known(ctx))


def _is_known(ctx: Context) -> Callable[[bytes], bool]:
    return lambda digest: items.is_known_file(ctx.db, digest)


async def run(ctx: Context) -> None:
    """Sweep again and again, beginning with files that no row names. Runs until cancelled."""
    await ctx.media_files.sweep(_is_known(ctx))
    while True:
        await sweep(ctx)
        await ctx.clock.sleep(period_s(ctx.config.media.retention))
