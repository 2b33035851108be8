"""The search index: which words occur in which messages.

A word is a lower-cased run of letters and digits of at most 50 bytes, as with Conduit. Indexed are the bodies of messages, an edit by its new body at its own
position, and the names and topics of rooms. Encrypted messages have no words that a server could see.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from itertools import islice
from typing import Any

from conduit.database import layouts, trees
from conduit.database.cache import CacheSource
from conduit.database.codec import U64
from conduit.database.database import Batch
from conduit.database.layouts import PduId
from conduit.protocol import relations as rules
from conduit.protocol.ids import RoomId
from conduit.protocol.pdu import Event
from conduit.service.rooms import short_ids

MAX_WORD_BYTES = 50
STEP = 100
"""How many places of a word are looked at between two chances for others to run."""
_WORD = re.compile(r"[^\W_]+")
_TEXT_KEYS = {"m.room.message": "body", "m.room.name": "name", "m.room.topic": "topic"}


def words(text: str) -> set[str]:
    """Return the words of a text as they are indexed and searched for."""
    found = set(_WORD.findall(text.lower()))
    if text.isascii():
        return {word for word in found if len(word) <= MAX_WORD_BYTES}
    return {word for word in found if len(word.encode()) <= MAX_WORD_BYTES}


def text_of(event: Event) -> str | None:
    """Return the text under which an event can be found, or `None`."""
    key = _TEXT_KEYS.get(event.type)
    if key is None:
        return None
    content: dict[str, Any] = event.content
    relation = rules.relation_of(content)
    if relation is not None and relation.rel_type == rules.REPLACE and isinstance(content.get("m.new_content"), dict):
        content = content["m.new_content"]
    text = content.get(key)
    if "m.topic" in content and event.type == "m.room.topic":
        return _topic(text, content["m.topic"])
    return text if isinstance(text, str) else None


def _topic(text: object, topic: object) -> str | None:
    """Return a topic with what its plain representation adds to it."""
    forms = topic.get("m.text") if isinstance(topic, dict) else None
    plain = [
        form.get("body")
        for form in (forms if isinstance(forms, list) else ())
        if isinstance(form, dict) and form.get("mimetype", "text/plain") == "text/plain"
    ]
    found = dict.fromkeys(one for one in (text, *plain) if isinstance(one, str))
    return "\n".join(found) if found else None


async def find(source: CacheSource, room_id: RoomId, text: str) -> AsyncGenerator[list[PduId], None]:
    """Yield the positions of a room's events that hold all words of `text`, newest first; none for a text without words.

    They come some at a time, with pauses between: common words are in very many. What is added meanwhile is not found.
    """
    room = short_ids.short_room(source, room_id)
    wanted = sorted(words(text), key=len, reverse=True)
    if room is None or not wanted:
        return
    rarest, *others = wanted
    last: bytes | None = None
    while True:
        # Each step scans anew from where the last one ended: a scan is not kept across a pause.
        rows = [raw for _, _, raw in islice(_rows(source, room, rarest, last), STEP)]
        places = [_place(room, raw) for raw in rows]
        yield [place for place in places if all(_holds(source, place, word) for word in others)]
        if rows:
            await asyncio.sleep(0)
        if len(rows) < STEP:
            return
        last = rows[-1]


def _rows(source: CacheSource, room: int, word: str, before: bytes | None) -> Iterator[tuple[int, str, bytes]]:
    return trees.tokenids.keys(source, (room, word), before=before, reverse=True)


def _holds(source: CacheSource, place: PduId, word: str) -> bool:
    raw = layouts.PDU_ID.encode(place)
    return trees.tokenids.has(source, (place.room, word, raw)) or _has_migrated(source, place.room, word, place)


def _place(room: int, raw: bytes) -> PduId:
    # Rows that Conduit itself migrated end in the bare count.
    return PduId(room, U64.decode(raw)) if len(raw) == 8 else layouts.PDU_ID.decode(raw)


def _has_migrated(source: CacheSource, room: int, word: str, place: PduId) -> bool:
    return not place.back and trees.tokenids.has(source, (room, word, U64.encode(place.live)))


# --- writing -------------------------------------------------------------------------------------------------------


def record(batch: Batch, event: Event, place: PduId) -> None:
    """Index an accepted event."""
    text = text_of(event)
    if text is not None:
        raw = layouts.PDU_ID.encode(place)
        trees.tokenids.put_all(batch, [(place.room, word, raw) for word in words(text)], True)


def remove(batch: Batch, event: Event, place: PduId) -> None:
    """Take an event out of the index: it is being redacted. `event` still has its content."""
    text = text_of(event)
    if text is not None:
        raw = layouts.PDU_ID.encode(place)
        for word in words(text):
            trees.tokenids.delete(batch, (place.room, word, raw))
            if not place.back:
                trees.tokenids.delete(batch, (place.room, word, U64.encode(place.live)))
