"""Shared strings of an xlsx file (ECMA-376 part 1, 18.4): whole blocks at a time, or one by one.

The usual programs write `<si><t>text</t></si>` and nothing else, which is cut out with numpy. From
anything else on, rich text above all, the part is read by an XML parser.
"""

import zipfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa

from batch_assets.sources.spreadsheets.xlsx_text import decode_all, unescape

_STRINGS_BATCH = 50_000
_BLOCK_BYTES = 2 * 1024 * 1024
_ITEM_END = b"</si>"
_END = b"</sst>"
# In front of the first item: a declaration of UTF-8 or of nothing, and the root.
_USUAL_HEADS = (b'encoding="utf-8"', b"encoding='utf-8'")
# Comments, sections and line ends that XML changes; characters by number.
_UNUSUAL = (b"<!", b"<?", b"\r", b"&#")
# Tags of one item, in order, with the bytes that follow their `<`.
_ITEM = (b"si>", b"t", b"/t>", b"/si>")


def read_shared_strings(archive: zipfile.ZipFile, part: str | None) -> pa.Array:
    """All shared strings in order; phonetic readings are left out."""
    if part is None or part not in archive.NameToInfo:
        return pa.array([], pa.string())
    with archive.open(part) as stream:
        batches = _scan(stream)
    if batches is None:
        with archive.open(part) as stream:
            batches = list(_parse(stream))
    return decode_all(pa.concat_arrays([pa.array([], pa.string()), *batches]))


def _scan(stream: IO[bytes]) -> list[pa.Array] | None:
    """Strings of a regular part; None where it is not regular."""
    held = stream.read(_BLOCK_BYTES)
    first = held.find(b"<si>")
    if first < 0 or not _is_usual_head(held[:first]):
        return None
    held = held[first:]
    batches = []
    while True:
        end = held.rfind(_ITEM_END) + len(_ITEM_END)
        if end >= len(_ITEM_END):
            found = scan_strings(held[:end])
            if found is None:
                return None
            batches.append(found)
            held = held[end:]
        chunk = stream.read(_BLOCK_BYTES)
        if not chunk:
            return batches if held.strip() == _END else None
        held += chunk


def _is_usual_head(head: bytes) -> bool:
    lowered = head.lower()
    is_utf8 = b"encoding" not in lowered or any(usual in lowered for usual in _USUAL_HEADS)
    # The root and nothing besides: an item that closes itself would be passed over.
    return is_utf8 and b"<sst" in head and head.count(b"<") - head.count(b"<?xml") == 1


def scan_strings(data: bytes) -> pa.Array | None:
    """Texts of whole items; None where one is not of the regular form."""
    if any(mark in data for mark in _UNUSUAL):
        return None
    data = data.replace(b"<t/>", b"<t></t>")
    buffer = np.frombuffer(data, np.uint8)
    opening, closing = np.flatnonzero(buffer == ord("<")), np.flatnonzero(buffer == ord(">"))
    if len(opening) != len(closing) or len(opening) % len(_ITEM):
        return None
    for place, name in enumerate(_ITEM):
        starts = opening[place :: len(_ITEM)]
        for offset, character in enumerate(name, 1):
            if not (buffer[starts + offset] == character).all():
                return None
    starts, ends = closing[1::4] + 1, opening[2::4]
    # `<t` ends its name there, or has an attribute, of which there is only xml:space.
    if not np.isin(buffer[opening[1::4] + 2], (ord(">"), ord(" "))).all() or (starts > ends).any():
        return None
    return _cut(data, starts, ends)


def _cut(data: bytes, starts: np.ndarray, ends: np.ndarray) -> pa.Array | None:
    offsets = np.empty(2 * len(starts) + 1, np.int32)
    offsets[0:-1:2], offsets[1::2], offsets[-1] = starts, ends, ends[-1]
    both = pa.Array.from_buffers(
        pa.string(), 2 * len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )
    texts = both.take(pa.array(np.arange(0, 2 * len(starts), 2)))
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return None  # Not UTF-8: the parser says where.
    return unescape(texts) if b"&" in data else texts


def _parse(stream: IO[bytes]) -> Iterator[pa.Array]:
    held: list[str] = []
    for text in read_strings(stream):
        held.append(text)
        if len(held) == _STRINGS_BATCH:
            yield pa.array(held, pa.string())
            held = []
    yield pa.array(held, pa.string())


def read_strings(stream: IO[bytes]) -> Iterator[str]:
    """Shared strings in order, one by one; phonetic readings are left out."""
    from lxml import etree

    events = etree.iterparse(
        stream, events=("end",), tag="{*}si", resolve_entities=False, no_network=True
    )
    for _, element in events:
        yield text_of(element)
        element.clear()
        while element.getprevious() is not None:
            del element.getparent()[0]


def text_of(element: Any) -> str:
    """The text of a string item or an inline string, with the runs of rich text joined."""
    pieces = []
    for child in element:
        name = child.tag.rpartition("}")[2] if isinstance(child.tag, str) else ""
        if name == "t":
            pieces.append(child.text or "")
        elif name == "r":
            pieces.extend(part.text or "" for part in child if str(part.tag).endswith("}t"))
    return "".join(pieces)
