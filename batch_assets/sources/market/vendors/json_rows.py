"""Rows of a JSON document, `[[…],[…]]`, to columns of text without a Python object for each cell.

The plain form that vendors send is text with commas and quotes, which Arrow reads ten times as fast
as a JSON parser makes lists. Whatever is not surely of that form is left to the JSON parser in
replies.py: every byte has to be accounted for.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

PLACEHOLDER = "\x01rows"
"""Stands in the document where the rows were."""

# An escaped character, a line of its own or an object needs a JSON parser.
_NOT_PLAIN = (b"\\", b"\n", b"\r", b"{", b"\x00")
_OF_NUMBERS = b"0123456789+-.eE"
_NULL = "null"


@dataclass(frozen=True, slots=True)
class TextRows:
    """Rows taken out of a document.

    Attributes:
        columns: Text of the cells; null where the document has null. Columns are named by number.
        section: The rows as they were, without the outer brackets.
    """

    columns: "pa.Table"
    section: bytes

    def to_lists(self) -> list[Any]:
        """The rows as lists; numbers become the text they are."""
        rows: list[Any] = json.loads(
            b"[[" + self.section + b"]]", parse_float=str, parse_int=str, parse_constant=str
        )
        return rows


def take_rows(body: bytes, member: str) -> tuple[bytes, TextRows] | None:
    """Take the rows out of a document.

    Args:
        body: JSON, complete or not.
        member: Name of the array of arrays, wherever in the document it is.

    Returns:
        The document with PLACEHOLDER in place of the rows, and the rows. None where the rows are
        not plain; the rest of the document is not looked at, so that the caller has to parse it.
    """
    found = _opening(member).search(body)
    if found is None:
        return None
    # The last ones: brackets after the rows are found within them below.
    end = body.rfind(b"]]", found.end())
    if end < 0:
        return None
    section = body[found.end() : end]
    columns = _parse(section)
    if columns is None:
        return None
    rest = body[: found.start(1)] + json.dumps(PLACEHOLDER).encode() + body[end + 2 :]
    return rest, TextRows(columns, section)


@lru_cache(maxsize=16)
def _opening(member: str) -> re.Pattern[bytes]:
    # Only a name is followed by a colon: within a text the quotes would be escaped.
    return re.compile(rb'"' + re.escape(member.encode()) + rb'"\s*:\s*(\[)\[')


def _parse(section: bytes) -> "pa.Table | None":
    if not section or any(mark in section for mark in _NOT_PLAIN):
        return None
    is_spaced = b"], [" in section
    squeezed = section.translate(None, b" ") if is_spaced else section
    text = squeezed.replace(b"],[", b"\n")
    # A bracket that is left belongs to a list within a row, or to a text.
    if b"[" in text or b"]" in text:
        return None
    first, _, _ = text.partition(b"\n")
    cells = first.split(b",")
    row_count = (len(squeezed) - len(text)) // 2 + 1
    separators = row_count * len(cells) - 1
    blanks = len(section) - len(squeezed)
    if is_spaced and not blanks == separators == section.count(b", "):
        return None
    table = _read(text, len(cells))
    if table is None or table.num_rows != row_count:
        return None
    is_text = [cell.startswith(b'"') for cell in cells]
    is_whole = _accounts_for(len(text), table, is_text, may_hold_commas=not is_spaced)
    return table if is_whole else None


def _read(text: bytes, width: int) -> "pa.Table | None":
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    names = [str(number) for number in range(width)]
    try:
        return pa_csv.read_csv(
            pa.py_buffer(text),
            read_options=pa_csv.ReadOptions(
                use_threads=False, block_size=len(text) + 1, column_names=names
            ),
            parse_options=pa_csv.ParseOptions(
                double_quote=False, newlines_in_values=True, ignore_empty_lines=False
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[_NULL],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        ).combine_chunks()
    except pa.ArrowInvalid:  # rows of different length, or no UTF-8
        return None


def _accounts_for(
    text_bytes: int, table: "pa.Table", is_text: list[bool], *, may_hold_commas: bool
) -> bool:
    """Whether every byte is part of a cell, a quote around a text, a comma, a break or a null."""
    import pyarrow.compute as pc

    counted = table.num_rows * len(is_text) - 1
    for column, has_quotes in zip(table.columns, is_text, strict=True):
        cells = column.combine_chunks()
        content = content_of(cells)
        counted += len(content) + cells.null_count * len(_NULL)
        if has_quotes:
            counted += 2 * (len(cells) - cells.null_count)
            if b'"' in content or (b"," in content and not may_hold_commas):
                return False
        elif content.translate(None, _OF_NUMBERS) or pc.min(pc.binary_length(cells)).as_py() == 0:
            return False
    return bool(counted == text_bytes)


def content_of(texts: "pa.StringArray") -> bytes:
    """The bytes of all texts, one after the other; nulls have none."""
    if texts.null_count:
        texts = texts.drop_null()
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return b""
    places = memoryview(offsets).cast("i")
    first, last = places[texts.offset], places[texts.offset + len(texts)]
    return bytes(memoryview(data)[first:last])
