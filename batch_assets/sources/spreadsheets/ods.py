"""Sheets of .ods files, row by row (OpenDocument 1.3 part 3, section 9)."""

import re
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from batch_assets.sources.spreadsheets.cells import Kind, PythonCell, SheetBlock, blocks_of_rows
from batch_assets.sources.spreadsheets.preflight import FileRefused, Refusal

_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_CALC = "{urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_DURATION = re.compile(r"-?PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:[.,]\d+)?S)?")
_ERROR = re.compile(r"#(?:N/A|REF!|VALUE!|DIV/0!|NAME\?|NUM!|NULL!)|Err:\d+")
_EMPTY: PythonCell = (None, Kind.EMPTY)
# A style is often spread over all columns and rows; only repeated values are worth repeating.
_MAX_COLUMNS = 16_384
_MAX_REPEATED_CELLS = 20_000_000
_Row = tuple[int, bool, list[PythonCell]]


def read_ods(path: Path, file: str) -> Iterator[tuple[str, bool, Iterator[SheetBlock]]]:
    """Sheets with name, whether hidden, and blocks.

    Raises:
        FileRefused: The file is damaged, or repeats cells without bound.
    """
    with zipfile.ZipFile(path) as archive:
        for index, name in enumerate(_names(archive, file)):
            yield name, False, blocks_of_rows(name, _rows(archive, index, file))


def _names(archive: zipfile.ZipFile, file: str) -> list[str]:
    with archive.open("content.xml") as stream:
        return [
            element.get(f"{_TABLE}name", "")
            for event, element in _events(stream, file)
            if event == "start" and element.tag == f"{_TABLE}table"
        ]


def _events(stream: IO[bytes], file: str) -> Iterator[tuple[str, Any]]:
    from lxml import etree

    try:
        yield from etree.iterparse(
            stream,
            events=("start", "end"),
            tag=(f"{_TABLE}table", f"{_TABLE}table-row"),
            resolve_entities=False,
            no_network=True,
        )
    except etree.XMLSyntaxError as error:
        raise FileRefused(
            f"{file}: its XML is damaged or cut off ({error}), expected a whole workbook; save it "
            "again in a spreadsheet program",
            Refusal.CORRUPT,
        ) from error


def _rows(archive: zipfile.ZipFile, wanted: int, file: str) -> Iterator[_Row]:
    table = -1
    number = repeated_cells = 0
    with archive.open("content.xml") as stream:
        for event, element in _events(stream, file):
            if element.tag == f"{_TABLE}table":
                if event == "start":
                    table += 1
                elif table == wanted:
                    return
                continue
            if event == "start" or table != wanted:
                continue
            cells = _cells(element)
            count = int(element.get(f"{_TABLE}number-rows-repeated", "1"))
            hidden = element.get(f"{_TABLE}visibility", "visible") != "visible"
            if cells:
                repeated_cells += len(cells) * count
                if repeated_cells > _MAX_REPEATED_CELLS:
                    raise FileRefused(
                        f"{file}: repeats rows to more than {_MAX_REPEATED_CELLS:,} cells; delete "
                        "repeated rows behind the table, or save it as .xlsx",
                        Refusal.TOO_LARGE,
                    )
                for offset in range(count):
                    yield number + offset + 1, hidden, cells
            number += count
            element.clear()


def _cells(row: Any) -> list[PythonCell]:
    cells: list[PythonCell] = []
    for element in row:
        if element.tag not in (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
            continue
        count = int(element.get(f"{_TABLE}number-columns-repeated", "1"))
        cell = _cell(element)
        cells.extend([cell] * min(count, _MAX_COLUMNS - len(cells)))
    while cells and cells[-1] == _EMPTY:
        cells.pop()
    return cells


def _cell(element: Any) -> PythonCell:
    # Its own paragraphs: a comment on the cell has some too, and is no value.
    text = "\n".join("".join(part.itertext()) for part in element.findall(f"{_TEXT}p"))
    has_formula = element.get(f"{_TABLE}formula") is not None
    kind = element.get(f"{_OFFICE}value-type", "")
    is_error = element.get(f"{_CALC}value-type") == "error"
    if is_error or (has_formula and _ERROR.fullmatch(text)):
        return text or "#ERROR!", Kind.ERROR
    match kind:
        case "float" | "currency" | "percentage":
            return element.get(f"{_OFFICE}value"), Kind.NUMBER
        case "boolean":
            is_true = element.get(f"{_OFFICE}boolean-value") == "true"
            return ("1" if is_true else "0"), Kind.BOOLEAN
        case "date":
            return element.get(f"{_OFFICE}date-value"), Kind.ISO
        case "time":
            return _duration(element.get(f"{_OFFICE}time-value", "")), Kind.ISO
    if text:
        return text, Kind.TEXT
    return (None, Kind.UNCALCULATED) if has_formula else _EMPTY


def _duration(text: str) -> str:
    match = _DURATION.fullmatch(text)
    if match is None:
        return text
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return str(timedelta(hours=hours, minutes=minutes, seconds=seconds))
