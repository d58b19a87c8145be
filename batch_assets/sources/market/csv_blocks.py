"""Delimited text to raw tables: whole records in blocks of bounded size, typed where possible."""

import codecs
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from batch_assets.contracts.batch import Original
from batch_assets.errors import UnreadableSource
from batch_assets.sources.market.columns import locate
from batch_assets.sources.market.feed import FileFeed
from batch_assets.sources.market.first_bytes import refuse_page
from batch_assets.sources.market.numbers import NumberColumn
from batch_assets.sources.market.raw_table import Malformed, RawTable, layout_of
from batch_assets.sources.market.records import (
    Records,
    fields_of,
    iter_fields,
    split_records,
    whole_records_end,
)

# Large enough that a day file is one block, small enough that a dump never fills memory: a block
# costs about six times its size while it is parsed.
BLOCK_BYTES = 4 * 1024 * 1024
_MAX_RECORD_BYTES = 1024 * 1024
# The last that fits counts: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
)
# What tells whether rows end with a delimiter that the header does not have.
_FIRST_ROWS = 3
_TEXT = pa.string()
_CODED = pa.dictionary(pa.int32(), pa.string())


@dataclass(slots=True)
class CsvLayout:
    """What the first lines of a file say.

    Attributes:
        names: Header, or `column 1`, `column 2`, … where there is none.
        places: Index of each value found.
        is_typed: Whether numbers are still parsed by the reader; off after the first cell it
            cannot take, for the rest of the file.
    """

    names: list[str]
    places: Mapping[str, int]
    is_typed: bool = True
    numbers: dict[str, NumberColumn] = field(default_factory=dict)


def read_csv_tables(
    chunks: Iterator[bytes], feed: FileFeed, numbers: dict[str, NumberColumn], file: str
) -> Iterator[RawTable]:
    """Read delimited text.

    Args:
        chunks: The file's bytes, decompressed, in pieces of any size.
        feed: Encoding, delimiter, header and mapping.
        numbers: Target types and units of the number columns.
        file: Name shown in positions and messages.

    Yields:
        One table a block, also for a block without a good row; nothing for a file without rows.

    Raises:
        UnreadableSource: Bytes cannot be decoded, or a mapped column is not there.
    """
    layout: CsvLayout | None = None
    first_line = 1
    done = b""
    for block in _whole_blocks(_as_utf8(chunks, feed, file)):
        first_line += done.count(b"\n")
        data = done = block
        if layout is None:
            layout, data, first_line = _read_head(block, feed, numbers, file)
            done = data
            if layout is None:
                continue
        records = split_records(data)
        if len(records):
            yield _parse_block(records, layout, feed, file, first_line)


def _as_utf8(chunks: Iterator[bytes], feed: FileFeed, file: str) -> Iterator[bytes]:
    head = next(chunks, b"")
    encoding, said_by = feed.encoding, f"correct `encoding` of feed {feed.name}, or"
    # A byte order mark is in no other encoding's text: it knows better than a configuration.
    for mark, marked in _MARKS:
        if head.startswith(mark):
            encoding, said_by = marked, "its first bytes say so;"
    if encoding in ("utf-8", "utf-8-sig", "ascii"):
        yield head.removeprefix(codecs.BOM_UTF8)
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(encoding)(errors="strict")
    offset = 0
    try:
        for chunk in itertools.chain((head,), chunks):
            yield decoder.decode(chunk).encode("utf-8")
            offset += len(chunk)
        yield decoder.decode(b"", final=True).encode("utf-8")
    except UnicodeError as error:
        place = offset + getattr(error, "start", 0)
        raise UnreadableSource(
            f"{file}: bytes near offset {place} are not {encoding} ({error}); "
            f"{said_by} repair the file"
        ) from error


def _whole_blocks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    held = b""
    for chunk in chunks:
        held = held + chunk if held else chunk
        if len(held) < BLOCK_BYTES:
            continue
        end = whole_records_end(held)
        if end:
            yield held[:end]
            held = held[end:]
        elif len(held) > BLOCK_BYTES + _MAX_RECORD_BYTES:
            held = _unix_lines(held)
    if held:
        yield _unix_lines(held)


def _unix_lines(data: bytes) -> bytes:
    # Line ends of old Macs; \r\n is left to the parser.
    return data.replace(b"\r", b"\n") if b"\n" not in data else data


def _read_head(
    block: bytes, feed: FileFeed, numbers: dict[str, NumberColumn], file: str
) -> tuple[CsvLayout | None, bytes, int]:
    """Take skipped lines and header off the first block; also tells the next line's number."""
    line = 1
    for _ in range(feed.skip_lines):
        _, _, block = block.partition(b"\n")
        line += 1
    if not block.strip():
        return None, b"", line
    refuse_page(block, file)
    records = split_records(_first_record(block))
    head = _decode_head(records, feed, file)
    names = fields_of(head, feed.delimiter)
    if feed.header:
        line += int(block.count(b"\n", 0, int(records.ends[0]) + 1))
        block = block[int(records.ends[0]) + 1 :]
        names = _fit_trailing_delimiter(names, block, feed)
    else:
        names = [f"column {index}" for index in range(1, len(names) + 1)]
    places, missing = locate(feed.columns, tuple(names))
    check_places(feed, missing, names, file)
    return CsvLayout(names=names, places=places, numbers=numbers), block, line


def _fit_trailing_delimiter(names: list[str], rows: bytes, feed: FileFeed) -> list[str]:
    """The header's names for rows that end with one delimiter more, or less, than the header.

    The first rows have to agree: a single one is a broken record.
    """
    records = split_records(rows[: _end_of_lines(rows, _FIRST_ROWS)])
    rows_fields = [fields_of(records.text(index), feed.delimiter) for index in range(len(records))]
    counts = {len(fields) for fields in rows_fields}
    if counts == {len(names) + 1} and not any(fields[-1].strip() for fields in rows_fields):
        return [*names, ""]
    if counts == {len(names) - 1} and not names[-1].strip():
        return names[:-1]
    return names


def _end_of_lines(block: bytes, count: int) -> int:
    end = 0
    for _ in range(count):
        end = block.find(b"\n", end) + 1
        if not end:
            return len(block)
    return end


def _first_record(block: bytes) -> bytes:
    """A piece of the block that surely holds the first record that is not blank."""
    start = len(block) - len(block.lstrip(b"\r\n"))
    end = block.find(b"\n", start) + 1 or len(block)
    # A quoted name may hold line breaks; 64 KiB are more than any header.
    return block[: end + 65_536] if b'"' in block[start:end] else block[:end]


def _decode_head(records: Records, feed: FileFeed, file: str) -> str:
    piece = records.data[records.starts[0] : records.ends[0]]
    try:
        return piece.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UnreadableSource(
            f"{file}: the first line is not {feed.encoding}: {piece[:40]!r}; set `encoding` of "
            f"feed {feed.name} (gb18030 and big5 are common for Chinese files)"
        ) from error


def check_places(feed: FileFeed, absent: Mapping[str, str], names: list[str], file: str) -> None:
    """Refuse a file that lacks a column.

    Args:
        feed: Says what comes from the file's name instead.
        absent: What `locate` did not find.
        names: The columns the file has.
        file: Name shown.

    Raises:
        UnreadableSource: Something needed is not there.
    """
    missing = dict(absent)
    if feed.symbol.from_file(file) is not None:
        missing.pop("symbol", None)
    if "{date" in feed.files:
        missing.pop("date", None)
    if missing:
        wanted = "; ".join(f"{target}: {looked_for}" for target, looked_for in missing.items())
        seen = ", ".join(names)[:300]
        raise UnreadableSource(
            f"{file}: columns not found: {wanted}. The file has: {seen}. "
            f'Name them under `columns` of feed {feed.name}, or write "" for a value it lacks'
        )


def _parse_block(
    records: Records, layout: CsvLayout, feed: FileFeed, file: str, first_line: int
) -> RawTable:
    parsed = _parse_fast(records, layout, feed, file)
    if parsed is None:
        parsed = _parse_slow(records, layout, feed)
    columns, good, malformed = parsed
    lines = records.lines if good is None else records.lines[good]

    def originals(indices: Sequence[int]) -> list[Original]:
        return [
            _original(records.text(int(i if good is None else good[i])), layout.names, feed)
            for i in indices
        ]

    return RawTable(
        file=file,
        columns=columns,
        rows=lines + first_line,
        read_rows=len(records),
        column_count=len(layout.names),
        originals=originals,
        malformed=tuple(
            Malformed(int(records.lines[index]) + first_line, records.text(index), count)
            for index, count in malformed
        ),
        layout=layout_of(layout.names, layout.places),
        decimal_comma=feed.decimal == ",",
    )


_Parsed = tuple[dict[str, pa.Array], np.ndarray | None, list[tuple[int, int]]]


def _parse_fast(records: Records, layout: CsvLayout, feed: FileFeed, file: str) -> _Parsed | None:
    """Parse with Arrow; None where Arrow does not see the records we count."""
    malformed: list[tuple[int, int]] = []

    def skip(row: pa_csv.InvalidRow) -> str:
        malformed.append((row.number - 1, row.actual_columns))
        return "skip"

    table = None
    # Without the rules of quotes Arrow parses the same text in two thirds of the time.
    is_quoted = b'"' in records.data
    while table is None:
        malformed.clear()
        try:
            table = pa_csv.read_csv(
                pa.py_buffer(records.data),
                read_options=pa_csv.ReadOptions(
                    use_threads=False,
                    block_size=len(records.data) + 1,
                    column_names=[str(index) for index in range(len(layout.names))],
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=feed.delimiter,
                    quote_char='"' if is_quoted else False,
                    newlines_in_values=is_quoted,
                    invalid_row_handler=skip,
                ),
                convert_options=_convert_options(layout, feed),
            )
        except pa.ArrowInvalid as error:
            if "UTF8" in str(error).upper().replace("-", ""):
                raise UnreadableSource(
                    f"{file}: text is not UTF-8 ({error}); set `encoding` of feed {feed.name}"
                ) from error
            if not layout.is_typed:
                return None
            layout.is_typed = False
    if table.num_rows + len(malformed) != len(records):
        return None
    columns = {
        target: _one_array(table.column(str(place))) for target, place in layout.places.items()
    }
    good = None
    if malformed:
        good = np.delete(np.arange(len(records)), [index for index, _ in malformed])
    return columns, good, malformed


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _convert_options(layout: CsvLayout, feed: FileFeed) -> pa_csv.ConvertOptions:
    types: dict[str, pa.DataType] = {}
    for target, index in layout.places.items():
        column = layout.numbers.get(target)
        if layout.is_typed and column is not None and column.shift is not None:
            types[str(index)] = column.read_type
        else:
            types[str(index)] = _CODED if target == "date" else _TEXT
    return pa_csv.ConvertOptions(
        column_types=types,
        include_columns=list(types),
        null_values=list(feed.nulls),
        decimal_point=feed.decimal,
        strings_can_be_null=True,
    )


def _parse_slow(records: Records, layout: CsvLayout, feed: FileFeed) -> _Parsed:
    """Parse record by record: stray quotes cost their own record and no other."""
    wanted = list(layout.places.values())
    cells: list[list[str]] = [[] for _ in wanted]
    good: list[int] = []
    malformed: list[tuple[int, int]] = []
    for index, fields in enumerate(iter_fields(records, feed.delimiter)):
        if len(fields) != len(layout.names):
            malformed.append((index, len(fields)))
            continue
        good.append(index)
        for column, place in zip(cells, wanted, strict=True):
            column.append(fields[place])
    columns = {
        target: pa.array(column, _TEXT) for target, column in zip(layout.places, cells, strict=True)
    }
    return columns, np.array(good, np.int64), malformed


def _original(text: str, names: Sequence[str], feed: FileFeed) -> Original:
    fields = fields_of(text, feed.delimiter)
    named: dict[str, str | None] = dict(zip(names, fields, strict=False))
    for extra, value in enumerate(fields[len(names) :], start=len(names) + 1):
        named[f"column {extra}"] = value
    return named
