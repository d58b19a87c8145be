"""Records of an .xls workbook that decide whether a reader may see it ([MS-XLS] 2.4).

calamine reserves the memory a sheet declares, and a damaged declaration of 300 GB aborts the
process; a workbook with a password is told from a damaged one.
"""

import struct
from collections.abc import Iterator

from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused

_FILEPASS = 0x2F
_DIMENSIONS = 0x200
# FORMULA, MULRK, MULBLANK, RSTRING, LABELSST, BLANK, NUMBER, LABEL, BOOLERR, RK: row, column, …
_CELLS = frozenset({0x06, 0xBD, 0xBE, 0xD6, 0xFD, 0x201, 0x203, 0x204, 0x205, 0x27E})
# Of this file format; a sheet cannot declare more.
_MAX_ROWS = 65_536
_MAX_COLUMNS = 256


def check_workbook_stream(stream: bytes) -> None:
    """Look through the records of a workbook stream.

    Raises:
        DocumentRefused: It has a password (encrypted), or declares an impossible sheet (corrupt).
    """
    for kind, content in _records(stream):
        if kind == _FILEPASS:
            raise DocumentRefused(
                DocumentOutcome.ENCRYPTED,
                "the Excel file has a password; save a copy without one and drop that",
            )
        if kind == _DIMENSIONS and len(content) >= 12:
            first_row, rows, first_column, columns = struct.unpack_from("<IIHH", content)
            is_backwards = first_row > rows or first_column > columns
            if is_backwards or rows > _MAX_ROWS or columns > _MAX_COLUMNS:
                raise _impossible(
                    f"a sheet declares rows {first_row:,} to {rows:,} and columns "
                    f"{first_column:,} to {columns:,}"
                )
        if kind in _CELLS and len(content) >= 4:
            column = content[2] + 256 * content[3]
            if column >= _MAX_COLUMNS:
                raise _impossible(f"a cell stands in column {column + 1:,}")


def _impossible(what: str) -> DocumentRefused:
    return DocumentRefused(
        DocumentOutcome.CORRUPT,
        f"damaged xls file: {what}, which cannot be; open it in Excel, save it as .xlsx and "
        "drop that",
    )


def _records(stream: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(stream):
        kind, size = struct.unpack_from("<HH", stream, offset)
        yield kind, stream[offset + 4 : offset + 4 + size]
        offset += 4 + size
