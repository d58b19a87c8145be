"""Sheets of an xlsx file as blocks of cells, with memory bounded by a block.

A sheet of two million cells needs no more memory than one of two thousand, and every cell keeps
what the file says: error cells, digits, formulas without a result.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from batch_assets.sources.spreadsheets.cells import SheetBlock
from batch_assets.sources.spreadsheets.merged import fill_ranges, read_merged
from batch_assets.sources.spreadsheets.preflight import FileRefused, Refusal
from batch_assets.sources.spreadsheets.xlsx_events import read_sheet_events
from batch_assets.sources.spreadsheets.xlsx_package import Package, SheetPart, open_package
from batch_assets.sources.spreadsheets.xlsx_scan import Workbook, scan_rows

# Larger blocks are no faster (measured), and take 25 times their size while they are parsed.
BLOCK_BYTES = 2 * 1024 * 1024
_MAX_ROW_BYTES = 64 * 1024 * 1024
_ROW_END = b"</row>"
_DATA_START = b"<sheetData>"
_DATA_END = b"</sheetData>"
_EMPTY_ROWS = re.compile(rb"(?:\s*<row\b[^<>]*/>)*\s*")


def read_xlsx(
    path: Path, file: str, *, fill_merged: bool = False
) -> Iterator[tuple[SheetPart, Iterator[SheetBlock]]]:
    """Sheets in the order of their tabs, each with its blocks; read lazily.

    Args:
        path: The file, checked by preflight.py.
        file: Name for messages.
        fill_merged: Repeat the value of merged cells in all of them.

    Raises:
        UnreadableSource: The package or a sheet is damaged.
    """
    with _explaining_damage(file), zipfile.ZipFile(path) as archive:
        package = open_package(archive, file)
        for sheet in package.sheets:
            blocks = _read_sheet(package, sheet, file)
            if fill_merged:
                blocks = fill_ranges(blocks, read_merged(archive.open(sheet.part)))
            yield sheet, blocks


@contextmanager
def _explaining_damage(file: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, KeyError, EOFError, zlib.error) as error:
        raise FileRefused(
            f"{file}: the workbook is damaged or incomplete ({error}), expected one that a "
            "spreadsheet program opens; copy it again, or save it again",
            Refusal.CORRUPT,
        ) from error


def _read_sheet(package: Package, sheet: SheetPart, file: str) -> Iterator[SheetBlock]:
    """Fast as long as the sheet is regular; from the first irregular block on event by event."""
    done_rows = 0
    with _explaining_damage(file), package.archive.open(sheet.part) as stream:
        for block in _scan(stream, sheet.name, package.workbook):
            if block is None:
                break
            done_rows += len(block)
            yield block
        else:
            return
    with _explaining_damage(file), package.archive.open(sheet.part) as stream:
        for block in read_sheet_events(stream, sheet.name, package.workbook, file):
            skipped = min(done_rows, len(block))
            done_rows -= skipped
            if skipped < len(block):
                yield _after(block, skipped)


def _after(block: SheetBlock, count: int) -> SheetBlock:
    if not count:
        return block
    mask = block.rows >= block.rows[count]
    return block.filter(mask)


def _scan(stream: IO[bytes], sheet: str, workbook: Workbook) -> Iterator[SheetBlock | None]:
    """Blocks of a regular sheet; ends with None where the sheet is not regular."""
    held = _skip_head(stream)
    if held is None:
        yield None
        return
    while True:
        chunk = stream.read(BLOCK_BYTES)
        held += chunk
        end_of_data = held.find(_DATA_END)
        if end_of_data >= 0:
            held = held[:end_of_data]
        end = held.rfind(_ROW_END) + len(_ROW_END)
        if end >= len(_ROW_END):
            yield scan_rows(held[:end], sheet, workbook)
            held = held[end:]
        if end_of_data >= 0:
            # Formatted rows without a cell close themselves; anything else here is not usual.
            if not _EMPTY_ROWS.fullmatch(held):
                yield None
            return
        if not chunk or len(held) > _MAX_ROW_BYTES:
            yield None
            return


def _skip_head(stream: IO[bytes]) -> bytes | None:
    """What follows the start of the rows; None where it is not written as usual."""
    held = b""
    while len(held) < BLOCK_BYTES:
        chunk = stream.read(65_536)
        if not chunk:
            return None
        held += chunk
        place = held.find(_DATA_START)
        if place >= 0:
            head = held[:place]
            is_usual = b"<worksheet" in head and b"UTF-16" not in head.upper()
            return held[place + len(_DATA_START) :] if is_usual else None
    return None
