"""Which media items there are: their names, types, owners and files.

Several items may share one file. Items are named (server, media id); thumbnails of them by width and height beside.

Source: client-server API, "Content repository".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.database.layouts import MediaMeta
from conduit.protocol.ids import ServerName, UserId, localpart_of

SECOND_MS = 1000


class File(NamedTuple):
    """What is known of a stored file; times in seconds since the epoch."""

    size: int
    created: int
    accessed: int


def get(source: CacheSource, server: str, media_id: str) -> MediaMeta | None:
    """Return the item, or `None`. A blocked item is still there: ask `is_blocked`."""
    return trees.servernamemediaid_metadata.get(source, (server, media_id))


def put(
    batch: Batch, server: ServerName, media_id: str, meta: MediaMeta, *, size: int, uploader: UserId | None, now_ms: int
) -> None:
    """Name an item whose file is on disk. `uploader` is the local user, `None` for another server's media."""
    trees.servernamemediaid_metadata.put(batch, (server, media_id), meta)
    trees.filehash_servername_mediaid.put(batch, (meta.sha256, server, media_id), True)
    _put_file(batch, meta.sha256, size, now_ms)
    trees.media_pending.delete(batch, (server, media_id))
    if uploader is not None:
        local = localpart_of(uploader)
        trees.servername_userlocalpart_mediaid.put(batch, (server, local, media_id), True)
        trees.servernamemediaid_userlocalpart.put(batch, (server, media_id), local)


def get_thumbnail(source: CacheSource, server: str, media_id: str, width: int, height: int) -> MediaMeta | None:
    """Return a thumbnail that was made before, or `None`."""
    return trees.thumbnailid_metadata.get(source, (server, media_id, width, height))


def put_thumbnail(
    batch: Batch, server: str, media_id: str, width: int, height: int, meta: MediaMeta, *, size: int, now_ms: int
) -> None:
    """Name a thumbnail whose file is on disk."""
    trees.thumbnailid_metadata.put(batch, (server, media_id, width, height), meta)
    trees.filehash_thumbnailid.put(batch, (meta.sha256, server, media_id, width, height), True)
    _put_file(batch, meta.sha256, size, now_ms)


def _put_file(batch: Batch, digest: bytes, size: int, now_ms: int) -> None:
    known = trees.filehash_metadata.get(batch, digest)
    now = now_ms // SECOND_MS
    trees.filehash_metadata.put(batch, digest, (size, now if known is None else known[1], now))


def file(source: CacheSource, digest: bytes) -> File | None:
    """Return what is known of a stored file, or `None`."""
    row = trees.filehash_metadata.get(source, digest)
    return None if row is None else File(*row)


def is_known_file(source: CacheSource, digest: bytes) -> bool:
    """Tell whether some row names the file."""
    return trees.filehash_metadata.has(source, digest)


def is_blocked(source: CacheSource, server: str, media_id: str) -> bool:
    """Tell whether the item, or another with the same bytes, has been blocked."""
    if trees.blocked_servername_mediaid.has(source, (server, media_id)):
        return True
    if next(trees.blocked_servername_mediaid.keys(source), None) is None:
        return False
    meta = get(source, server, media_id)
    return meta is not None and any(
        trees.blocked_servername_mediaid.has(source, (other_server, other_id))
        for _, other_server, other_id in trees.filehash_servername_mediaid.keys(source, (meta.sha256,))
    )


def uploader(source: CacheSource, server: str, media_id: str) -> str | None:
    """Return the localpart of the local user who uploaded the item, or `None`."""
    return trees.servernamemediaid_userlocalpart.get(source, (server, media_id))


def of_user(source: CacheSource, server: ServerName, user_id: UserId) -> Iterator[str]:
    """Return the media ids of a local user's uploads."""
    for _, _, media_id in trees.servername_userlocalpart_mediaid.keys(source, (server, localpart_of(user_id))):
        yield media_id


def delete(batch: Batch, server: str, media_id: str) -> list[bytes]:
    """Remove an item and its thumbnails; return the files which no row names any more, to be deleted once this is durable."""
    meta = get(batch, server, media_id)
    if meta is None:
        return []
    trees.servernamemediaid_metadata.delete(batch, (server, media_id))
    trees.filehash_servername_mediaid.delete(batch, (meta.sha256, server, media_id))
    local = uploader(batch, server, media_id)
    if local is not None:
        trees.servername_userlocalpart_mediaid.delete(batch, (server, local, media_id))
        trees.servernamemediaid_userlocalpart.delete(batch, (server, media_id))
    digests = {meta.sha256}
    for key, thumbnail in list(trees.thumbnailid_metadata.scan(batch, (server, media_id))):
        trees.thumbnailid_metadata.delete(batch, key)
        trees.filehash_thumbnailid.delete(batch, (thumbnail.sha256, *key))
        digests.add(thumbnail.sha256)
    return [digest for digest in digests if _drop_file(batch, digest)]


def delete_thumbnails_of_file(batch: Batch, digest: bytes) -> bool:
    """Remove the thumbnails that are this very file; tell whether the file is free to be deleted then."""
    for key in list(trees.filehash_thumbnailid.keys(batch, (digest,))):
        trees.filehash_thumbnailid.delete(batch, key)
        trees.thumbnailid_metadata.delete(batch, key[1:])
    return _drop_file(batch, digest)


def _drop_file(batch: Batch, digest: bytes) -> bool:
    for tree in (trees.filehash_servername_mediaid, trees.filehash_thumbnailid):
        if next(tree.keys(batch, (digest,)), None) is not None:
            return False
    trees.filehash_metadata.delete(batch, digest)
    return True


def touch(batch: Batch, accesses: dict[bytes, int]) -> None:
    """Write when files were last served: SHA-256 -> seconds since the epoch."""
    for digest, accessed in accesses.items():
        row = trees.filehash_metadata.get(batch, digest)
        if row is not None and accessed > row[2]:
            trees.filehash_metadata.put(batch, digest, (row[0], row[1], accessed))
