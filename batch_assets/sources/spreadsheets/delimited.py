"""Delimited text: encoding and delimiter found out from the file, unless a template says them."""

import codecs
import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from batch_assets.errors import UnreadableSource
from batch_assets.sources.spreadsheets.cells import Kind, PythonCell, SheetBlock, blocks_of_rows

_DELIMITERS = ",;\t|"
_SAMPLE_BYTES = 256 * 1024
_SAMPLE_LINES = 50
# A field longer than this is a quote that was never closed.
_MAX_FIELD = 1024 * 1024
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_EMPTY: PythonCell = (None, Kind.EMPTY)


def read_delimited(
    path: Path, file: str, encoding: str = "", delimiter: str = ""
) -> Iterator[SheetBlock]:
    """Records as blocks of text cells; a row's number is its first line in the file.

    Args:
        path: The file.
        file: Its name for messages.
        encoding: Name in Python's list; empty to detect it.
        delimiter: One character; empty to detect it.

    Raises:
        UnreadableSource: Bytes do not fit the encoding, or a quote is never closed.
    """
    with path.open("rb") as stream:
        sample = stream.read(_SAMPLE_BYTES)
    encoding = encoding or detect_encoding(sample)
    try:
        text = sample.decode(encoding, "replace")
        yield from blocks_of_rows("", _rows(path, encoding, delimiter or detect_delimiter(text)))
    except (UnicodeError, LookupError) as error:
        raise UnreadableSource(
            f"{file}: is not {encoding} ({error}); set `encoding` of the template, such as "
            "gb18030, big5, shift_jis or cp1252"
        ) from error
    except csv.Error as error:
        raise UnreadableSource(
            f"{file}: a record cannot be read ({error}); look for a quote that is not closed"
        ) from error


def detect_encoding(sample: bytes) -> str:
    """Encoding of text by its beginning: byte order mark, UTF-8, else the likeliest."""
    for mark, name in _BOMS:
        if sample.startswith(mark):
            return name
    if _is_utf8(sample):
        return "utf-8"
    return _likeliest(sample)


def _is_utf8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample, final=False)
    except UnicodeDecodeError:
        return False
    return True


def _likeliest(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    # Bytes of Chinese text come in pairs that are common characters; tried before guessing.
    if _reads_as_chinese(sample):
        return "gb18030"
    best = from_bytes(sample[:65_536]).best()
    return best.encoding if best is not None else "cp1252"


def _reads_as_chinese(sample: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(sample, final=False)
    except UnicodeDecodeError:
        return False
    others = [character for character in text if ord(character) > 0x7F]
    # The first level of GB 2312 begins with byte B0 and ends with D7: 3,755 common characters.
    common = sum(0xB0 <= character.encode("gb18030")[0] <= 0xD7 for character in others)
    return bool(others) and common >= 0.7 * len(others)


def detect_delimiter(text: str) -> str:
    """The character that splits the first records into the most equal numbers of fields."""
    lines = text.splitlines()[:_SAMPLE_LINES]
    best, best_score = ",", (0, 0)
    for delimiter in _DELIMITERS:
        counts = Counter(
            len(fields) for fields in csv.reader(lines, delimiter=delimiter) if len(fields) > 1
        )
        if counts:
            fields, records = max(counts.items(), key=lambda item: (item[1], item[0]))
            if (records, fields) > best_score:
                best, best_score = delimiter, (records, fields)
    return best


def _rows(
    path: Path, encoding: str, delimiter: str
) -> Iterator[tuple[int, bool, list[PythonCell]]]:
    csv.field_size_limit(_MAX_FIELD)
    with path.open("r", encoding=encoding, newline="") as stream:
        records = csv.reader(stream, delimiter=delimiter)
        line = 1
        for fields in records:
            cells = [(field, Kind.TEXT) if field else _EMPTY for field in fields]
            yield line, False, cells
            line = records.line_num + 1
